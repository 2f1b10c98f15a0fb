"""A device that changed since the rollout was planned, so that the model does not fit it any more, is not asked."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from tests.unit.engine_rig import FACTS, QUICK, Fleet

S, R = InstallationState, RolloutState
TINY = replace(FACTS, memory_bytes=1)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def shrink(fleet, *device_ids):
    become(fleet, *device_ids, facts=TINY)


def become(fleet, *device_ids, facts):
    for device_id in device_ids:
        fleet.report(device_id, DeploymentState(deployment="gas", state=UpdateState.IDLE), facts=facts)


def submitted(fleet, *shrunk, **changes):
    """A rollout of which devices lost their memory between the draft and its begin."""
    rollout_id = fleet.roll_out(draft=True, **changes)
    shrink(fleet, *shrunk)
    orders.submit_rollout(fleet.database, rollout_id, fleet.me())
    fleet.run()
    return rollout_id


def test_a_device_that_the_model_does_not_fit_any_more_leaves_the_wave_and_says_why(fleet):
    rollout_id = submitted(fleet, "dev-1", waves=("2", "100%"))
    assert fleet.states(rollout_id) == {"dev-0": S.OFFERED, "dev-1": S.SUPERSEDED, "dev-2": S.PENDING}
    assert "it may not run the model any more: " in fleet.installations(rollout_id)["dev-1"].detail
    assert "memory" in fleet.installations(rollout_id)["dev-1"].detail
    assert fleet.desired("dev-1") is None
    fleet.commit("dev-0")
    fleet.commit("dev-2")
    assert fleet.rollout(rollout_id).state is R.FINISHED
    assert [wave.failed for wave in fleet.waves(rollout_id)] == [0, 0]


def test_a_canary_that_the_model_does_not_fit_any_more_fails_nothing_and_passes_nothing(fleet):
    rollout_id = submitted(fleet, "dev-0")
    fleet.wait(QUICK.wave_timeout + timedelta(minutes=1))
    assert fleet.rollout(rollout_id).state is R.PAUSED
    assert "none of 1 device could be asked: " in fleet.rollout(rollout_id).reason
    assert fleet.states(rollout_id) == {"dev-0": S.SUPERSEDED, "dev-1": S.PENDING, "dev-2": S.PENDING}


def test_a_rollout_that_fits_no_device_any_more_ends_and_says_so(fleet):
    rollout_id = submitted(fleet, *fleet.ids, waves=("100%",))
    rollout = fleet.rollout(rollout_id)
    assert (rollout.state, rollout.reason) == (R.ABORTED, "the model does not fit any device that is left")


def test_a_device_that_comes_late_and_is_not_what_it_was_is_not_asked(fleet):
    fleet.go("dev-2")
    rollout_id = fleet.roll_out(waves=("100%",))
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    shrink(fleet, "dev-2")
    fleet.come("dev-2")
    assert fleet.states(rollout_id)["dev-2"] is S.SUPERSEDED
    assert fleet.rollout(rollout_id).state is R.FINISHED


def test_a_rollout_whose_last_device_comes_and_is_not_what_it_was_ends(fleet):
    for device_id in fleet.ids:
        fleet.go(device_id)
    rollout_id = fleet.roll_out(selector="id=dev-2", waves=("1",))
    shrink(fleet, "dev-2")
    fleet.come("dev-2")
    assert fleet.rollout(rollout_id).state is R.ABORTED


def test_who_is_asked_again_is_looked_at_again(fleet):
    policy = replace(QUICK, retries=1, retry_after=timedelta(minutes=1), max_failure=0.5, min_success=0.5)
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.wait(policy.progress_timeout + timedelta(seconds=30))
    shrink(fleet, "dev-0")
    fleet.wait(timedelta(minutes=2))
    assert fleet.states(rollout_id)["dev-0"] is S.SUPERSEDED
    (wave,) = fleet.waves(rollout_id)
    assert (wave.offered, wave.failed) == (2, 0)


@pytest.mark.parametrize("shrinks", ["before-it-is-asked", "before-it-is-asked-again"])
def test_a_device_that_left_a_continuous_rollout_is_asked_once_the_model_fits_it_again(fleet, shrinks):
    fleet.go("dev-2")
    rollout_id = fleet.roll_out(waves=("100%",), continuous=True)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is R.LIVE
    if shrinks == "before-it-is-asked-again":
        fleet.come("dev-2")
        fleet.say("dev-2", UpdateState.FAILED, reason=Reason.DISK)
        fleet.now += timedelta(seconds=1)
        orders.retry_rollout(fleet.database, rollout_id, fleet.me())
    shrink(fleet, "dev-2")
    fleet.come("dev-2")
    fleet.wait(QUICK.retry_after + timedelta(seconds=10), step=timedelta(seconds=5))
    assert fleet.states(rollout_id)["dev-2"] is S.SUPERSEDED
    become(fleet, "dev-2", facts=FACTS)
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    assert fleet.states(rollout_id)["dev-2"] is S.OFFERED
    fleet.commit("dev-2")
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    assert fleet.states(rollout_id)["dev-2"] is S.HEALTHY


def left_a_live_one(fleet):
    """A continuous rollout that dev-2 left unasked, as the model does not fit it."""
    fleet.go("dev-2")
    rollout_id = fleet.roll_out(waves=("100%",), continuous=True)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    shrink(fleet, "dev-2")
    fleet.come("dev-2")
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    return rollout_id


@pytest.mark.parametrize("ends", [False, True])
def test_a_draft_keeps_no_device_from_a_continuous_rollout_that_the_model_fits_again(fleet, ends):
    rollout_id = left_a_live_one(fleet)
    become(fleet, "dev-2", facts=FACTS)
    shrink(fleet, "dev-2")
    fleet.now += timedelta(seconds=1)
    draft = fleet.roll_out(2, waves=("100%",), selector="all", draft=True)
    if ends:
        fleet.abort(draft)
    become(fleet, "dev-2", facts=FACTS)
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    assert fleet.states(rollout_id)["dev-2"] is S.OFFERED


def test_a_device_that_left_a_rollout_and_then_a_newer_one_had_it_stays_with_the_newer_one(fleet):
    rollout_id = left_a_live_one(fleet)
    become(fleet, "dev-2", facts=FACTS)
    fleet.publish(2)
    fleet.now += timedelta(seconds=1)
    newer = fleet.roll_out(2, waves=("100%",), selector="id=dev-2")
    become(fleet, "dev-2", facts=FACTS)
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    assert fleet.states(newer)["dev-2"] is S.OFFERED
    assert fleet.states(rollout_id)["dev-2"] is S.SUPERSEDED
