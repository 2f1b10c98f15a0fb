"""How a device finds back that believes no server: a real API over TLS, a real TUF client, clocks that are injected."""

import json
import ssl
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from urllib.request import urlopen

import pytest

from device_agent.clock import Clock
from device_agent.tls import FleetTls
from device_agent.trust import FleetKeys, Trust
from device_agent.wayback import Wayback, speaks_tls
from edgeops import limits
from edgeops.errors import ConfigError
from edgeops.protocol.keys import SigningKey, read_private_key
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities
from edgeops.trust.issuing import Issuer, issuers_in
from edgeops.trust.keyring import FLEET_KEYS_TARGET, encode_fleet_keys, fleet_keys_of
from edgeops.trust.moment import sign_moment
from edgeops.trust.reissue import Reissue
from edgeops.trust.repository import Repository
from edgeops.trust.transport import unbelieved_context
from fleet_server import certificates, fleet_key
from tests.contract.rig import ApiRig
from tests.integration.tls_rig import DAY, NOW, certificate, hears, https_server, tls_server

pytestmark = pytest.mark.slow

IN_1970 = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)


class Device:
    """The parts of an agent that decide whom it believes; its broker is not there."""

    def __init__(self, folder, rig, *, wall=NOW, server=None):
        self.wall = wall
        self.passed_s = 1000.0
        self.folder = folder / "trust"
        self._server = server or rig.url
        (self.folder / "metadata").mkdir(parents=True)
        repository = Repository.open(rig.config.repository, rig.config.keys)
        (self.folder / "metadata" / "root.json").write_bytes(repository.trusted_root())
        self.restart()
        self.tls.store(repository.read("fleet/ca.json"))
        public = read_private_key(rig.config.fleet_key(1)).public
        self.keys.store(encode_fleet_keys(fleet_keys_of(public, epoch=1)))

    def restart(self):
        self.clock = Clock(self.folder.parent / "clock.json", now=self._wall_s, passed=lambda: self.passed_s)
        self.tls = FleetTls(self.folder, now=self.clock.present)
        self.keys = FleetKeys(self.folder)
        self.wayback = Wayback(
            self._server,
            tls=self.tls,
            clock=self.clock,
            keys=self.keys,
            trust=Trust(self.folder, None, self.clock, self.keys),
            submit=lambda task: task(),
        )
        self._now_s = 0.0

    def _wall_s(self):
        return self.wall.timestamp()

    def not_believed(self):
        """The link says so, long after it said so last."""
        self._now_s += limits.WAYBACK_INTERVAL.total_seconds()
        self.wayback.not_believed(self._now_s)

    def believes(self, issued):
        with tls_server(issued) as port:
            try:
                return hears(self.tls.context(), port) == b"hello"
            except ssl.SSLCertVerificationError:
                return False


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    made = ApiRig(tmp_path_factory.mktemp("api"), tls=True, now=NOW)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _time_stands(rig):
    rig.now = NOW


def own(rig) -> Issuer:
    return issuers_in(rig.config.keys)[0]


def own_of(rig, authority) -> Issuer:
    return next(one for one in issuers_in(rig.config.keys) if one.authority == authority)


def test_a_clock_in_2038_is_put_right_by_the_servers_signed_time_and_the_link_goes_on(rig, tmp_path):
    device = Device(tmp_path, rig, wall=IN_2038)
    good = certificate(own(rig))
    assert not device.believes(good)
    device.not_believed()
    assert device.clock.present() == NOW.replace(microsecond=NOW.microsecond // 1000 * 1000)
    assert device.believes(good)
    # Of what was signed offline it goes on to think by its own clock: a server shall not prolong that.
    assert device.clock.now() == IN_2038


def test_a_certificate_that_was_stolen_and_has_ended_is_refused_whatever_the_clock_says(rig, tmp_path):
    stolen = certificate(own(rig), at=NOW - 100 * DAY)
    for number, wall in enumerate((NOW, IN_2038)):
        device = Device(tmp_path / str(number), rig, wall=wall)
        assert not device.believes(stolen)
        device.not_believed()
        assert not device.believes(stolen)


def test_time_goes_on_after_the_answer_however_the_clock_is_set(rig, tmp_path):
    device = Device(tmp_path, rig, wall=IN_2038)
    device.not_believed()
    device.passed_s += (91 * DAY).total_seconds()
    for device.wall in (NOW, IN_1970, IN_2038):
        assert not device.believes(certificate(own(rig)))


@pytest.mark.parametrize("wall", [NOW, IN_1970, IN_2038])
def test_a_wrong_word_about_the_time_is_put_right_by_the_servers_answer(rig, tmp_path, wall):
    device = Device(tmp_path, rig, wall=wall)
    device.not_believed()
    device.clock.told(NOW + 3000 * DAY, place=(1, 1, 1))
    device.restart()
    good = certificate(own(rig))
    assert not device.believes(good), "by the floor it has ended"
    device.not_believed()
    assert device.believes(good)
    assert device.clock.floor == device.clock.present()
    assert not device.believes(certificate(own(rig), at=NOW - 100 * DAY))


def test_a_lost_clock_needs_no_answer(rig, tmp_path):
    device = Device(tmp_path, rig, wall=IN_1970)
    assert device.believes(certificate(own(rig)))


@pytest.fixture
def impostor(rig):
    """Somebody between device and server who has a certificate of an old CA, and answers what a test lets it answer."""

    class Handler(BaseHTTPRequestHandler):
        answer = staticmethod(lambda _path: {})

        def do_GET(self):
            body = json.dumps(type(self).answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with https_server(Handler, certificate()) as Handler.url:
        yield Handler


def signed(key, nonce, at):
    signature = sign_moment(key, bytes.fromhex(nonce), at)
    return {"at": at.isoformat(), "key_id": key.public.key_id, "signature": signature.hex()}


def nonce_of(path):
    return path.partition("nonce=")[2]


FALSE = {
    "another key": lambda key, path: signed(SigningKey.generate(), nonce_of(path), NOW),
    "its name on another key": lambda key, path: (
        signed(SigningKey.generate(), nonce_of(path), NOW) | {"key_id": key.public.key_id}
    ),
    "a recorded answer": lambda key, path: signed(key, "00" * 16, NOW),
    "another time": lambda key, path: signed(key, nonce_of(path), IN_2038) | {"at": NOW.isoformat()},
    "no signature": lambda key, path: {"at": NOW.isoformat(), "key_id": key.public.key_id, "signature": ""},
    "nothing": lambda key, path: {},
    "a time before the calendar": lambda key, path: (
        signed(key, nonce_of(path), NOW) | {"at": "0001-01-01T00:00:00+10:00"}
    ),
}


@pytest.mark.parametrize("case", FALSE)
def test_a_time_that_is_not_signed_for_this_question_is_not_believed(rig, tmp_path, impostor, case):
    key = read_private_key(rig.config.fleet_key(1))
    impostor.answer = lambda path: FALSE[case](key, path) if "/time" in path else {}
    device = Device(tmp_path, rig, wall=IN_2038, server=impostor.url)
    device.not_believed()
    assert device.clock.present() == IN_2038


def test_who_stands_in_between_can_pass_on_the_true_time_and_gains_nothing(rig, tmp_path, impostor):
    def relay(path):
        with urlopen(rig.url + path, context=unbelieved_context()) as answer:
            return json.loads(answer.read())

    impostor.answer = relay
    device = Device(tmp_path, rig, wall=IN_2038, server=impostor.url)
    device.not_believed()
    assert not device.believes(certificate(own(rig), at=NOW - 100 * DAY))


def test_a_list_of_cas_that_tuf_does_not_vouch_for_is_not_believed(rig, tmp_path, impostor):
    before = Device(tmp_path, rig, server=impostor.url)
    known = before.tls.authorities
    before.not_believed()
    assert before.tls.authorities == known


def test_it_asks_now_and_then_only(rig, tmp_path, impostor):
    asked = []
    impostor.answer = lambda path: asked.append(path) or {}
    device = Device(tmp_path, rig, server=impostor.url)
    for now_s in (100.0, 101.0, 102.0):
        device.wayback.not_believed(now_s)
    assert len([path for path in asked if "/time" in path]) == 1


def test_plain_http_beyond_this_machine_is_refused():
    assert speaks_tls("https://fleet.example:8470")
    assert not speaks_tls("http://127.0.0.1:8470")
    with pytest.raises(ConfigError, match="over TLS"):
        speaks_tls("http://fleet.example:8470")


# -- another CA, at last: it changes the rig


def test_a_device_that_was_away_while_the_ca_was_replaced_finds_back(rig, tmp_path):
    away = Device(tmp_path, rig)
    old = own(rig).authority
    repository = Repository.open(rig.config.repository, rig.config.keys)
    later = NOW + DAY
    made = certificates.prepare(rig.config, later).authority
    repository.publish({AUTHORITIES_TARGET: encode_authorities([old, made])}, later)
    certificates.switch(rig.config, later)
    repository.publish({AUTHORITIES_TARGET: encode_authorities([made])}, later)
    new = own_of(rig, made)
    assert not away.believes(certificate(new))
    away.not_believed()
    assert away.tls.authorities == (made,)
    assert away.believes(certificate(new))
    assert not away.believes(certificate(Issuer(old, new.key)))
    # Also with a clock that says that everything has ended: the server's time counts for the list of CAs.
    ahead = Device(tmp_path / "ahead", rig, wall=IN_2038)
    ahead.tls.store(encode_authorities([old]))
    ahead.not_believed()
    assert ahead.believes(certificate(new))


def test_a_theft_that_a_lie_about_the_time_went_with_ends_with_new_keys_of_everything(rig, tmp_path):
    """The thief's word stands on the device; certificate authority, timestamp and fleet key are new, its clock is right."""
    device = Device(tmp_path, rig)
    device.not_believed()
    device.clock.told(NOW + 300 * DAY, place=(1, 2**52, 1))
    device.restart()
    later = NOW + 2 * DAY
    made = certificates.prepare(rig.config, later).authority
    epoch, public = fleet_key.prepare(rig.config, rig.database)
    listed = {
        AUTHORITIES_TARGET: encode_authorities([made]),
        FLEET_KEYS_TARGET: encode_fleet_keys(fleet_keys_of(public, epoch=epoch)),
    }
    Reissue(rig.config.repository, rig.config.keys).replace_keys(listed, later)
    assert fleet_key.follow(rig.config, rig.database, Repository.open(rig.config.repository, rig.config.keys), later)
    certificates.switch(rig.config, later)
    rig.now = device.wall = later
    good = certificate(own_of(rig, made), at=later)
    assert not device.believes(good)

    device.not_believed()
    assert device.keys.epoch == epoch
    assert device.believes(good), "by its own clock: the floor fell"

    device.clock.told(NOW + 300 * DAY, place=(1, 2**52, 2))
    assert device.believes(good), "his key speaks no more"
    device.not_believed()
    assert device.clock.floor == later.replace(microsecond=later.microsecond // 1000 * 1000), "and the new one does"
