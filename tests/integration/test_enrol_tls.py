"""Enrolment over TLS: a device believes the server whose CA a person named, and tells its token to no other."""

from http.server import BaseHTTPRequestHandler
from urllib.request import urlopen

import pytest

from device_agent.cli import main
from device_agent.clock import Clock
from device_agent.config import StateFolder, read_device
from device_agent.enrol import enrol
from device_agent.tls import FleetTls
from edgeops.api.roles import Role
from edgeops.errors import ConfigError, TrustError
from edgeops.trust.transport import unbelieved_context
from edgeops.update.faults import CLOCKS, Fault
from fleet_server.certificates import listed_authorities
from tests.contract.rig import ApiRig
from tests.integration.tls_rig import NOW, certificate, https_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    made = ApiRig(tmp_path_factory.mktemp("api"), tls=True, now=NOW)
    yield made
    made.close()


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path / "state")


def token_of(rig):
    return rig.client(Role.OPERATOR).enrolment_tokens()[0].token


def fingerprint_of(rig):
    return listed_authorities(rig.config)[0].fingerprint


def showing(state, moment):
    """A device's clock that stands wrong."""
    return Clock(state.clock, now=moment.timestamp)


def test_a_token_is_all_that_a_person_pastes(rig, state, capsys):
    assert main(["--state", str(state.path), "enrol", rig.url, "--token", token_of(rig), "--name", "meter"]) == 0
    device = read_device(state)
    assert device.id == capsys.readouterr().out.strip()
    assert (device.server, device.broker_host) == (rig.url, "127.0.0.1")
    tls = FleetTls(state.trust, now=Clock(state.clock).present)
    assert tls.authorities == listed_authorities(rig.config)


def test_a_clock_that_is_ahead_is_to_be_set_and_the_token_is_good_after_that(rig, state):
    """The time is nobody's to tell before the fleet's keys are known."""
    token = token_of(rig)
    with pytest.raises(TrustError, match=r"ended on .*clock says 2038-.* set it and enrol again"):
        enrol(state, rig.url, token=token, name="meter", clock=showing(state, CLOCKS[Fault.CLOCK_2038]))
    assert not state.device.exists()
    assert enrol(state, rig.url, token=token, name="meter") == read_device(state)


def test_a_clock_that_was_lost_is_no_reason_not_to_enrol(rig, state):
    enrol(state, rig.url, token=token_of(rig), name="meter", clock=showing(state, CLOCKS[Fault.CLOCK_1970]))
    tls = FleetTls(state.trust, now=Clock(state.clock).present)
    assert tls.authorities == listed_authorities(rig.config)


def test_a_fingerprint_may_come_by_another_way(rig, state):
    token = token_of(rig).partition("@")[0]
    arguments = ["--state", str(state.path), "enrol", rig.url, "--token", token]
    assert main([*arguments, "--ca-fingerprint", fingerprint_of(rig)]) == 0


def test_a_device_that_enrolled_without_tls_knows_the_cas_for_when_its_server_speaks_it(tmp_path, state):
    plain = ApiRig(tmp_path / "plain", now=NOW)
    try:
        enrol(state, plain.url, token=token_of(plain), name="meter")
        assert FleetTls(state.trust, now=Clock(state.clock).present).authorities == listed_authorities(plain.config)
    finally:
        plain.close()


@pytest.mark.parametrize("fingerprint", ["", "sha256:", "sha1:00", "SHA256:" + "0" * 64])
def test_without_a_fingerprint_nothing_is_sent(rig, state, fingerprint):
    with pytest.raises(ConfigError, match="edgeops key ca show"):
        enrol(state, rig.url, token="enrol_1_2", name="meter", fingerprint=fingerprint)
    assert not state.path.exists()


def test_a_server_without_this_ca_is_refused(rig, state):
    with pytest.raises(TrustError, match="has no CA"):
        enrol(state, rig.url, token="enrol_1_2", name="meter", fingerprint="sha256:" + "0" * 64)


def test_a_fingerprint_without_tls_says_so(state):
    with pytest.raises(ConfigError, match="use https"):
        enrol(state, "http://127.0.0.1:1", token="t@sha256:" + "0" * 64, name="meter")


def test_plain_http_beyond_this_machine_is_refused(state):
    with pytest.raises(ConfigError, match="over TLS"):
        enrol(state, "http://192.0.2.1:8470", token="t", name="meter")


def test_who_stands_in_between_with_the_right_ca_and_another_certificate_never_sees_the_token(rig, state):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with urlopen(rig.url + self.path, context=unbelieved_context()) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            seen.append(self.path)

        def log_message(self, *_arguments):
            pass

    with (
        https_server(Handler, certificate()) as url,
        pytest.raises(TrustError, match="cannot prove to be this fleet's server"),
    ):
        enrol(state, url, token=token_of(rig), name="meter")
    assert seen == []
    assert not state.device.exists()
