"""A wave does not pass on telemetry that ended while it baked: each device shows how it is when the bake is over."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from edgeops.protocol.messages import Presence
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server import service_clock
from fleet_server.db import devices, events, rollouts
from fleet_server.db.events import EventKind
from fleet_server.rollout_health import health_of, health_of_one
from tests.unit.evidence_rig import NEW, OLD, POLICY, EvidenceRig, newest, pairs

BAKE = timedelta(minutes=2)
QUIET = "1 device sent nothing in the last part of the bake and since"


@pytest.fixture
def rig(tmp_path):
    rig = EvidenceRig(tmp_path)
    for device_id in rig.ids:
        rig.window(device_id, OLD, rows=70)
    rig.gather()
    rig.wait(10)
    yield rig
    rig.close()


def go(rig, seconds, *sending):
    """So long, in which these devices send all the time and the engine looks."""
    for _ in range(seconds // 10):
        rig.wait(10)
        for device_id in sending * 3:
            rig.window(device_id, NEW, rows=100, paired=pairs(60))
        with rig.database.write() as connection:
            service_clock.beat(connection, rig.now)
        rig.gather()
        rig.run()


def begin(rig, *, waves=("1", "100%"), bake=BAKE):
    rollout_id = rig.roll_out(waves=waves, policy=msgspec.structs.replace(POLICY, bake=bake))
    go(rig, 10)
    for device_id in rig.ids[: 1 if waves[0] == "1" else 3]:
        with rig.database.read() as connection:
            is_there = devices.get(connection, device_id).presence is Presence.ONLINE
        if is_there:
            rig.commit(device_id)
    rig.run()
    return rollout_id


def health_words(rig, rollout_id):
    with rig.database.read() as connection:
        rollout = rollouts.get(connection, rollout_id)
        return health_of(connection, rollout, rollouts.get_wave(connection, rollout_id, 0), rig.now).words


def test_a_wave_whose_telemetry_ends_early_waits_for_more_and_then_for_a_person(rig):
    rollout_id = begin(rig)
    go(rig, 60, "edge-00")
    go(rig, 80)
    assert rig.rollout(rollout_id).wave == 0
    words = health_words(rig, rollout_id)
    assert words.startswith("not enough was heard: ")
    assert QUIET in words
    go(rig, 600)
    assert rig.rollout(rollout_id).state is RolloutState.PAUSED
    assert QUIET in rig.rollout(rollout_id).reason


def test_it_passes_as_soon_as_the_device_is_heard_again(rig):
    rollout_id = begin(rig)
    go(rig, 60, "edge-00")
    go(rig, 200)
    assert rig.rollout(rollout_id).wave == 0
    go(rig, 10, "edge-00")
    assert rig.rollout(rollout_id).wave == 1


def test_one_that_sends_to_the_end_passes_though_it_is_quiet_afterwards(rig):
    rollout_id = begin(rig)
    go(rig, 100, "edge-00")
    go(rig, 30)
    assert rig.rollout(rollout_id).wave == 1


def test_each_device_owes_it_unless_it_is_offline_or_was_asked_for_something_newer(rig):
    rollout_id = begin(rig, waves=("100%",))
    go(rig, 60, *rig.ids)
    go(rig, 80, *rig.ids[:2])
    assert QUIET in health_words(rig, rollout_id)
    with rig.database.write() as connection:
        devices.set_presence(connection, "edge-02", presence=Presence.OFFLINE, session_counter=1, now=rig.now)
    assert QUIET not in health_words(rig, rollout_id)


def test_where_nothing_bakes_nothing_of_a_bake_is_owed(rig):
    rollout_id = begin(rig, bake=timedelta(0))
    go(rig, 20, "edge-00")
    go(rig, 60)
    assert QUIET not in health_words(rig, rollout_id)
    go(rig, 60, "edge-00")
    assert rig.rollout(rollout_id).wave == 1


def test_a_device_that_came_late_owes_it_too(rig):
    rollout_id = begin(rig)
    go(rig, 60, "edge-00")
    go(rig, 40)
    assert QUIET not in words_of_one(rig, rollout_id, baked_for=BAKE - timedelta(seconds=1))
    assert QUIET in words_of_one(rig, rollout_id, baked_for=BAKE)
    assert QUIET not in words_of_one(rig, rollout_id, baked_for=BAKE + timedelta(seconds=20))


@pytest.mark.parametrize("quarantined", [False, True])
def test_one_that_came_late_and_cannot_show_itself_is_judged_once_it_is_back(rig, quarantined):
    late = rig.ids[-1]
    absent(rig, late, away=True)
    rollout_id = begin_with_late(rig, late)
    go(rig, 30, late)
    absent(rig, late, away=not quarantined, quarantined=quarantined)
    go(rig, 1_500)
    assert state_of(rig, late) is InstallationState.COMMITTED, "neither proven nor lost"
    absent(rig, late, away=False)
    go(rig, 30)
    assert state_of(rig, late) is InstallationState.COMMITTED, "it has its time"
    go(rig, 20, late)
    assert state_of(rig, late) is InstallationState.HEALTHY
    assert rig.rollout(rollout_id).state is RolloutState.FINISHED


def begin_with_late(rig, late):
    """A rollout that has finished but for one device, which was not there and has just committed."""
    rollout_id = begin(rig, waves=("100%",))
    go(rig, 200, *rig.ids[:2])
    assert rig.rollout(rollout_id).state is RolloutState.FINISHED
    absent(rig, late, away=False)
    go(rig, 10)
    with rig.database.write() as connection:
        installation = newest(connection, late)
        told = {
            "installation": installation.id,
            "deployment": installation.deployment,
            "digest": installation.digest,
            "state": "committed",
            "evidence": {
                "inferences": 20,
                "errors": 0,
                "latency_p50_us": 5,
                "latency_p95_us": 9,
                "memory_bytes": 0,
            },
        }
        events.append(connection, EventKind.REPORT_RECEIVED, late, told, rig.now)
    rig.run()
    return rollout_id


def absent(rig, device_id, *, away, quarantined=False):
    with rig.database.write() as connection:
        presence = Presence.OFFLINE if away else Presence.ONLINE
        counter = devices.get(connection, device_id).session_counter
        devices.set_presence(connection, device_id, presence=presence, session_counter=counter, now=rig.now)
        if quarantined:
            devices.quarantine(connection, device_id, reason="two", now=rig.now)
        else:
            devices.release(connection, device_id, now=rig.now)


def state_of(rig, device_id):
    with rig.database.read() as connection:
        return newest(connection, device_id).state


def words_of_one(rig, rollout_id, *, baked_for):
    with rig.database.read() as connection:
        clock = service_clock.service_time(connection, rig.now)
        own = replace(newest(connection, "edge-00"), asked_at=clock - baked_for)
        return health_of_one(connection, rollouts.get(connection, rollout_id), own, rig.now).words
