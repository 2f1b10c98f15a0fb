"""The agent's TLS context against real handshakes: chain, name and the end of validity, by a time that is injected."""

import ssl
from datetime import UTC, datetime

import pytest

from device_agent.tls import FleetTls, fleet_context
from edgeops.errors import TrustError
from edgeops.trust.authorities import encode_authorities
from edgeops.trust.issuing import new_issuer
from tests.integration.tls_rig import DAY, NOW, YEAR, certificate, hears, tls_server

CA = new_issuer(NOW - YEAR)
NEXT_CA = new_issuer(NOW)
BOTH = (CA.authority, NEXT_CA.authority)
IN_1970 = datetime(1970, 1, 1, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)


def at(now, authorities=BOTH):
    return fleet_context(authorities, now=lambda: now)


@pytest.mark.parametrize("issuer", [CA, NEXT_CA])
def test_a_server_of_either_ca_is_believed(issuer):
    with tls_server(certificate(issuer)) as port:
        assert hears(at(NOW), port) == b"hello"
        assert hears(at(NOW), port, name="127.0.0.1") == b"hello"


def test_a_clock_in_1970_strands_nobody():
    with tls_server(certificate(CA)) as port:
        assert hears(at(IN_1970), port) == b"hello"


def test_a_certificate_that_begins_after_the_time_floor_is_believed():
    with tls_server(certificate(CA, at=NOW + 30 * DAY)) as port:
        assert hears(at(NOW), port) == b"hello"


@pytest.mark.parametrize("now", [NOW + 91 * DAY, IN_2038])
def test_a_certificate_that_has_ended_by_the_devices_time_is_refused(now):
    with tls_server(certificate(CA)) as port, pytest.raises(ssl.SSLCertVerificationError, match="ended on"):
        hears(at(now), port)


def test_a_certificate_that_has_ended_is_refused_also_where_the_systems_clock_is_right():
    with (
        tls_server(certificate(CA, at=NOW - 100 * DAY)) as port,
        pytest.raises(ssl.SSLCertVerificationError, match="ended on"),
    ):
        hears(at(NOW), port)


def test_another_name_is_refused_whatever_the_time():
    with tls_server(certificate(CA, names=["elsewhere.example"])) as port:
        for now in (NOW, IN_1970, IN_2038):
            with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
                hears(at(now), port)


def test_another_ca_is_refused_whatever_the_time():
    with tls_server(certificate()) as port:
        for now in (NOW, IN_1970, IN_2038):
            with pytest.raises(ssl.SSLCertVerificationError):
                hears(at(now), port)


def test_a_ca_is_no_server():
    with tls_server(certificate(CA)) as port, pytest.raises(ssl.SSLCertVerificationError):
        hears(at(NOW, ()), port)


def test_a_retired_ca_is_refused():
    with tls_server(certificate(CA)) as port, pytest.raises(ssl.SSLCertVerificationError):
        hears(at(NOW, (NEXT_CA.authority,)), port)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_older_than_1_2_is_refused():
    with tls_server(certificate(CA), version=ssl.TLSVersion.TLSv1_1) as port, pytest.raises(ssl.SSLError):
        hears(at(NOW), port)


def test_what_tuf_vouched_for_is_kept_over_a_restart(tmp_path):
    tls = FleetTls(tmp_path, now=lambda: NOW)
    assert tls.authorities == ()
    assert tls.store(encode_authorities(BOTH))
    assert not tls.store(encode_authorities(BOTH))
    again = FleetTls(tmp_path, now=lambda: NOW)
    assert again.authorities == BOTH
    with tls_server(certificate(CA)) as port:
        assert hears(again.context(), port) == b"hello"


def test_a_list_of_cas_that_is_none_changes_nothing(tmp_path):
    tls = FleetTls(tmp_path, now=lambda: NOW)
    tls.store(encode_authorities(BOTH))
    with pytest.raises(TrustError):
        tls.store(b"{}")
    assert tls.authorities == BOTH


def test_a_damaged_file_counts_as_none(tmp_path):
    (tmp_path / "ca.json").write_bytes(b"\x00")
    tls = FleetTls(tmp_path, now=lambda: NOW)
    assert (tls.authorities, tls.damaged) == ((), 1)
