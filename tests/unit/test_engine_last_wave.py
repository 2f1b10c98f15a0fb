"""A wave in which nobody can be asked: the last one passes behind a proven one, any other waits for a person."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server.db import aliases
from fleet_server.db.aliases import Alias
from fleet_server.rollout_freeze import freeze, thaw
from tests.unit.engine_rig import QUICK, Fleet, digest_of

S, R = InstallationState, RolloutState
#: A wave in which nobody could be asked is given up after two minutes.
IMPATIENT = replace(QUICK, wave_timeout=timedelta(minutes=2))
SECOND = timedelta(seconds=1)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def canary_alone(fleet, *, waves=("1", "100%"), **policy):
    """The canary has committed, and of the others nobody is there."""
    rollout_id = fleet.roll_out(waves=waves, policy=replace(IMPATIENT, **policy))
    for device_id in ("dev-1", "dev-2"):
        fleet.go(device_id)
    fleet.commit("dev-0")
    assert fleet.rollout(rollout_id).wave == 1
    return rollout_id


def test_a_control_device_that_is_lost_takes_a_proven_model_from_nobody(tmp_path):
    fleet = Fleet(tmp_path, size=10)
    rollout_id = fleet.roll_out(policy=IMPATIENT)
    control = next(one.device_id for one in fleet.attempts(rollout_id) if one.wave == 2)
    for device_id in fleet.ids:
        if device_id != control:
            fleet.commit(device_id)
    fleet.say(control, UpdateState.FAILED, reason=Reason.GOLDEN)
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.PAUSED
    assert rollout.reason.startswith("1 of 1 device did not keep the model: ")
    assert rollout.reason.endswith("; the waves before it passed, so a person decides")
    assert set(fleet.states(rollout_id).values()) == {S.HEALTHY, S.FAILED}
    fleet.wait(timedelta(minutes=5), step=10 * SECOND)
    assert fleet.rollout(rollout_id).state is R.PAUSED
    orders.advance_rollout(fleet.database, rollout_id, fleet.me("one broken sensor"))
    assert fleet.rollout(rollout_id).state is R.FINISHED
    fleet.close()


def test_a_control_device_that_falls_back_while_it_bakes_takes_a_proven_model_from_nobody_either(tmp_path):
    fleet = Fleet(tmp_path, size=10)
    fleet.bring(1)
    fleet.now += SECOND
    rollout_id = fleet.roll_out(2, policy=replace(IMPATIENT, bake=timedelta(minutes=1)))
    control = next(one.device_id for one in fleet.attempts(rollout_id) if one.wave == 2)
    for position in range(3):
        for device_id, one in fleet.installations(rollout_id).items():
            if one.wave == position:
                fleet.commit(device_id)
        fleet.show_all()
        fleet.wait(timedelta(minutes=2) if position < 2 else 20 * SECOND, step=10 * SECOND)
    assert (fleet.rollout(rollout_id).state, fleet.waves(rollout_id)[2].committed) == (R.RUNNING, 1)
    installation = fleet.newest(control).id
    fell = DeploymentState(
        deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1), installation=installation
    )
    fleet.report(control, fell)
    fleet.run()
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.PAUSED
    assert rollout.reason.endswith("; the waves before it passed, so a person decides")
    assert set(fleet.states(rollout_id).values()) == {S.HEALTHY, S.REGRESSED}
    fleet.close()


def test_a_control_device_that_is_not_there_holds_up_no_rollout_and_is_asked_when_it_comes(tmp_path):
    fleet = Fleet(tmp_path, size=10)
    rollout_id = fleet.roll_out(policy=IMPATIENT)
    control = next(one.device_id for one in fleet.attempts(rollout_id) if one.wave == 2)
    fleet.go(control)
    for device_id in fleet.ids:
        if device_id != control:
            fleet.commit(device_id)
    assert (fleet.rollout(rollout_id).state, fleet.rollout(rollout_id).wave) == (R.RUNNING, 2)
    fleet.wait(timedelta(minutes=3))
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.FINISHED
    assert rollout.reason.startswith("none of 1 device could be asked: offline, ")
    assert rollout.reason.endswith("so who comes is asked then and judged by itself")
    last = fleet.waves(rollout_id)[-1]
    assert (last.verdict["verdict"], last.override) == ("pass", None)
    with fleet.database.read() as connection:
        assert aliases.newest(connection, "gas", Alias.CHAMPION).version == 1
    fleet.come(control)
    fleet.commit(control)
    fleet.wait(3 * SECOND, step=SECOND)
    assert fleet.states(rollout_id)[control] is S.HEALTHY
    fleet.close()


def test_the_last_wave_is_waited_for_as_long_as_any_other(fleet):
    rollout_id = canary_alone(fleet)
    fleet.wait(timedelta(minutes=1))
    assert fleet.rollout(rollout_id).state is R.RUNNING
    fleet.come("dev-1")
    assert fleet.states(rollout_id)["dev-1"] is S.OFFERED
    fleet.wait(timedelta(minutes=3))
    assert fleet.rollout(rollout_id).state is R.RUNNING, "it is judged by who was asked"


def test_a_wave_in_the_middle_without_anybody_proves_nothing_and_pauses(fleet):
    rollout_id = canary_alone(fleet, waves=("1", "2", "100%"))
    fleet.wait(timedelta(minutes=3))
    assert fleet.rollout(rollout_id).state is R.PAUSED
    assert "none of 1 device could be asked" in fleet.rollout(rollout_id).reason


def test_the_last_wave_does_not_pass_by_itself_behind_one_that_a_person_let_pass(fleet):
    rollout_id = fleet.roll_out(policy=IMPATIENT)
    for device_id in ("dev-1", "dev-2"):
        fleet.go(device_id)
    orders.advance_rollout(fleet.database, rollout_id, fleet.me("I saw it"))
    fleet.wait(timedelta(minutes=3))
    assert fleet.rollout(rollout_id).state is R.PAUSED


def test_a_freeze_lets_no_wave_pass_for_nobody(fleet):
    rollout_id = canary_alone(fleet)
    freeze(fleet.database, by="me", remark="fair", now=fleet.now)
    fleet.come("dev-1")
    fleet.wait(timedelta(minutes=3))
    assert fleet.rollout(rollout_id).state is R.RUNNING
    thaw(fleet.database, by="me", remark="", now=fleet.now)
    fleet.wait(2 * SECOND, step=SECOND)
    assert fleet.states(rollout_id)["dev-1"] is S.OFFERED


def test_a_last_wave_that_only_waits_for_its_turn_does_not_pass(fleet):
    policy = replace(IMPATIENT, max_in_flight=1, min_success=0.5, max_failure=0.5)
    rollout_id = fleet.roll_out(waves=("2", "100%"), policy=policy)
    fleet.go("dev-2")
    fleet.commit("dev-0")
    fleet.say("dev-1", UpdateState.FAILED, reason=Reason.GOLDEN)
    orders.retry_rollout(fleet.database, rollout_id, fleet.me())
    fleet.wait(policy.retry_after + timedelta(seconds=30))
    fleet.come("dev-2")
    assert [fleet.states(rollout_id)[one] for one in ("dev-1", "dev-2")] == [S.OFFERED, S.PENDING]
    fleet.wait(timedelta(minutes=4))
    assert fleet.rollout(rollout_id).state is R.RUNNING
    fleet.commit("dev-1")
    fleet.wait(2 * SECOND, step=SECOND)
    assert fleet.states(rollout_id)["dev-2"] is S.OFFERED
