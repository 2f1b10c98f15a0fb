"""Makes certificate authorities and server certificates (RFC 5280): ECDSA P-256, which every TLS library speaks.

A CA signs server certificates and nothing else, without intermediates. Keys come from the operating system's
randomness, times are arguments. When a certificate is made, and by which CA, is `edgeops.trust.authorities`'s
decision; who trusts a CA is said by TUF.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConfigError
from edgeops.protocol.keys import UNREADABLE_KEY
from edgeops.trust.authorities import UNREADABLE_CERTIFICATE, Authority

#: Clocks of one site differ; a certificate that was made just now shall be valid on all of them.
_BACKDATED = timedelta(hours=1)
_KEY_FILES = "ca-*.pem"


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA whose private key is at hand."""

    authority: Authority
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A server certificate: what a server needs to show it."""

    certificate: x509.Certificate
    #: The private key, the certificate and its CA's, in one file: a change of it is whole or none.
    pem: bytes


def new_issuer(now: datetime, *, life: timedelta = limits.CA_LIFE) -> Issuer:
    """A new CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    # Two CAs of one fleet differ in their names, by which the issuer of a certificate is found.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"EdgeOps fleet CA {identifier.digest[:4].hex()}")])
    certificate = (
        _builder(name, name, public, now=now, ends=now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issuer(Authority(certificate), key)


def issue(
    issuer: Issuer, names: Sequence[str], now: datetime, *, life: timedelta = limits.SERVER_CERTIFICATE_LIFE
) -> Issued:
    """A certificate for a server that is reached under `names` (host names or IP addresses).

    It ends with its CA at the latest.

    Raises:
        ConfigError: no name, or one that cannot be in a certificate.
    """
    if not names:
        raise ConfigError("a certificate needs at least one name; give the host name or address that devices use")
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EdgeOps server")])
    by = issuer.authority.certificate
    ends = min(now + life, issuer.authority.ends)
    certificate = (
        _builder(subject, by.subject, public, now=now, ends=ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    chain = certificate.public_bytes(Encoding.PEM) + by.public_bytes(Encoding.PEM)
    return Issued(certificate, _key_pem(key) + chain)


def write_issuer(folder: Path, issuer: Issuer) -> Path:
    """Keep a CA's key and certificate in one file of a folder of keys, which only its owner may read."""
    path = key_file(folder, issuer.authority)
    write_atomically(path, _key_pem(issuer.key) + issuer.authority.pem.encode(), mode=0o600)
    return path


def key_file(folder: Path, authority: Authority) -> Path:
    """Where the key of a CA lies in a folder of keys."""
    return folder / f"ca-{authority.fingerprint.removeprefix('sha256:')[:16]}.pem"


def issuers_in(folder: Path) -> tuple[Issuer, ...]:
    """The CAs whose keys lie in a folder, oldest first.

    Raises:
        ConfigError: a file that cannot be read.
    """
    return tuple(sorted(_read_issuers(folder.glob(_KEY_FILES)), key=lambda one: one.authority.begins))


def _read_issuers(files: Iterable[Path]) -> Iterable[Issuer]:
    for path in files:
        try:
            content = path.read_bytes()
            key = load_pem_private_key(content, password=None)
            authority = Authority(x509.load_pem_x509_certificate(content))
        except (OSError, *UNREADABLE_KEY, *UNREADABLE_CERTIFICATE) as error:
            raise ConfigError(
                f"cannot read the CA {path}: {error}; restore it from a backup, or move it away"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{path} holds no ECDSA key but {type(key).__name__}")
        yield Issuer(authority, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, *, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before((now - _BACKDATED).astimezone(UTC))
        .not_valid_after(ends.astimezone(UTC))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise ConfigError(f"{name!r} is no host name or address; give one that devices can reach") from error


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
