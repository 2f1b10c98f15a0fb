"""Who is told the time again: devices that were told long ago, and all of them when the server's clock stepped."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.link.timekeeping import Timekeeping
from tests.stores import database_in

TODAY = datetime(2026, 11, 26, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)
STEP = limits.CLOCK_STEP
ALL = {"cam-1", "cam-2"}


class Rig:
    """A clock that may be set, beside seconds that pass."""

    def __init__(self, folder):
        self.database = database_in(folder)
        self.wall, self.passed_s = TODAY, 1000.0
        self.time = Timekeeping(self.database, now=lambda: self.wall, passed=lambda: self.passed_s)

    def later(self, span):
        self.wall += span
        self.passed_s += span.total_seconds()

    def tell_all(self):
        for device_id in ALL:
            self.time.told(device_id)

    @property
    def steps(self):
        with self.database.read() as connection:
            return [one.data["by_s"] for one in events.after(connection, 0, [EventKind.CLOCK_STEPPED])]


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.database.close()


def test_a_link_that_has_just_started_tells_everybody(rig):
    assert rig.time.due(ALL) == ALL


def test_who_was_told_is_told_again_a_day_later(rig):
    rig.time.told("cam-1")
    assert rig.time.due(ALL) == {"cam-2"}
    rig.later(limits.TIME_TOLD_AGAIN_AFTER - timedelta(seconds=1))
    assert rig.time.due(ALL) == {"cam-2"}
    rig.later(timedelta(seconds=1))
    assert rig.time.due(ALL) == ALL


@pytest.mark.parametrize("wrong", [IN_2038, datetime(1970, 1, 1, tzinfo=UTC), TODAY + STEP, TODAY - STEP])
def test_a_clock_that_was_set_is_told_to_all_at_once_there_and_back_and_to_people_as_events(rig, wrong):
    rig.tell_all()
    rig.wall = wrong
    assert rig.time.due(ALL) == ALL
    rig.tell_all()
    rig.wall = TODAY
    assert rig.time.due(ALL) == ALL
    there = round((wrong - TODAY).total_seconds())
    assert rig.steps == [there, -there]


def test_a_clock_that_is_set_a_little_or_a_machine_that_slept_is_no_step(rig):
    rig.tell_all()
    rig.wall += STEP - timedelta(seconds=1)
    assert rig.time.due(ALL) == set()
    rig.wall += STEP - timedelta(seconds=1)
    assert rig.time.due(ALL) == set()
    rig.later(timedelta(hours=23))
    assert rig.time.due(ALL) == set()
    assert rig.steps == []
