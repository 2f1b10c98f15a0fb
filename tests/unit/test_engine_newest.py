"""Which of several rollouts is the newest one, and what a device ran before: who begins last wins, not who is written first."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops import limits
from edgeops.errors import ConflictError
from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.hindrance import Cause
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server.db import audit, devices
from fleet_server.why import why
from tests.unit.engine_rig import QUICK, Fleet, digest_of

S, R = InstallationState, RolloutState
SECOND = timedelta(seconds=1)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    fleet.publish(3)
    yield fleet
    fleet.close()


def runs(fleet, device_id, version, **changes):
    """The device tells what it runs."""
    told = {"active": None if version is None else digest_of(version), "state": UpdateState.COMMITTED} | changes
    fleet.report(device_id, DeploymentState(deployment="gas", **told))


def bring(fleet, version, *device_ids, **changes):
    """Bring a version to devices, which take it; the rollout."""
    rollout_id = fleet.bring(version, *device_ids, **changes)
    for device_id in device_ids or fleet.ids:
        runs(fleet, device_id, version, installation=fleet.newest(device_id).id)
    return rollout_id


def undo(fleet, rollout_id, **changes):
    fleet.now += SECOND
    begun = orders.undo_rollout(fleet.database, rollout_id, fleet.me(), **changes)
    fleet.run()
    return begun


def held_by(fleet, device_id):
    """By `edgeops why`: the rollout, and the first cause."""
    with fleet.database.read() as connection:
        (found,) = why(connection, devices.get(connection, device_id), fleet.now)
    return found.situation.part.rollout_id, found.hindrances[0].cause


# -- what a device ran before


@pytest.fixture
def healed(fleet):
    """A device that fell back from what it committed, and healed by itself."""
    bring(fleet, 1)
    bring(fleet, 2)
    runs(fleet, "dev-0", 1, instead_of=digest_of(2))
    assert fleet.newest("dev-0").state is S.REGRESSED
    runs(fleet, "dev-0", 2, installation=fleet.newest("dev-0").id)
    fleet.now += SECOND
    return fleet


@pytest.mark.parametrize("ends", ["fails", "is aborted", "is rolled back"])
def test_a_device_that_had_healed_goes_back_to_what_it_ran(healed, ends):
    third = healed.roll_out(3, waves=("100%",))
    assert healed.desired_digest("dev-0") == digest_of(3)
    if ends == "fails":
        healed.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    elif ends == "is rolled back":
        healed.commit("dev-0")
        orders.abort_rollout(healed.database, third, healed.me(), roll_back=True)
    else:
        orders.abort_rollout(healed.database, third, healed.me())
    healed.run()
    assert healed.desired_digest("dev-0") == digest_of(2)


def test_a_device_that_had_healed_from_no_model_is_not_left_without_one(fleet):
    bring(fleet, 2)
    runs(fleet, "dev-0", None, instead_of=digest_of(2))
    runs(fleet, "dev-0", 2, installation=fleet.newest("dev-0").id)
    fleet.now += SECOND
    third = fleet.roll_out(3, waves=("100%",))
    fleet.commit("dev-0")
    orders.abort_rollout(fleet.database, third, fleet.me(), roll_back=True)
    fleet.run()
    assert fleet.desired_digest("dev-0") == digest_of(2)


def taken_back_without_dev_0(fleet):
    """Version 2 is taken back; the others tell that they run version 1 again, and `dev-0` is offline."""
    rollout_id = fleet.newest("dev-0").rollout_id
    fleet.go("dev-0")
    orders.abort_rollout(fleet.database, rollout_id, fleet.me("wrong"), roll_back=True)
    for device_id in ("dev-1", "dev-2"):
        runs(fleet, device_id, 1)
    fleet.wait(2 * SECOND, step=SECOND)
    return rollout_id


def test_a_device_that_had_healed_is_not_taken_for_one_that_runs_something_else(healed):
    rollout_id = taken_back_without_dev_0(healed)
    assert healed.rollout(rollout_id).state is R.ROLLING_BACK
    healed.wait(limits.ROLL_BACK_TIMEOUT + timedelta(minutes=3))
    rollout = healed.rollout(rollout_id)
    assert rollout.state is R.ROLLED_BACK
    assert rollout.reason == "taken back by me: wrong; 1 device was not heard to have gone back yet"
    healed.come("dev-0")
    assert healed.desired_digest("dev-0") == digest_of(1)


def test_a_device_that_fell_back_and_told_nothing_else_since_is_waited_for_by_no_rollout(healed):
    runs(healed, "dev-0", 1, instead_of=digest_of(2))
    assert healed.rollout(taken_back_without_dev_0(healed)).state is R.ROLLED_BACK


# -- who has what an older rollout brought


def test_undo_leaves_who_got_another_model_since_alone_and_names_it(fleet):
    bring(fleet, 1)
    second = bring(fleet, 2)
    bring(fleet, 3, "dev-0")
    begun = undo(fleet, second)
    assert set(fleet.states(begun)) == {"dev-1", "dev-2"}
    assert fleet.desired_digest("dev-0") == digest_of(3)
    with fleet.database.read() as connection:
        [entry] = [one for one in audit.page(connection, limit=50) if one.action == "rollout.undone"]
    assert entry.data["moved_on"] == ["dev-0"]


def test_undo_of_what_everybody_replaced_is_refused_and_says_so(fleet):
    bring(fleet, 1)
    second = bring(fleet, 2)
    bring(fleet, 3)
    with pytest.raises(ConflictError, match=r"nothing is left to undo; have another one since: dev-0, dev-1, dev-2$"):
        undo(fleet, second)


def test_undo_reaches_a_device_that_is_asked_for_a_newer_model_and_has_not_got_it(fleet):
    bring(fleet, 1)
    second = bring(fleet, 2)
    fleet.now += SECOND
    fleet.roll_out(3, waves=("100%",))
    undo(fleet, second)
    assert {fleet.desired_digest(one) for one in fleet.ids} == {digest_of(1)}


def test_a_model_that_an_undo_brought_back_can_be_undone(fleet):
    bring(fleet, 3)
    first = bring(fleet, 1)
    undo(fleet, bring(fleet, 2))
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(undo(fleet, first)).version == 3


def test_undo_of_an_undo_does_not_go_back_to_what_was_undone(fleet):
    bring(fleet, 1)
    bring(fleet, 2)
    first = undo(fleet, bring(fleet, 3))
    assert fleet.rollout(first).version == 2
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(undo(fleet, first)).version == 1


@pytest.mark.parametrize("ended", [False, True])
def test_a_retry_leaves_who_got_a_newer_model_since_alone(fleet, ended):
    lenient = replace(QUICK, max_failure=0.5, min_success=0.5)
    strict = replace(QUICK, roll_back_on_failure=False)
    second = fleet.roll_out(2, waves=("100%",), policy=strict if ended else lenient)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    fleet.say("dev-2", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.rollout(second).state is (R.FAILED if ended else R.FINISHED)
    bring(fleet, 3)
    fleet.now += SECOND
    with pytest.raises(ConflictError, match=r"no device of rollout \S+ ended badly that has nothing newer"):
        orders.retry_rollout(fleet.database, second, fleet.me())
    assert fleet.desired_digest("dev-2") == digest_of(3)


# -- one that was written first and began last


def test_what_began_last_is_what_a_device_belongs_to_and_what_was_before_it_is_gone_back_to(fleet):
    bring(fleet, 1)
    draft = fleet.roll_out(3, waves=("1", "100%"), draft=True)
    bring(fleet, 2)
    fleet.now += SECOND
    orders.submit_rollout(fleet.database, draft, fleet.me())
    fleet.run()
    assert held_by(fleet, "dev-0") == (draft, Cause.DEVICE)
    assert held_by(fleet, "dev-1") == (draft, Cause.HEALTH_GATE)
    for device_id in fleet.ids:
        fleet.commit(device_id, installation=fleet.installations(draft)[device_id])
    assert fleet.rollout(draft).state is R.FINISHED
    assert fleet.rollout(undo(fleet, draft)).version == 2


def test_a_device_that_joins_belongs_to_the_continuous_rollout_that_began_last(fleet):
    draft = fleet.roll_out(3, waves=("100%",), draft=True, continuous=True)
    bring(fleet, 2, continuous=True)
    fleet.now += SECOND
    orders.submit_rollout(fleet.database, draft, fleet.me())
    fleet.run()
    for device_id in fleet.ids:
        fleet.commit(device_id, installation=fleet.installations(draft)[device_id])
    assert fleet.rollout(draft).state is R.LIVE
    fleet.now += SECOND
    fleet.enrol("dev-9")
    runs(fleet, "dev-9", None, state=UpdateState.IDLE)
    assert fleet.newest("dev-9").rollout_id == draft
