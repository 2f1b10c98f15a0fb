"""What a person does with the fleet's CAs: make the next one, let it sign, take the last one away.

Works in the data folder of the server, as signing does (`edgeops.local.signing`). The list of CAs is signed with the
targets key. A certificate that is written here is taken up by the running server within seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConflictError, NotFoundError
from edgeops.local.endpoints import certificate_file, keys_folder
from edgeops.trust.authorities import (
    AUTHORITIES_TARGET,
    Authority,
    decode_authorities,
    encode_authorities,
    names_in,
)
from edgeops.trust.issuing import issue, issuers_in, key_file, new_issuer, write_issuer
from edgeops.trust.repository import Repository

#: So many hex characters of a fingerprint name a CA at least.
_LEAST_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One listed CA."""

    authority: Authority
    #: Whether the certificate that the server shows is one of its own.
    signs: bool
    #: Whether its key lies on the server.
    at_hand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All listed CAs, oldest first, and the certificate that the server shows; None = it speaks no TLS."""

    authorities: tuple[Standing, ...]
    certificate: x509.Certificate | None


def look(data: Path, repository: Repository) -> Situation:
    """How things stand.

    Raises:
        TrustError: what TUF lists is no list of CAs.
        ConfigError: the key of a CA cannot be read.
    """
    present = _certificate(data)
    held = {one.authority for one in issuers_in(keys_folder(data))}
    standings = [
        Standing(authority=one, signs=present is not None and one.signed(present), at_hand=one in held)
        for one in _listed(repository)
    ]
    return Situation(authorities=tuple(standings), certificate=present)


def renew(data: Path, repository: Repository, now: datetime) -> Authority:
    """Make a CA and list it beside those that are there; devices learn it before it signs.

    Raises:
        ConflictError: there is one already that does not sign yet, or there are too many.
        ConfigError: the targets key is not at hand.
    """
    listed = _listed(repository)
    present = _certificate(data)
    waiting = [one for one in listed if now < one.begins + limits.CA_OVERLAP and present and not one.signed(present)]
    if waiting:
        raise ConflictError(
            f"{waiting[-1].fingerprint} was made on {waiting[-1].begins:%Y-%m-%d} and does not sign yet; let it sign: "
            "edgeops key ca switch"
        )
    if len(listed) >= limits.MAX_AUTHORITIES:
        raise ConflictError(f"{len(listed)} CAs are listed, which is the most; take one away: edgeops key ca retire")
    issuer = new_issuer(now)
    write_issuer(keys_folder(data), issuer)
    try:
        repository.publish({AUTHORITIES_TARGET: encode_authorities([*listed, issuer.authority])}, now)
    except BaseException:
        # Nobody has heard of it.
        key_file(keys_folder(data), issuer.authority).unlink()
        raise
    return issuer.authority


def switch(data: Path, repository: Repository, now: datetime) -> Authority:
    """Let the newest CA sign the server's certificate now, whoever knows it already.

    Raises:
        ConflictError: the server speaks no TLS.
        NotFoundError: no CA that has not ended and whose key is at hand.
        ConfigError: the key of a CA cannot be read.
    """
    present = _certificate(data)
    if present is None:
        raise ConflictError(f"the server of {data} speaks no TLS; start it with --listen ADDRESS, or with --tls")
    listed = _listed(repository)
    usable = [one for one in issuers_in(keys_folder(data)) if one.authority in listed and now < one.authority.ends]
    if not usable:
        raise NotFoundError("no CA is listed that has not ended and whose key is here; make one: edgeops key ca renew")
    newest = usable[-1]
    if not newest.authority.signed(present):
        issued = issue(newest, names_in(present), now)
        write_atomically(certificate_file(data), issued.pem, mode=0o600)
    return newest.authority


def retire(data: Path, repository: Repository, fingerprint: str, now: datetime) -> Authority:
    """List a CA no longer and delete its key; devices believe it no more once they learn that.

    Raises:
        NotFoundError: no such CA, or the text fits several.
        ConflictError: it signed the certificate that the server shows, or it is the only one.
        ConfigError: the targets key is not at hand.
    """
    listed = _listed(repository)
    leaving = _find(listed, fingerprint)
    present = _certificate(data)
    if present is not None and leaving.signed(present):
        raise ConflictError(
            "the server shows a certificate of this CA; let another one sign first: edgeops key ca renew, then "
            "edgeops key ca switch"
        )
    staying = [one for one in listed if one != leaving]
    if not staying:
        raise ConflictError("this is the only CA of the fleet; make another one first: edgeops key ca renew")
    repository.publish({AUTHORITIES_TARGET: encode_authorities(staying)}, now)
    key_file(keys_folder(data), leaving).unlink(missing_ok=True)
    return leaving


def _listed(repository: Repository) -> tuple[Authority, ...]:
    content = repository.read(AUTHORITIES_TARGET)
    return () if content is None else decode_authorities(content)


def _certificate(data: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(certificate_file(data).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _find(listed: Sequence[Authority], text: str) -> Authority:
    digits = text.removeprefix("sha256:").lower()
    found = [one for one in listed if one.fingerprint.removeprefix("sha256:").startswith(digits)]
    if len(digits) < _LEAST_DIGITS or len(found) != 1:
        raise NotFoundError(
            f"{text!r} names no CA of this fleet; give {_LEAST_DIGITS} digits or more of one of these: "
            + ", ".join(one.fingerprint for one in listed)
        )
    return found[0]
