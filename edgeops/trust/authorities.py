"""The fleet's certificate authorities (CAs): whose server certificates devices accept, and until when.

They are the TUF target `fleet/ca.json`, signed offline by the targets role, so that who holds the server cannot add
one. This module reads and writes that document, says which CA signs the server's next certificate, and judges the
certificate a server shows. It makes no keys, opens no connection and reads no clock.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from edgeops import limits
from edgeops.errors import TrustError

AUTHORITIES_TARGET = "fleet/ca.json"

_MAX_PEM = 8 * 1024
#: What foreign bytes may raise that should be a certificate.
UNREADABLE_CERTIFICATE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA certificate."""

    certificate: x509.Certificate

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Read one PEM certificate of a CA.

        Raises:
            TrustError: it is none.
        """
        try:
            certificate = x509.load_pem_x509_certificate(text.encode())
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except UNREADABLE_CERTIFICATE as error:
            raise TrustError(f"not a certificate of a CA: {error}") from error
        if not constraints.ca:
            raise TrustError("a certificate that may not sign others is listed as a CA")
        return cls(certificate)

    @property
    def fingerprint(self) -> str:
        """What people compare and devices pin: `sha256:` and the digest of the DER bytes."""
        return fingerprint_of(self.certificate.public_bytes(Encoding.DER))

    @property
    def pem(self) -> str:
        """The certificate as text."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def begins(self) -> datetime:
        """When it was made, and listed."""
        return self.certificate.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        """From when on nothing that it signed is accepted."""
        return self.certificate.not_valid_after_utc

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether this CA signed that certificate."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (*UNREADABLE_CERTIFICATE, TypeError, InvalidSignature):
            return False
        return True


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: PEM, oldest first.
    certificates: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=_MAX_PEM)], ...],
        msgspec.Meta(min_length=1, max_length=limits.MAX_AUTHORITIES),
    ]


def encode_authorities(authorities: Sequence[Authority]) -> bytes:
    """The target's content."""
    return msgspec.json.encode(_Document(certificates=tuple(one.pem for one in authorities)))


def decode_authorities(content: bytes) -> tuple[Authority, ...]:
    """Read content that TUF vouches for, oldest first.

    Raises:
        TrustError: not a list of CAs.
    """
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrustError(f"{AUTHORITIES_TARGET} is not a list of CAs: {error}") from error
    return tuple(sorted(map(Authority.from_pem, document.certificates), key=lambda one: one.begins))


def fingerprint_of(der: bytes) -> str:
    """`sha256:` and the digest of a DER certificate."""
    return "sha256:" + hashlib.sha256(der).hexdigest()


def issuer_for(
    authorities: Sequence[Authority], present: x509.Certificate | None, *, now: datetime
) -> Authority | None:
    """Which CA signs the server's next certificate; None = none that has not ended.

    A new CA is used only CA_OVERLAP after it was listed, so that devices know it before they meet it; once one is used,
    an older one is not used again. Nothing else being there, the oldest is used at once.

    Args:
        authorities: those that are listed and whose keys are at hand, oldest first.
        present: the certificate that the server shows now.
        now: aware UTC.
    """
    alive = [one for one in authorities if now < one.ends]
    for one in reversed(alive):
        if one.begins + limits.CA_OVERLAP <= now or (present is not None and one.signed(present)):
            return one
    return alive[0] if alive else None


def is_good(present: x509.Certificate, authority: Authority, *, names: Sequence[str], now: datetime) -> bool:
    """Whether a server certificate needs no successor: of this CA, for these names, with a third of its life left.

    One that begins later was made while the clock was ahead; before its CA began the clock is behind.
    """
    life = present.not_valid_after_utc - present.not_valid_before_utc
    left = present.not_valid_after_utc - now
    is_of_the_future = authority.begins <= now < present.not_valid_before_utc
    is_ours = authority.signed(present) and set(names_in(present)) == set(names)
    return is_ours and left > life / 3 and not is_of_the_future


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and addresses that a certificate is for, in its order."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UNREADABLE_CERTIFICATE:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def why_refused(shown: bytes, authorities: Sequence[Authority], *, now: datetime) -> str | None:
    """Why the certificate that a server shows is not accepted; None = it is.

    Chain and name were checked before (RFC 5280 6.1, RFC 6125), the validity was not: here it is, against the
    device's own idea of the time. A certificate that is not valid yet is accepted. `now` may be a moment that
    certainly has passed and nothing more (the time floor of a device whose clock is lost), so it cannot tell that
    something has not begun; and a listed CA does not sign for the future.

    Args:
        shown: the server's own certificate, DER.
        authorities: those that the device knows.
        now: the later of clock and time floor, or what time the server said it is.
    """
    try:
        leaf = x509.load_der_x509_certificate(shown)
    except UNREADABLE_CERTIFICATE as error:
        return f"the server's certificate cannot be read: {error}"
    issuer = next((one for one in authorities if one.signed(leaf)), None)
    if issuer is None:
        return "the server's certificate was signed by none of this fleet's CAs"
    if leaf.not_valid_after_utc < now:
        return f"the server's certificate ended on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if issuer.ends < now:
        return f"the CA of the server's certificate ended on {issuer.ends:%Y-%m-%d}"
    return None
