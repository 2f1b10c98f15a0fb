"""The server's certificate and the CAs that sign it: issued, renewed in time, and told to the broker, by the server.

The CA's key lies with the server's other keys, so that no person is needed every two months. Which CA signs, and when
a certificate is due, `edgeops.trust.authorities` decides; which CAs there are, the targets key says in TUF. The API
process sees by itself that the file changed (`fleet_server.app`).
"""

import logging
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConfigError, ConflictError
from edgeops.trust.authorities import AUTHORITIES_TARGET, Authority, decode_authorities, is_good, issuer_for
from edgeops.trust.change import Change
from edgeops.trust.issuing import Issuer, issue, issuers_in, key_file, new_issuer, write_issuer
from edgeops.trust.repository import Repository, RoleKey
from edgeops.trust.transport import believing
from fleet_server import broker
from fleet_server.config import ServerConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """One CA."""

    authority: Authority
    #: Whether the certificate that this server shows is one of its own.
    signs: bool
    #: Whether its key lies on this server.
    at_hand: bool


class Certificates:
    """The TLS folder of one server; does nothing where there is no TLS."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        #: The certificate that the running broker was told of.
        self._told: bytes | None = None

    def keep_fresh(self, now: datetime) -> None:
        """Issue a certificate when one is due, and tell the broker of a new one, whoever made it.

        Raises:
            ConfigError: no CA that has not ended and whose key is at hand.
            TrustError: the repository is damaged.
        """
        if not self._config.tls:
            return
        self._config.tls_folder.mkdir(mode=0o700, exist_ok=True)
        listed = listed_authorities(self._config)
        self._write_authorities(listed)
        _forget(self._config, listed)
        self._renew([one for one in issuers_in(self._config.keys) if one.authority in listed], now)
        shown = self._config.certificate.read_bytes()
        if shown != self._told and broker.reload(self._config):
            self._told = shown

    def _write_authorities(self, listed: tuple[Authority, ...]) -> None:
        content = "".join(one.pem for one in listed).encode()
        if _content(self._config.authorities) != content:
            write_atomically(self._config.authorities, content)

    def _renew(self, issuers: list[Issuer], now: datetime) -> None:
        names = self._config.certificate_names
        present = shown_certificate(self._config)
        chosen = issuer_for([one.authority for one in issuers], present, now=now)
        if chosen is None and present is not None:
            # People are told by the alert of the CA; devices refuse the certificate once it has ended.
            return
        if chosen is None:
            raise ConfigError(
                "no CA of this fleet is at hand that has not ended, so no certificate can be issued; make one: "
                "edgeops key ca renew"
            )
        if present is not None and is_good(present, chosen, names=names, now=now):
            return
        _issue(self._config, next(one for one in issuers if one.authority == chosen), now)


def listed_authorities(config: ServerConfig) -> tuple[Authority, ...]:
    """The CAs that the targets key lists, oldest first; empty when it lists none."""
    content = Repository.open(config.repository, config.keys).read(AUTHORITIES_TARGET)
    return () if content is None else decode_authorities(content)


def shown_certificate(config: ServerConfig) -> x509.Certificate | None:
    """The certificate that this server shows; None = it has none that can be read."""
    content = _content(config.certificate)
    try:
        return None if content is None else x509.load_pem_x509_certificate(content)
    except ValueError:
        return None


def standings(config: ServerConfig) -> tuple[Standing, ...]:
    """The listed CAs, oldest first."""
    shown = shown_certificate(config)
    return tuple(_standing(config, one, shown) for one in listed_authorities(config))


def prepare(config: ServerConfig, now: datetime) -> Standing:
    """Make the CA that shall be listed next; one that was made before and never listed is forgotten.

    Raises:
        ConflictError: a listed one does not sign yet, or there are too many.
    """
    listed, shown = listed_authorities(config), shown_certificate(config)
    newest = listed[-1] if listed else None
    if newest and shown and now < newest.begins + limits.CA_OVERLAP and not newest.signed(shown):
        raise ConflictError(
            f"{newest.fingerprint} was made on {newest.begins:%Y-%m-%d} and does not sign yet; let it sign: "
            "edgeops key ca switch"
        )
    if len(listed) >= limits.MAX_AUTHORITIES:
        raise ConflictError(f"{len(listed)} CAs are listed, which is the most; take one away: edgeops key ca retire")
    for one in issuers_in(config.keys):
        if one.authority not in listed:
            key_file(config.keys, one.authority).unlink(missing_ok=True)
    made = new_issuer(now)
    write_issuer(config.keys, made)
    return _standing(config, made.authority, shown)


def switch(config: ServerConfig, now: datetime) -> Standing:
    """Let the newest CA sign the server's certificate now, whoever knows it already; harmless to repeat.

    Raises:
        ConflictError: no TLS is spoken here, or no listed CA is left that has not ended and whose key is at hand.
    """
    shown = shown_certificate(config)
    if not config.tls or shown is None:
        raise ConflictError("this server speaks no TLS; start it with --listen ADDRESS, or with --tls")
    listed = listed_authorities(config)
    usable = [one for one in issuers_in(config.keys) if one.authority in listed and now < one.authority.ends]
    if not usable:
        raise ConflictError("no CA is at hand that has not ended; make one: edgeops key ca renew")
    if not usable[-1].authority.signed(shown):
        _issue(config, usable[-1], now)
    return _standing(config, usable[-1].authority, shown_certificate(config))


def require_own(config: ServerConfig, change: Change) -> None:
    """A list of CAs of which none is at hand would leave this server without a certificate.

    Raises:
        ConflictError: it is one, or it lacks the CA of the certificate that is shown.
        TrustError: the change lists something else as CAs.
    """
    content = change.files.get(AUTHORITIES_TARGET)
    if content is None:
        return
    wanted, shown = decode_authorities(content), shown_certificate(config)
    if not any(key_file(config.keys, one).exists() for one in wanted):
        raise ConflictError(
            "of the CAs in this change none has its key on this server; make the change again: edgeops key ca renew"
        )
    if config.tls and shown is not None and not any(one.signed(shown) for one in wanted):
        raise ConflictError(
            "this change takes away the CA whose certificate the server shows; let another one sign first: edgeops key "
            "ca switch"
        )


def newest_authority(config: ServerConfig) -> tuple[RoleKey, ...]:
    """The CA whose end people must be told of, where TLS is spoken."""
    newest = listed_authorities(config)[-1:] if config.tls else ()
    return tuple(
        RoleKey(
            role="ca",
            model=None,
            key_id=one.fingerprint,
            public_hex="",
            expires=one.ends,
            at_hand=key_file(config.keys, one).exists(),
            threshold=1,
        )
        for one in newest
    )


def pinned(config: ServerConfig, token: str) -> str:
    """An enrolment token with the fingerprint of the CA that a device shall meet, so that both are one paste."""
    if not config.tls:
        return token
    shown = shown_certificate(config)
    issuer = next((one for one in listed_authorities(config) if shown is not None and one.signed(shown)), None)
    return token if issuer is None else f"{token}@{issuer.fingerprint}"


def broker_context(config: ServerConfig) -> ssl.SSLContext | None:
    """How the server's own processes reach its broker; None = without TLS."""
    return believing(config.authorities, judges_time=False) if config.tls else None


def _standing(config: ServerConfig, authority: Authority, shown: x509.Certificate | None) -> Standing:
    signs = shown is not None and authority.signed(shown)
    return Standing(authority, signs, key_file(config.keys, authority).exists())


def _issue(config: ServerConfig, issuer: Issuer, now: datetime) -> None:
    issued = issue(issuer, config.certificate_names, now)
    write_atomically(config.certificate, issued.pem, mode=0o600)
    ends = issued.certificate.not_valid_after_utc
    _log.info("certificate.issued ends=%s ca=%s", ends.isoformat(), issuer.authority.fingerprint)


def _forget(config: ServerConfig, listed: tuple[Authority, ...]) -> None:
    """Delete the keys of CAs that are listed no longer; one that is newer than the list waits to be listed."""
    for one in issuers_in(config.keys):
        if listed and one.authority not in listed and one.authority.begins < listed[-1].begins:
            key_file(config.keys, one.authority).unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
