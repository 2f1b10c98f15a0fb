"""Which CAs the fleet has, which of them signs next, and what a device says to a certificate."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgeops import limits
from edgeops.errors import ConfigError, TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.authorities import decode_authorities, encode_authorities, is_good, issuer_for, names_in, why_refused
from edgeops.trust.issuing import issue, issuers_in, key_file, new_issuer, write_issuer

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)
OLD = new_issuer(NOW - 5 * YEAR)
NEW = new_issuer(NOW)
BOTH = (OLD.authority, NEW.authority)
NEVER_SET = datetime(1970, 1, 1, tzinfo=UTC)


def der(issued):
    return issued.certificate.public_bytes(Encoding.DER)


def test_the_document_comes_back_oldest_first():
    assert decode_authorities(encode_authorities(BOTH[::-1])) == BOTH


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"certificates": []}', b'{"certificates": ["x"]}', b'{"certificates": ["x"], "more": 1}', b"\xff"],
)
def test_what_is_no_list_of_cas_is_refused(content):
    with pytest.raises(TrustError):
        decode_authorities(content)


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
    almost = NOW + limits.CA_OVERLAP - 2 * DAY
    assert issuer_for(BOTH, present(OLD), now=almost) == OLD.authority
    assert issuer_for(BOTH, present(OLD), now=NOW + limits.CA_OVERLAP) == NEW.authority


def test_once_the_new_ca_signs_the_old_one_does_not_sign_again():
    assert issuer_for(BOTH, present(NEW), now=NOW) == NEW.authority


def test_a_ca_that_ended_signs_nothing_and_a_new_one_takes_its_place_at_once():
    late = OLD.authority.ends + DAY
    fresh = new_issuer(late)
    assert issuer_for([OLD.authority, fresh.authority], present(OLD), now=late) == fresh.authority
    assert issuer_for([OLD.authority], present(OLD), now=late) is None


def test_a_certificate_is_replaced_when_a_third_of_its_life_is_left_or_it_does_not_fit():
    leaf = present(OLD)
    assert is_good(leaf, OLD.authority, names=["a"], now=NOW + 59 * DAY)
    assert not is_good(leaf, OLD.authority, names=["a"], now=NOW + 61 * DAY)
    assert not is_good(leaf, OLD.authority, names=["a", "b"], now=NOW)
    assert not is_good(leaf, NEW.authority, names=["a"], now=NOW)


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
    assert "none of this fleet's CAs" in why_refused(der(issue(new_issuer(NOW), ["a"], NOW)), BOTH, now=NOW)


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


def test_a_certificate_of_cas_that_all_ended_says_when_the_last_did():
    long = issue(OLD, ["a"], NOW).certificate
    now = OLD.authority.ends + DAY
    outliving = x509.CertificateBuilder(
        issuer_name=OLD.authority.certificate.subject,
        subject_name=long.subject,
        public_key=long.public_key(),
        serial_number=long.serial_number,
        not_valid_before=NOW,
        not_valid_after=now + YEAR,
    ).sign(OLD.key, long.signature_hash_algorithm)
    said = why_refused(outliving.public_bytes(Encoding.DER), BOTH, now=now)
    assert said == f"the CA of the server's certificate ended on {OLD.authority.ends:%Y-%m-%d}"


def test_a_certificate_without_names_is_for_nobody():
    assert names_in(OLD.authority.certificate) == ()


def test_a_ca_whose_key_is_of_another_kind_is_named(tmp_path):
    path = tmp_path / "ca-0000000000000000.pem"
    path.write_bytes(SigningKey.generate().to_pem() + OLD.authority.pem.encode())
    with pytest.raises(ConfigError, match="holds no ECDSA key but Ed25519PrivateKey"):
        issuers_in(tmp_path)
