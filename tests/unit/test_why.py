"""Why a device does not turn to another model, told from the database."""

from datetime import timedelta

import pytest

from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.hindrance import Cause
from edgeops.rollout.pins import Pin
from edgeops.rollout.policy import Policy
from fleet_server import targets
from fleet_server.db import devices
from fleet_server.why import why
from tests.unit.engine_rig import Fleet, digest_of


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def told(fleet, device_id):
    with fleet.database.read() as connection:
        (found,) = why(connection, devices.get(connection, device_id), fleet.now)
    return [(one.cause, one.words) for one in found.hindrances]


def causes(fleet, device_id):
    return [cause for cause, _ in told(fleet, device_id)]


def test_a_device_that_no_rollout_concerns_is_told_so(fleet):
    assert causes(fleet, "dev-0") == [Cause.UNWANTED]


def test_a_device_of_a_later_wave_is_told_the_gate(fleet):
    fleet.roll_out()
    ((cause, words),) = told(fleet, "dev-1")
    assert cause is Cause.HEALTH_GATE
    assert "it is in wave 2 of 2 of rollout " in words
    assert words.endswith("wave 1 has not passed its health gate: 0 of 1 devices committed")


def test_a_device_that_was_asked_is_told_what_it_said_last(fleet):
    fleet.roll_out()
    fleet.report(
        "dev-0", DeploymentState(deployment="gas", state=UpdateState.STAGED, reason=Reason.WINDOW, detail="at 22:00")
    )
    assert told(fleet, "dev-0") == [(Cause.WINDOW, "the device waits for its maintenance window: at 22:00")]
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.FETCHING))
    assert causes(fleet, "dev-0") == [Cause.DEVICE]


def test_a_device_that_is_offline_is_told_since_when(fleet):
    fleet.roll_out(waves=("100%",))
    fleet.go("dev-0")
    assert causes(fleet, "dev-0") == [Cause.SILENCE, Cause.DEVICE]
    fleet.go("dev-1")
    fleet.wait(timedelta(seconds=1))
    fleet.roll_out(2, selector="id=dev-1")
    assert causes(fleet, "dev-1") == [Cause.SILENCE]


def test_a_device_that_is_pinned_while_it_waits_is_told_by_whom(fleet):
    fleet.roll_out()
    pin = Pin(
        device_id="dev-1", deployment=None, digest=None, reason="audit", pinned_by="ada", pinned_at=fleet.now,
        until=fleet.now + timedelta(hours=1),
    )  # fmt: skip
    targets.set_pin(fleet.database, pin)
    assert told(fleet, "dev-1")[0] == (Cause.PIN, str(pin))


def test_a_device_of_a_rollout_that_was_aborted_is_told_that_it_runs_what_it_should(fleet):
    rollout_id = fleet.roll_out(selector="id=dev-0")
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    second = fleet.roll_out(2, selector="id=dev-0")
    fleet.abort(second)
    assert rollout_id != second
    assert causes(fleet, "dev-0") == [Cause.NONE]


def test_a_device_that_did_not_keep_a_model_is_told_why(fleet):
    fleet.roll_out(selector="id=dev-0")
    fleet.say("dev-0", UpdateState.ROLLED_BACK, reason=Reason.INFERENCE, detail="3 errors")
    assert told(fleet, "dev-0")[0][0] is Cause.ENDED_BADLY
    assert told(fleet, "dev-0")[0][1].endswith("rolled-back: 3 errors")


def test_bounds_of_the_policy_are_told(fleet):
    fleet.roll_out(waves=("100%",), policy=Policy(max_in_flight=1, rate_per_minute=1))
    held = set(causes(fleet, "dev-2"))
    assert held <= {Cause.MAX_IN_FLIGHT, Cause.RATE, Cause.DEVICE}


def test_a_removed_device_is_told_so(fleet):
    fleet.roll_out()
    fleet.remove("dev-1")
    assert causes(fleet, "dev-1") == [Cause.REMOVED]
