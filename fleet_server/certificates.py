"""The server's certificate: issued, renewed in time, and told to the broker, by the server itself.

The CA's key lies with the server's other keys, so that no person is needed every two months. Which CA signs, and when
a certificate is due, `edgeops.trust.authorities` decides; which CAs there are, the targets key says in TUF. The API
process sees by itself that the file changed (`fleet_server.app`).
"""

import logging
import ssl
from datetime import datetime
from pathlib import Path

from cryptography import x509

from edgeops.digest import write_atomically
from edgeops.errors import ConfigError
from edgeops.trust.authorities import AUTHORITIES_TARGET, Authority, decode_authorities, is_good, issuer_for
from edgeops.trust.issuing import Issuer, issue, issuers_in
from edgeops.trust.repository import Repository
from edgeops.trust.transport import NO_CHECK_TIME
from fleet_server import broker
from fleet_server.config import ServerConfig

_log = logging.getLogger(__name__)


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
        issuers = [one for one in issuers_in(self._config.keys) if one.authority in listed]
        self._renew(issuers, now)
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
        if chosen is None:
            raise ConfigError(
                "no CA of this fleet is at hand that has not ended, so no certificate can be issued; make one: "
                "edgeops key ca renew"
            )
        if present is not None and is_good(present, chosen, names=names, now=now):
            return
        issuer = next(one for one in issuers if one.authority == chosen)
        issued = issue(issuer, names, now)
        write_atomically(self._config.certificate, issued.pem, mode=0o600)
        _log.info("certificate.issued ends=%s ca=%s", issued.certificate.not_valid_after_utc, chosen.fingerprint)


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


def pinned(config: ServerConfig, token: str) -> str:
    """An enrolment token with the fingerprint of the CA that a device shall meet, so that both are one paste."""
    if not config.tls:
        return token
    shown = shown_certificate(config)
    issuer = next((one for one in listed_authorities(config) if shown is not None and one.signed(shown)), None)
    return token if issuer is None else f"{token}@{issuer.fingerprint}"


def broker_context(config: ServerConfig) -> ssl.SSLContext | None:
    """How the server's own processes reach its broker; None = without TLS.

    Chain and name are checked, the validity is not: that the broker on this machine shows an old certificate is no
    reason to leave what devices say unread.
    """
    if not config.tls:
        return None
    context = ssl.create_default_context(cafile=str(config.authorities))
    context.verify_flags |= NO_CHECK_TIME
    return context


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
