"""Which CAs the fleet has, which of them signs next, and what a device says to a certificate."""

import base64
import ssl
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeops import limits
from edgeops.errors import ConfigError, TrustError
from edgeops.trust.authorities import (
    AUTHORITIES_TARGET,
    Authority,
    decode_authorities,
    encode_authorities,
    is_good,
    issuer_for,
    names_in,
    why_refused,
)
from edgeops.trust.issuing import Issuer, issue, issuers_in, key_file, new_issuer, write_issuer

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)
OLD = new_issuer(NOW - 5 * YEAR)
NEW = new_issuer(NOW)
BOTH = (OLD.authority, NEW.authority)
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
NEVER_SET = datetime(1970, 1, 1, tzinfo=UTC)


def der(issued):
    return issued.certificate.public_bytes(Encoding.DER)


def test_the_document_comes_back_oldest_first():
    assert decode_authorities(encode_authorities(BOTH[::-1])) == BOTH


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"certificates": []}',
        b'{"certificates": ["x"]}',
        b'{"certificates": ["\xff"]}',
        encode_authorities(BOTH)[:-1] + b',"more":1}',
    ],
)
def test_what_is_no_list_of_cas_is_refused(content):
    with pytest.raises(TrustError):
        decode_authorities(content)


def test_a_certificate_may_have_8_kib_and_no_more():
    padding = 8 * 1024 - len(OLD.authority.pem)

    def padded(count):
        return msgspec.json.encode({"certificates": [OLD.authority.pem + "\n" * count]})

    assert decode_authorities(padded(padding)) == (OLD.authority,)
    with pytest.raises(TrustError, match="not a list of CAs"):
        decode_authorities(padded(padding + 1))


def test_the_target_has_its_name_on_every_device():
    assert AUTHORITIES_TARGET == "fleet/ca.json"


def test_a_certificate_that_does_not_say_what_it_is_for_is_no_ca():
    """Those of the first X.509 are so."""
    with pytest.raises(TrustError, match="not a certificate of a CA"):
        Authority.from_pem(bare(OLD.authority.certificate.public_key(), OLD.key).decode())


def test_a_ca_of_a_key_that_cannot_sign_has_signed_nothing():
    odd = Authority(x509.load_pem_x509_certificate(bare(X25519PrivateKey.generate().public_key(), OLD.key)))
    leaf = issue(Issuer(odd, OLD.key), ["a"], NOW).certificate
    assert odd.signed(leaf) is False


def bare(public, key):
    """A certificate without extensions, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    made = x509.CertificateBuilder(name, name, public, 1, NOW, NOW + YEAR)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_more_cas_than_a_fleet_may_have_are_refused():
    with pytest.raises(TrustError):
        decode_authorities(encode_authorities([OLD.authority] * (limits.MAX_AUTHORITIES + 1)))


def test_a_server_certificate_is_no_ca():
    leaf = issue(OLD, ["fleet.example"], NOW).certificate.public_bytes(Encoding.PEM).decode()
    content = encode_authorities([OLD.authority]).replace(
        OLD.authority.pem.replace("\n", "\\n").encode(), leaf.replace("\n", "\\n").encode()
    )
    with pytest.raises(TrustError, match="may not sign others"):
        decode_authorities(content)


def test_a_certificate_has_the_names_that_were_asked_for():
    issued = issue(OLD, ["fleet.example", "192.168.1.7", "::1"], NOW)
    assert names_in(issued.certificate) == ("fleet.example", "192.168.1.7", "::1")


@pytest.mark.parametrize("names", [[], ["fleet ä"]])
def test_a_certificate_for_nobody_is_refused(names):
    with pytest.raises(ConfigError):
        issue(OLD, names, NOW)


def test_a_certificate_ends_with_its_ca_at_the_latest():
    assert issue(OLD, ["a"], OLD.authority.ends - DAY).certificate.not_valid_after_utc == OLD.authority.ends


def test_a_cas_key_comes_back_from_a_folder_that_only_its_owner_reads(tmp_path):
    for issuer in (NEW, OLD):
        path = write_issuer(tmp_path, issuer)
        assert path == key_file(tmp_path, issuer.authority)
        assert path.name == f"ca-{issuer.authority.fingerprint[7:23]}.pem"
        assert path.stat().st_mode & 0o777 == 0o600
    read = issuers_in(tmp_path)
    assert [one.authority for one in read] == list(BOTH)
    assert OLD.authority.signed(issue(read[0], ["a"], NOW).certificate)


def test_a_damaged_key_of_a_ca_is_named(tmp_path):
    write_issuer(tmp_path, OLD).write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(ConfigError, match="ca-"):
        issuers_in(tmp_path)


# -- who signs next


def present(issuer, at=NOW):
    return issue(issuer, ["a"], at).certificate


def test_the_first_ca_signs_at_once():
    assert issuer_for([NEW.authority], None, now=NOW) == NEW.authority


def test_a_new_ca_does_not_sign_before_devices_had_time_to_learn_it():
    almost = NEW.authority.begins + limits.CA_OVERLAP - timedelta(seconds=1)
    assert issuer_for(BOTH, present(OLD), now=almost) == OLD.authority
    assert issuer_for(BOTH, present(OLD), now=NEW.authority.begins + limits.CA_OVERLAP) == NEW.authority


def test_once_the_new_ca_signs_the_old_one_does_not_sign_again():
    assert issuer_for(BOTH, present(NEW), now=NOW) == NEW.authority


def test_a_ca_that_ended_signs_nothing_and_a_new_one_takes_its_place_at_once():
    late = OLD.authority.ends + DAY
    fresh = new_issuer(late)
    assert issuer_for([OLD.authority, fresh.authority], present(OLD), now=late) == fresh.authority
    assert issuer_for([OLD.authority], present(OLD), now=late) is None
    assert issuer_for([OLD.authority], None, now=OLD.authority.ends) is None
    assert issuer_for([OLD.authority], None, now=OLD.authority.ends - timedelta(seconds=1)) == OLD.authority


def test_a_certificate_is_replaced_when_a_third_of_its_life_is_left_or_it_does_not_fit():
    leaf = present(OLD)
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    third = leaf.not_valid_after_utc - life / 3
    assert is_good(leaf, OLD.authority, names=["a"], now=third - timedelta(seconds=1))
    assert not is_good(leaf, OLD.authority, names=["a"], now=third)
    assert not is_good(leaf, OLD.authority, names=["a", "b"], now=NOW)
    assert not is_good(leaf, NEW.authority, names=["a"], now=NOW)


def test_a_certificate_that_was_made_while_the_clock_was_ahead_is_replaced_and_none_while_it_is_behind():
    leaf = present(OLD)
    begins = leaf.not_valid_before_utc
    assert is_good(leaf, OLD.authority, names=["a"], now=begins)
    assert not is_good(leaf, OLD.authority, names=["a"], now=begins - timedelta(seconds=1))
    assert not is_good(leaf, OLD.authority, names=["a"], now=OLD.authority.begins)
    assert is_good(leaf, OLD.authority, names=["a"], now=OLD.authority.begins - timedelta(seconds=1))


# -- what a device says


def test_a_certificate_of_either_ca_is_accepted_during_the_overlap():
    for issuer in (OLD, NEW):
        assert why_refused(der(issue(issuer, ["a"], NOW)), BOTH, now=NOW) is None


def test_a_certificate_that_ended_is_refused():
    shown = der(issue(OLD, ["a"], NOW, life=DAY))
    assert why_refused(shown, BOTH, now=NOW + DAY) is None
    assert "ended on 2026-11-27" in why_refused(shown, BOTH, now=NOW + 2 * DAY)


def test_a_certificate_of_a_ca_that_ended_is_refused_beside_a_new_ca():
    late = OLD.authority.ends + DAY
    # Its own end is far away: a CA is not asked whether it may.
    leaf = der(issue(OLD, ["a"], NOW))
    fresh = new_issuer(late)
    assert why_refused(leaf, [OLD.authority, fresh.authority], now=late) is not None
    assert why_refused(der(issue(fresh, ["a"], late)), [OLD.authority, fresh.authority], now=late) is None


def test_a_certificate_that_is_not_valid_yet_is_accepted_because_a_lost_clock_cannot_tell():
    assert why_refused(der(issue(OLD, ["a"], NOW)), BOTH, now=NEVER_SET) is None


def test_a_certificate_of_an_unknown_ca_is_refused():
    refusal = why_refused(der(issue(new_issuer(NOW), ["a"], NOW)), BOTH, now=NOW)
    assert refusal == "the server's certificate was signed by none of this fleet's CAs"


def test_a_ca_of_the_same_name_with_another_key_is_another_ca():
    other = new_issuer(NOW)
    forged = issue(other, ["a"], NOW).certificate
    copy = x509.CertificateBuilder(
        issuer_name=OLD.authority.certificate.subject,
        subject_name=forged.subject,
        public_key=forged.public_key(),
        serial_number=forged.serial_number,
        not_valid_before=forged.not_valid_before_utc,
        not_valid_after=forged.not_valid_after_utc,
    ).sign(other.key, forged.signature_hash_algorithm)
    assert why_refused(copy.public_bytes(Encoding.DER), BOTH, now=NOW) is not None


def test_what_is_no_certificate_is_refused():
    assert "cannot be read" in why_refused(b"nothing", BOTH, now=NOW)


# -- what is in a certificate (RFC 5280 4.2)


def extension(certificate, kind):
    found = certificate.extensions.get_extension_for_class(kind)
    return found.value, found.critical


def used_for(certificate):
    usage, critical = extension(certificate, x509.KeyUsage)
    assert critical
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign",
    )  # fmt: skip
    return {name for name in names if getattr(usage, name)}


def test_a_ca_signs_certificates_of_servers_without_anybody_in_between():
    issuer = new_issuer(NOW)
    certificate = issuer.authority.certificate
    assert extension(certificate, x509.BasicConstraints) == (x509.BasicConstraints(ca=True, path_length=0), True)
    assert used_for(certificate) == {"key_cert_sign", "crl_sign"}
    identifier, critical = extension(certificate, x509.SubjectKeyIdentifier)
    assert identifier == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert not critical
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == f"CN=EdgeOps fleet CA {identifier.digest[:4].hex()}"
    assert issuer.authority.signed(certificate)


def test_a_server_certificate_serves_and_does_nothing_else():
    certificate = present(NEW)
    assert extension(certificate, x509.BasicConstraints) == (x509.BasicConstraints(ca=False, path_length=None), True)
    assert used_for(certificate) == {"digital_signature"}
    assert extension(certificate, x509.ExtendedKeyUsage) == (x509.ExtendedKeyUsage([SERVER_AUTH]), False)
    issuer, critical = extension(certificate, x509.AuthorityKeyIdentifier)
    assert issuer == x509.AuthorityKeyIdentifier.from_issuer_public_key(NEW.key.public_key())
    assert not critical
    assert not extension(certificate, x509.SubjectAlternativeName)[1]
    assert not extension(certificate, x509.SubjectKeyIdentifier)[1]
    assert certificate.subject.rfc4514_string() == "CN=EdgeOps server"
    assert certificate.issuer == NEW.authority.certificate.subject


def test_a_certificate_begins_an_hour_ago_for_clocks_that_are_behind():
    issuer = new_issuer(NOW)
    lives = ((issuer.authority.certificate, limits.CA_LIFE), (present(issuer), limits.SERVER_CERTIFICATE_LIFE))
    for certificate, life in lives:
        assert certificate.not_valid_before_utc == NOW - timedelta(hours=1)
        assert certificate.not_valid_after_utc == NOW + life


def test_what_a_server_shows_is_one_file_of_key_certificate_and_ca():
    issued = issue(NEW, ["a"], NOW)
    key = load_pem_private_key(issued.pem, password=None)
    assert key.public_key() == issued.certificate.public_key()
    assert isinstance(key.curve, ec.SECP256R1)
    assert isinstance(NEW.key.curve, ec.SECP256R1)
    assert x509.load_pem_x509_certificates(issued.pem) == [issued.certificate, NEW.authority.certificate]


def test_a_fingerprint_is_the_digest_of_the_certificate_as_openssl_shows_it():
    shown = NEW.authority.certificate.fingerprint(hashes.SHA256()).hex()
    assert NEW.authority.fingerprint == f"sha256:{shown}"


def test_a_certificate_without_names_is_for_nobody():
    assert names_in(NEW.authority.certificate) == ()


def test_a_key_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "ca-1.pem").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read the CA .*ca-1\.pem"):
        issuers_in(tmp_path)


def test_a_key_of_another_kind_is_named(tmp_path):
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca-1.pem").write_bytes(key + NEW.authority.pem.encode())
    with pytest.raises(ConfigError, match=r"ca-1\.pem holds no ECDSA key but Ed25519"):
        issuers_in(tmp_path)


def test_a_ca_that_ended_beside_its_certificate_that_did_not_is_named():
    """Another tool may have made it: ours ends with its CA."""
    late = OLD.authority.ends
    leaf = issue(OLD, ["a"], NOW).certificate
    longer = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(leaf.issuer)
        .public_key(leaf.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(late + YEAR)
        .sign(OLD.key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    assert why_refused(longer, BOTH, now=late) is None
    refusal = why_refused(longer, BOTH, now=late + timedelta(seconds=1))
    assert refusal == f"the CA of the server's certificate ended on {late:%Y-%m-%d}"


# -- bytes that are nearly a certificate, as fuzzing found them ------------------------------------

P256, UNKNOWN_CURVE = b"\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x2a\x86\x48\xce\x3d\x03\x01\x63"
#: What stands in a certificate of ours -> what somebody puts there: a second key usage, version 46, an X.400 name.
SPOILT = {
    "an unknown curve": (P256, UNKNOWN_CURVE),
    "an extension twice": (b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x0f"),
    "an unknown version": (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x2d"),
    "an unknown kind of name": (b"\x82\x09a.example", b"\xa3\x09a.example"),
}


def spoilt(certificate, how):
    before, after = SPOILT[how]
    data = certificate.public_bytes(Encoding.DER)
    assert before in data
    return data.replace(before, after)


def as_pem(data):
    return ssl.DER_cert_to_PEM_cert(data)


@pytest.mark.parametrize("how", ["an extension twice", "an unknown version"])
def test_nearly_a_certificate_of_a_ca_is_none(how):
    with pytest.raises(TrustError, match="not a certificate of a CA"):
        Authority.from_pem(as_pem(spoilt(NEW.authority.certificate, how)))


def test_a_certificate_with_an_unknown_kind_of_name_is_none_of_a_ca_and_is_for_nobody():
    data = spoilt(issue(NEW, ["a.example"], NOW).certificate, "an unknown kind of name")
    with pytest.raises(TrustError, match="not a certificate of a CA"):
        Authority.from_pem(as_pem(data))
    assert names_in(x509.load_der_x509_certificate(data)) == ()


def test_a_server_certificate_of_an_unknown_version_is_refused_in_words():
    assert "cannot be read" in why_refused(
        spoilt(issue(NEW, ["a.example"], NOW).certificate, "an unknown version"), BOTH, now=NOW
    )


@pytest.mark.parametrize("kind", ["an unknown curve", "a password"])
def test_a_ca_key_that_cannot_be_read_is_named(tmp_path, kind):
    write_issuer(tmp_path, NEW)
    file = key_file(tmp_path, NEW.authority)
    plain = NEW.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if kind == "a password":
        other = NEW.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    else:
        body = base64.b64decode(b"".join(plain.splitlines()[1:-1]))
        unknown = body.replace(P256, UNKNOWN_CURVE)
        other = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(unknown) + b"-----END PRIVATE KEY-----\n"
    content = file.read_bytes()
    assert plain in content
    file.write_bytes(content.replace(plain, other))
    with pytest.raises(ConfigError, match="cannot read the CA"):
        issuers_in(tmp_path)


def test_a_ca_certificate_that_cannot_be_read_is_named(tmp_path):
    write_issuer(tmp_path, NEW)
    file = key_file(tmp_path, NEW.authority)
    content = file.read_text()
    assert NEW.authority.pem in content
    file.write_text(content.replace(NEW.authority.pem, as_pem(spoilt(NEW.authority.certificate, "an unknown version"))))
    with pytest.raises(ConfigError, match="cannot read the CA"):
        issuers_in(tmp_path)


def test_a_ca_with_a_key_on_an_unknown_curve_signed_nothing():
    strange = Authority.from_pem(as_pem(spoilt(NEW.authority.certificate, "an unknown curve")))
    assert why_refused(der(issue(NEW, ["a"], NOW)), [strange], now=NOW) is not None
