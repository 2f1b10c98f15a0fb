"""Who died without a last will is offline some day, and nobody because the link was deaf."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Presence
from fleet_server.db import devices
from fleet_server.link.silence import SilenceWatch
from tests.stores import database_in

START = datetime(2026, 11, 1, tzinfo=UTC)
SILENCE = limits.SILENCE_TIMEOUT


@dataclass
class Connection:
    is_connected: bool = True


class Rig:
    def __init__(self, folder):
        self.database = database_in(folder)
        self.broker = Connection()
        self._watch = SilenceWatch(self.database, broker=self.broker, stopping=threading.Event())
        for device_id in ("cam-1", "cam-2"):
            with self.database.write() as connection:
                devices.enrol(
                    connection, device_id, name="cam", hardware="b", public_key=SigningKey.generate().public, now=START
                )
            self.hear(device_id, START)

    def hear(self, device_id, at):
        with self.database.write() as connection:
            devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=1, now=at)
            devices.mark_seen(connection, [device_id], now=at)

    def look(self, after, *, clock=timedelta(0)):
        """`after` the start, with a clock that is off by so much."""
        self._watch.look(now=START + after + clock, now_s=after.total_seconds())

    @property
    def online(self):
        with self.database.read() as connection:
            return [one.id for one in devices.page(connection, limit=9) if one.presence is Presence.ONLINE]


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.database.close()


def test_only_the_silent_device_goes_offline(rig):
    rig.look(timedelta(0))
    rig.hear("cam-2", START + SILENCE / 2)
    rig.look(SILENCE + timedelta(seconds=1))
    assert rig.online == ["cam-2"]


def test_a_device_that_could_not_be_heard_is_not_silent(rig):
    rig.look(timedelta(0))
    rig.broker.is_connected = False
    rig.look(SILENCE)
    rig.broker.is_connected = True
    rig.look(2 * SILENCE)
    assert rig.online == ["cam-1", "cam-2"]
    rig.look(3 * SILENCE)
    assert rig.online == []


def test_a_clock_that_is_set_forward_makes_nobody_silent(rig):
    step = 10 * SILENCE
    rig.look(timedelta(0))
    rig.look(2 * SILENCE / 3)
    rig.hear("cam-1", START + SILENCE)
    rig.hear("cam-2", START + SILENCE)
    rig.look(SILENCE + timedelta(seconds=1), clock=step)
    assert rig.online == ["cam-1", "cam-2"]
    rig.hear("cam-1", START + 2 * SILENCE + step)
    rig.look(2 * SILENCE + timedelta(seconds=2), clock=step)
    assert rig.online == ["cam-1"]


def test_a_clock_that_is_set_back_keeps_nobody_who_is_silent_online(rig):
    step = timedelta(days=-4_000)
    rig.look(timedelta(0))
    rig.look(timedelta(seconds=1), clock=step)
    rig.hear("cam-1", START + SILENCE + step)
    rig.look(SILENCE, clock=step)
    assert rig.online == ["cam-1", "cam-2"]
    rig.look(SILENCE + timedelta(seconds=2), clock=step)
    assert rig.online == ["cam-1"]
