"""Harm that is proven ends a wave at once, whoever of it is still to be asked, at it, or waiting for its window."""

from datetime import timedelta

import pytest

from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.health.device import Period
from edgeops.rollout.health.wave import Shown
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server.db.events import EventKind
from fleet_server.rollout_steps import gate_words
from tests.unit.engine_rig import Fleet

S, R = InstallationState, RolloutState
SECOND = timedelta(seconds=1)
#: Half of the inputs ended in an error, and none did before.
BAD = Shown(devices=1, heard=1, before=Period(rows=10_000, windows=40), since=Period(rows=5_000, errors=5_000))


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    fleet.bring(1)
    fleet.now += SECOND
    yield fleet
    fleet.close()


def one_by_one(fleet):
    """The first of three devices has the model, and the second one is asked."""
    rollout_id = fleet.roll_out(2, waves=("100%",), policy=Policy(max_in_flight=1))
    fleet.commit("dev-0", run=False)
    return rollout_id


def has_ended(fleet, rollout_id):
    rollout = fleet.rollout(rollout_id)
    return rollout.state is R.ROLLING_BACK and rollout.reason.startswith("not healthy: 50 % of 10,000 inputs")


def test_harm_on_the_first_device_of_a_wave_ends_it_before_another_one_is_asked(fleet):
    rollout_id = one_by_one(fleet)
    fleet.show_all(BAD)
    fleet.wait(SECOND, step=SECOND)
    assert has_ended(fleet, rollout_id)
    asked = [one for one in fleet.events(EventKind.INSTALLATION_CHANGED) if one.data["rollout"] == rollout_id]
    assert {one.data["device"] for one in asked if one.data["state"] == S.OFFERED} == {"dev-0"}


def test_a_device_that_is_held_by_its_owner_hides_no_harm_of_the_others(fleet):
    rollout_id = fleet.roll_out(2, waves=("100%",), policy=Policy())
    fleet.commit("dev-0")
    held = DeploymentState(
        deployment="gas",
        state=UpdateState.FETCHING,
        installation=fleet.newest("dev-2").id,
        reason=Reason.HELD,
    )
    fleet.report("dev-2", held)
    fleet.wait(SECOND, step=SECOND)
    assert fleet.rollout(rollout_id).state is R.RUNNING
    fleet.show_all(BAD)
    fleet.wait(SECOND, step=SECOND)
    assert has_ended(fleet, rollout_id)
    assert fleet.waves(rollout_id)[0].verdict["evidence"]["findings"]


def test_harm_ends_a_rollout_that_was_paused_in_the_middle_of_a_wave(fleet):
    rollout_id = one_by_one(fleet)
    orders.pause_rollout(fleet.database, rollout_id, fleet.me("odd"))
    fleet.run()
    fleet.show_all(BAD)
    fleet.wait(SECOND, step=SECOND)
    assert has_ended(fleet, rollout_id)


def test_what_the_status_says_of_a_wave_tells_harm_before_its_bake(fleet):
    rollout_id = one_by_one(fleet)
    fleet.run()
    fleet.show_all(BAD)
    with fleet.database.read() as connection:
        assert gate_words(connection, fleet.rollout(rollout_id), fleet.now).startswith("not healthy: 50 %")
