"""Two link processes at one PostgreSQL: what the one that stands by does when the other is killed, or hangs."""

import signal
import time

import pytest

from edgeops import limits
from edgeops.protocol import messages
from edgeops.protocol.topics import UpKind
from tests.integration.link_rig import eventually, linked_rig, window
from tests.stores import ON_POSTGRESQL

pytestmark = [pytest.mark.slow, pytest.mark.long, *ON_POSTGRESQL]

#: What one that stands by needs on a loaded machine, beside the time of the lease.
SLACK_S = 10.0
EACH = 5


@pytest.fixture
def rig(tmp_path):
    with linked_rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def standby(rig):
    """The first link works, this one waits; whichever stays is ended by the rig, the other by this."""
    first = rig.link
    rig.start_link()
    eventually(lambda: "link.waits" in rig.link_log(), what="the second one waits")
    assert turns(rig) == 1
    yield first
    if first.poll() is None:
        first.kill()
        first.wait()


def turns(rig):
    return rig.link_log().count("link.took-lease")


class Talk:
    """What one device says, and that all of it is counted once."""

    def __init__(self, rig):
        self.rig = rig
        self.device = rig.device()
        self.said = 0
        self.infos = []

    def go_on(self, messages_count):
        for _ in range(messages_count):
            entries = [(self.said + place, messages.encode(window())) for place in range(EACH)]
            payload = self.device.sealed(UpKind.TELEMETRY, self.device.records(*entries))
            self.infos.append(self.device.publish_soon(UpKind.TELEMETRY, payload))
            self.said += EACH

    def wait_for_acks(self):
        for info in self.infos:
            info.wait_for_publish(60)
        eventually(lambda: self.device.acked_through() == self.said - 1, what="the ack of every record")

    def assert_all_counted_once(self):
        count = self.said
        rows = self.rig.rows("SELECT count(*), sum(rows), count(DISTINCT seq) FROM windows")
        assert rows == [(count, count * 500, count)]
        assert self.rig.rows("SELECT through FROM spools") == [(count - 1,)]
        assert self.rig.rows("SELECT sum(windows) FROM rollups") == [(count,)]
        assert self.rig.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_when_the_link_is_killed_the_other_goes_on_within_the_lease_and_nothing_is_lost_or_twice(rig, standby):
    talk = Talk(rig)
    talk.go_on(40)
    eventually(lambda: rig.rows("SELECT 1 FROM windows LIMIT 1"), what="the first one works")
    talk.go_on(40)
    standby.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    standby.wait()
    talk.go_on(40)
    eventually(lambda: turns(rig) == 2, what="the second one's turn")
    assert time.monotonic() - killed_at < limits.LEASE_LIFE.total_seconds() + SLACK_S
    talk.go_on(40)
    talk.wait_for_acks()
    talk.assert_all_counted_once()


def test_a_link_that_hung_and_lost_its_turn_writes_nothing_more_and_ends(rig, standby):
    talk = Talk(rig)
    talk.go_on(40)
    eventually(lambda: rig.rows("SELECT 1 FROM windows LIMIT 1"), what="the first one works")
    talk.go_on(80)
    standby.send_signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    # One that hangs in the middle of a write holds the lease until the database ends its transaction.
    longest_s = (limits.LEASE_LIFE + limits.IDLE_WRITE_TIMEOUT).total_seconds() + SLACK_S
    eventually(lambda: turns(rig) == 2, what="the second one's turn", seconds=longest_s)
    assert time.monotonic() - stopped_at > limits.LEASE_LIFE.total_seconds() / 2, "a pause is no reason yet"
    talk.go_on(40)
    talk.wait_for_acks()

    standby.send_signal(signal.SIGCONT)
    talk.go_on(40)
    assert standby.wait(60) != 0
    assert "is not the link process any more" in rig.link_log()
    talk.go_on(40)
    talk.wait_for_acks()
    talk.assert_all_counted_once()
    assert turns(rig) == 2
    assert rig.link.poll() is None
