"""A wave whose devices wait for the server, for their turn or for a freeze to end, is not given up meanwhile."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops.rollout.rollout import RolloutState
from fleet_server.rollout_freeze import freeze, thaw
from tests.unit.engine_rig import QUICK, Fleet

R = RolloutState
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
#: A wave in which nobody could be asked is given up after two minutes.
IMPATIENT = replace(QUICK, wave_timeout=2 * MINUTE)
ONE_BY_ONE = replace(IMPATIENT, max_in_flight=1, min_devices=2)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def test_a_wave_with_too_few_ended_goes_on_while_others_wait_for_their_turn(fleet):
    rollout_id = fleet.roll_out(waves=("100%",), policy=ONE_BY_ONE)
    fleet.wait(3 * MINUTE)
    fleet.commit("dev-0")
    assert fleet.rollout(rollout_id).state is R.RUNNING
    fleet.wait(SECOND, step=SECOND)
    fleet.commit("dev-1")
    fleet.wait(2 * SECOND, step=SECOND)
    fleet.commit("dev-2")
    assert fleet.rollout(rollout_id).state is R.FINISHED


def test_once_nobody_waits_for_a_turn_a_wave_with_too_few_ended_is_given_up(fleet):
    rollout_id = fleet.roll_out(waves=("100%",), policy=ONE_BY_ONE)
    fleet.commit("dev-0", run=False)
    for device_id in ("dev-1", "dev-2"):
        fleet.go(device_id)
    fleet.wait(3 * MINUTE)
    rollout = fleet.rollout(rollout_id)
    assert (rollout.state, rollout.reason) == (
        R.PAUSED,
        "1 of 1 device committed, of at least 2 that must have ended",
    )


def test_a_freeze_in_the_middle_of_a_wave_does_not_end_it(fleet):
    rollout_id = fleet.roll_out(waves=("100%",), policy=ONE_BY_ONE)
    freeze(fleet.database, by="me", remark="fair", now=fleet.now)
    fleet.commit("dev-0")
    for device_id in ("dev-1", "dev-2"):
        fleet.go(device_id)
    fleet.wait(10 * MINUTE)
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_after_a_freeze_a_wave_has_its_whole_time_to_be_asked(fleet):
    freeze(fleet.database, by="me", remark="fair", now=fleet.now)
    rollout_id = fleet.roll_out(policy=IMPATIENT)
    fleet.wait(timedelta(minutes=3, seconds=50))
    fleet.go("dev-0")
    thaw(fleet.database, by="me", remark="", now=fleet.now)
    fleet.wait(115 * SECOND, step=5 * SECOND)
    assert fleet.rollout(rollout_id).state is R.RUNNING
    fleet.wait(10 * SECOND, step=5 * SECOND)
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.PAUSED
    assert rollout.reason.startswith("none of 1 device could be asked")
