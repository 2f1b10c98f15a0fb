"""What OpenSSL is told about whom to believe, and where plain TCP will do."""

import ssl

import pytest

from edgeops.errors import ConfigError
from edgeops.trust.issuing import new_issuer
from edgeops.trust.transport import NO_CHECK_TIME, believing, is_loopback, unbelieved_context
from tests.unit.test_trust_authorities import NOW


@pytest.fixture
def authorities(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text(new_issuer(NOW).authority.pem)
    return path


def test_the_cas_of_a_file_are_believed_by_chain_name_and_time(authorities):
    context = believing(authorities)
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & NO_CHECK_TIME


def test_time_may_be_left_to_others_and_nothing_else(authorities):
    context = believing(authorities, judges_time=False)
    assert context.verify_flags & NO_CHECK_TIME
    assert context.verify_flags & ssl.VERIFY_X509_TRUSTED_FIRST
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_a_ca_is_named_with_its_setting(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem.*EDGEOPS_CA"):
        believing(path)


def test_where_answers_prove_themselves_the_server_proves_nothing():
    context = unbelieved_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("192.168.1.7", False), ("example.org", False), ("", False), ("localhost.example.org", False),
    ],
)  # fmt: skip
def test_only_this_machine_is_reached_without_tls(host, is_own):
    assert is_loopback(host) is is_own
