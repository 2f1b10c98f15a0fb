"""A device that came late and is judged by itself, when its rollout has ended or a newer one has the device."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.pins import Pin
from edgeops.rollout.rollout import RolloutState
from fleet_server import targets
from fleet_server.rollout_orders import abort_rollout
from tests.unit.engine_rig import QUICK, Fleet, digest_of

S, R = InstallationState, RolloutState
#: What a late device has not shown after a minute is missing.
IMPATIENT = replace(QUICK, evidence_timeout=timedelta(minutes=1))


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def with_a_late_device(fleet, *, continuous):
    """A rollout that has passed its waves; `dev-2` comes late, commits and has not shown itself."""
    fleet.go("dev-2")
    rollout_id = fleet.roll_out(waves=("100%",), policy=IMPATIENT, continuous=continuous)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is (R.LIVE if continuous else R.FINISHED)
    fleet.come("dev-2")
    fleet.commit("dev-2", shown=False)
    assert fleet.states(rollout_id)["dev-2"] is S.COMMITTED
    fleet.now += timedelta(seconds=1)
    return rollout_id


def test_a_rollout_that_was_superseded_takes_nothing_from_a_late_device_that_the_newer_one_has_not_asked(fleet):
    older = with_a_late_device(fleet, continuous=True)
    newer = fleet.roll_out(2)
    assert (fleet.rollout(older).state, fleet.states(newer)["dev-2"]) == (R.ABORTED, S.PENDING)
    fleet.wait(timedelta(minutes=3))
    assert fleet.states(older)["dev-2"] is S.COMMITTED
    assert fleet.installations(older)["dev-2"].deadline_at is None, "it is judged no more"
    assert fleet.desired_digest("dev-2") == digest_of(1)


@pytest.mark.parametrize("continuous", [True, False])
def test_a_late_device_that_a_newer_rollout_asked_goes_back_to_the_model_it_had_when_that_one_fails(fleet, continuous):
    older = with_a_late_device(fleet, continuous=continuous)
    newer = fleet.roll_out(2, waves=("100%",))
    fleet.wait(timedelta(minutes=3))
    assert fleet.states(older)["dev-2"] is S.COMMITTED
    assert fleet.rollout(older).state is (R.ABORTED if continuous else R.FINISHED)
    fleet.say("dev-2", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.states(newer)["dev-2"] is S.FAILED
    assert fleet.desired_digest("dev-2") == digest_of(1)


def test_an_abort_that_rolls_nothing_back_leaves_a_late_device_its_model(fleet):
    rollout_id = with_a_late_device(fleet, continuous=True)
    fleet.abort(rollout_id)
    fleet.wait(timedelta(minutes=3))
    assert (fleet.rollout(rollout_id).state, fleet.states(rollout_id)["dev-2"]) == (R.ABORTED, S.COMMITTED)
    assert fleet.desired_digest("dev-2") == digest_of(1)


def test_a_late_device_whose_pin_ends_after_its_rollout_was_taken_back_keeps_the_model(fleet):
    rollout_id = with_a_late_device(fleet, continuous=False)
    kept = {"deployment": None, "digest": None, "reason": "test", "until": None}
    targets.set_pin(fleet.database, Pin(device_id="dev-2", pinned_by="me", pinned_at=fleet.now, **kept))
    abort_rollout(fleet.database, rollout_id, fleet.me(), roll_back=True)
    for device_id in ("dev-0", "dev-1"):
        fleet.report(device_id, DeploymentState(deployment="gas", state=UpdateState.IDLE))
    fleet.wait(timedelta(minutes=3))
    assert fleet.rollout(rollout_id).state is R.ROLLED_BACK
    targets.remove_pin(fleet.database, "dev-2", None, removed_by="me", now=fleet.now)
    fleet.wait(timedelta(minutes=3))
    assert fleet.states(rollout_id)["dev-2"] is S.COMMITTED
    assert fleet.desired_digest("dev-2") == digest_of(1)


def test_a_late_device_that_a_newer_rollout_took_and_gave_back_in_time_is_still_judged(fleet):
    older = with_a_late_device(fleet, continuous=False)
    fleet.roll_out(2, waves=("100%",))
    fleet.say("dev-2", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.desired_digest("dev-2") == digest_of(1)
    fleet.wait(timedelta(minutes=3))
    assert fleet.states(older)["dev-2"] is S.ROLLED_BACK, "it showed nothing, and something was counted"
