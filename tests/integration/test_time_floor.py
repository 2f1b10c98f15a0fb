"""Wrong times under the fleet key, day by day: a real repository, the verification that devices run, a real `clock.json`."""

from datetime import UTC, datetime, timedelta

import pytest

from device_agent.clock import Clock
from device_agent.trust import FleetKeys, ask_by
from edgeops.protocol.keys import SigningKey
from edgeops.trust.client import verify
from edgeops.trust.custody import move_offline
from edgeops.trust.floor import NEVER
from edgeops.trust.frames import FailureKind, Result
from edgeops.trust.keyring import FLEET_KEYS_TARGET, encode_fleet_keys, fleet_keys_of
from edgeops.trust.reissue import Reissue
from edgeops.trust.repository import Repository
from tests.integration.trust_rig import DESCRIPTOR, FunctionFetcher, Site, kind_of

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
IN_1970 = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)


def fleet_key(epoch):
    """The target that lists a new fleet key, and no other."""
    return encode_fleet_keys(fleet_keys_of(SigningKey.generate().public, epoch=epoch))


class Server(Site):
    """A site whose clock is set by a test; says what time it is."""

    def __init__(self, folder, *, stick):
        super().__init__(folder)
        self.stick = stick
        self.repository.publish({FLEET_KEYS_TARGET: fleet_key(1)}, self.now)

    def go_offline(self):
        move_offline(self.keys, self.stick)

    def at(self, now):
        """What the jobs process does once a minute."""
        self.now = now
        Repository.open(self.served, self.keys).refresh(now)


class Device:
    """What decides about expiry on a device."""

    def __init__(self, server, *, wall):
        self._server = server
        self.wall = wall
        #: The number of the last word.
        self.said = 0
        self.fetch = server.read
        self.cut_power()

    def cut_power(self):
        self.clock = Clock(self._server.state / "clock.json", now=self._wall_s, passed=lambda: 0.0)

    def _wall_s(self):
        return self.wall.timestamp()

    def told(self, at, *, epoch=1):
        self.said += 1
        self.clock.told(at, place=(epoch, 1, self.said))

    def refresh(self):
        ask = ask_by(self.clock, (DESCRIPTOR, FLEET_KEYS_TARGET))
        answer = verify(self._server.state, ask, fetcher=FunctionFetcher(self.fetch))
        if isinstance(answer, Result):
            keys = FleetKeys(self._server.state)
            keys.store(answer.targets[FLEET_KEYS_TARGET])
            self.clock.verified(answer.expires, answer.timestamp_keys, epoch=keys.epoch)
        return answer

    def installs(self):
        answer = self.refresh()
        assert isinstance(answer, Result), answer
        return answer.targets[DESCRIPTOR] is not None


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "data", stick=tmp_path / "stick")


@pytest.fixture(params=["clock right", "clock in 1970"])
def device(request, server):
    """It has installed before."""
    device = Device(server, wall=server.now if request.param == "clock right" else IN_1970)
    assert device.installs()
    device.told(server.now)
    return device


def later(device, days):
    """The device's clock goes on, wherever it stands."""
    device.wall += days * DAY


@pytest.mark.parametrize("keys", ["online", "offline"])
@pytest.mark.parametrize("asks", ["meanwhile", "afterwards"])
def test_a_servers_excursion_to_2038_strands_no_device_once_it_says_the_right_time_again(server, device, keys, asks):
    begun = server.now
    if keys == "offline":
        server.go_offline()
    server.at(IN_2038)
    device.told(IN_2038)
    if asks == "meanwhile":
        assert device.installs(), "what the server signs is as far ahead as what it says"
        device.told(IN_2038)
    assert device.clock.floor > begun + 300 * DAY

    passed = 0
    for days in (1, 40, 300, 364):
        later(device, days - passed)
        passed = days
        server.at(begun + days * DAY)
        device.told(server.now)
        assert device.installs(), days
        assert device.clock.now() == server.now


def test_between_the_wrong_word_and_the_right_one_a_device_refuses_what_has_ended_by_the_wrong_one(server, device):
    device.told(server.now + 100 * DAY)
    assert kind_of(device.refresh()) is FailureKind.EXPIRED
    device.cut_power()
    assert kind_of(device.refresh()) is FailureKind.EXPIRED
    device.told(server.now)
    device.cut_power()
    assert device.installs(), "the last word holds over a power cut"


@pytest.fixture
def robbed(server, device):
    """A thief of the server tells the device that it is 300 days later, as often as he likes."""
    server.go_offline()
    device.said = 2**52
    device.told(server.now + 300 * DAY)
    assert kind_of(device.refresh()) is FailureKind.EXPIRED
    return device


def replace_keys(server):
    """What `edgeops key rotate snapshot timestamp fleet` does, in the hour after the theft."""
    server.now += DAY / 24
    Reissue(server.served, server.keys, offline=(server.stick,)).replace_keys(
        {FLEET_KEYS_TARGET: fleet_key(2)}, server.now
    )


def test_new_timestamp_keys_take_a_thiefs_lie_about_the_time_from_the_device(server, robbed):
    replace_keys(server)
    assert robbed.installs()
    assert robbed.clock.floor == NEVER

    robbed.told(server.now + 300 * DAY)
    assert robbed.clock.floor == NEVER, "his key is listed no more"
    robbed.said = 0
    robbed.told(server.now, epoch=2)
    assert robbed.clock.floor == server.now
    assert robbed.installs()
    robbed.cut_power()
    assert robbed.installs()


def test_a_new_root_that_arrives_alone_first_costs_nothing(server, robbed):
    """The connection or the power goes right after the root was stored."""
    replace_keys(server)
    robbed.fetch = lambda path: None if path.endswith("timestamp.json") else server.read(path)
    assert kind_of(robbed.refresh()) is FailureKind.MISSING
    robbed.fetch = server.read
    robbed.cut_power()
    assert robbed.installs()


def test_a_lie_that_no_root_answered_stays(server, robbed):
    """Keys of the server's own sign what they like: only root lets the floor fall."""
    Reissue(server.served, server.keys).count_higher(server.now)
    assert kind_of(robbed.refresh()) is FailureKind.EXPIRED


def test_what_has_ended_by_the_clock_is_refused_also_where_the_floor_fell(server, robbed):
    replace_keys(server)
    robbed.wall = server.now + 40 * DAY
    assert kind_of(robbed.refresh()) is FailureKind.EXPIRED
