"""Broker and server are away for a day, the sensor for half of it: the agent lives, and says all of it afterwards."""

import secrets
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest

from edgeops import limits
from edgeops.protocol.messages import Presence
from edgeops.protocol.topics import UpKind
from tests.golden.tiny import COLUMNS
from tests.integration.agent_rig import DEADLINE_S, DEPLOYMENT, DEVICE, Rig, eventually
from tests.integration.moved_clock import MovedClock
from tests.integration.test_agent_stdin import Feeder, csv, installed

pytestmark = [pytest.mark.slow, pytest.mark.long]

STEP_S = 5
#: How long a wait may take to see that the clock was moved.
GLANCE_S = 0.0005
#: How often the agent feeds its watchdog.
_WATCHDOG_S = 1
_SOON_S = 0.005
DAY = int(timedelta(days=1).total_seconds())
HOUR = 3600
#: The sensor's.
ROW_EVERY_S = 10
#: Too small for what half a day's sensor has answered one by one, ample for its windows.
SPOOL_BYTES = 128 * 1024
CREDIT = 200


class Supervisor:
    """The far end of sd_notify(3), and the hand that moves the agent's clock."""

    def __init__(self, folder) -> None:
        self.clock = MovedClock(folder / "clock")
        self.address = f"@edgeops-test-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        self._socket.settimeout(DEADLINE_S)

    def pass_time(self, seconds) -> None:
        """Move the clock, and let no more time pass before the watchdog was fed."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while self._socket.recv(64):
                pass
        self.clock.move(seconds)
        if not self._is_fed(_SOON_S):
            # It had fed at that very moment, and waits since then.
            self.clock.move(_WATCHDOG_S)
            assert self._is_fed(DEADLINE_S), f"the watchdog was not fed {self.clock.ahead_s} s into the day"

    def _is_fed(self, within_s) -> bool:
        self._socket.settimeout(within_s)
        with suppress(TimeoutError):
            return self._socket.recv(64) == b"WATCHDOG=1"
        return False

    def close(self) -> None:
        self._socket.close()
        self.clock.close()


class Door:
    """Stands where the broker was, turns away who comes, and notes when the agent did, in seconds of its clock."""

    def __init__(self, port, clock) -> None:
        self.came_s = []
        self._clock = clock
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._stand, daemon=True)
        self._thread.start()

    def _stand(self) -> None:
        with suppress(OSError):  # closed
            while True:
                caller, _ = self._socket.accept()
                with caller:
                    caller.settimeout(1)
                    at_s = time.monotonic() + self._clock.ahead_s
                    with suppress(OSError):
                        if DEVICE.encode() in caller.recv(1024):
                            self.came_s.append(at_s)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.close()


@pytest.fixture
def feed(rig):
    feeders = []

    def start():
        feeders.append(Feeder(rig, "--deployment", DEPLOYMENT, "--predictions", "all"))
        feeders[-1].write("id," + ",".join(COLUMNS))
        return feeders[-1]

    yield start
    for feeder in feeders:
        feeder.kill()


def start_agent(rig, supervisor):
    command = [sys.executable, "-m", "tests.integration.moved_clock"]
    arguments = [supervisor.clock.path, GLANCE_S, "agent", SPOOL_BYTES, "--state", rig.state.path, "run"]
    with rig.log.open("ab") as log:
        rig.agent = subprocess.Popen(
            [*command, *map(str, arguments)], env={"NOTIFY_SOCKET": supervisor.address}, stdout=log, stderr=log
        )


def source_rows(rig):
    return rig.status()["deployments"][0]["source_rows"]


def live(rig, supervisor, seconds, *, sensor=lambda _at_s: None):
    """Let so much time pass for the agent, and see each hour that its loops turn."""
    turning = ("main", "link", f"feed-{DEPLOYMENT}")
    before = rig.status()["loops"]
    for at_s in range(STEP_S, seconds + 1, STEP_S):
        supervisor.pass_time(STEP_S)
        sensor(at_s)
        if at_s % HOUR == 0:
            assert not rig.died()
            after = rig.status()["loops"]
            assert all(after[name] > before[name] for name in turning), (before, after)
            before = after


def test_after_a_day_without_broker_server_and_then_sensor_all_that_a_spool_holds_arrives_newest_first(
    rig, supervisor, feed
):
    installed(rig, start=lambda: start_agent(rig, supervisor))
    begun = len(rig.server.records)
    sensor, rows = feed(), csv(DAY // 2 // ROW_EVERY_S)
    rig.broker.stop()
    door = Door(rig.broker.port, supervisor.clock)
    eventually(lambda: not rig.status()["connected"], what="the agent sees that the broker is gone")

    def measure(at_s):
        if at_s % ROW_EVERY_S == 0:
            number = at_s // ROW_EVERY_S - 1
            sensor.write(f"day-{number},{rows[number]}")

    live(rig, supervisor, DAY // 2, sensor=measure)
    eventually(lambda: source_rows(rig) == 40 + len(rows), what="every reading is answered")
    sensor.kill()
    live(rig, supervisor, DAY // 2)
    door.close()

    rig.server.acknowledges = False
    rig.broker.start()

    def is_back():
        supervisor.clock.move(0.5)
        return rig.status()["connected"]

    eventually(is_back, what="the agent finds the broker again")
    eventually(lambda: len(arrived(rig, begun)) >= CREDIT, what="what the credit allows arrives")
    waiting = rig.status()["pending_records"]
    assert waiting > 2 * CREDIT
    assert len(arrived(rig, begun)) == CREDIT, "beyond the credit"
    rig.server.acknowledges = True
    rig.server._acknowledge()
    eventually(lambda: rig.status()["pending_records"] == 0, what="the server has it all")

    order = arrived(rig, begun)
    assert len(order) == waiting
    assert {seq for seq, _ in order[:CREDIT]} == set(sorted(seq for seq, _ in order)[-CREDIT:])
    for kind in (UpKind.TELEMETRY, UpKind.PREDICTIONS):
        seqs = [seq for seq, one in order if one is kind]
        assert seqs == sorted(seqs, reverse=True), f"{kind}: not the newest first"
    assert rig.server.rows() == 40 + len(rows), "a reading that no window accounts for"
    it_gave_up_only_the_oldest_answers(rig, begun, len(rows))
    it_came_back_at_random(door.came_s)
    assert {session for presence, session, _ in rig.server.statuses if presence is Presence.ONLINE} == {1}
    feed().write(f"again,{rows[0]}")
    eventually(lambda: "again" in rig.server.predictions(), what="the sensor's next reading is answered")


def arrived(rig, begun):
    """(seq, kind) of what arrived since, in the order of arrival."""
    records = list(rig.server.records.items())[begun:]
    return [(seq, kind) for (_, seq), (kind, _) in records if kind is not None]


def it_gave_up_only_the_oldest_answers(rig, begun, count):
    """As the spool was too small for them, which it counts."""
    kept = sorted(int(one.removeprefix("day-")) for one in rig.server.predictions() if one.startswith("day-"))
    assert kept == list(range(count - len(kept), count))
    dropped = rig.status()["counters"]["spool.dropped"]
    assert 0 < dropped <= count - len(kept)
    since = list(rig.server.records.values())[begun:]
    held = sum(len(data) for kind, data in since if kind is UpKind.PREDICTIONS)
    assert 0.8 * SPOOL_BYTES < held <= SPOOL_BYTES


def it_came_back_at_random(came_s):
    """Anywhere within the spread, once the first few have doubled it; a pause seems longer by up to a step or two."""
    spread_s = limits.RECONNECT_MAX.total_seconds()
    pauses = [later - earlier for earlier, later in pairwise(came_s)][10:]
    few = len(pauses) / 6
    assert DAY / spread_s < len(pauses) < 3 * DAY / spread_s
    assert sum(pause < spread_s / 2 for pause in pauses) > few, pauses
    assert sum(pause > spread_s * 2 / 3 for pause in pauses) > few, pauses
    assert sum(pause > spread_s + 3 * STEP_S for pause in pauses) < few, pauses
