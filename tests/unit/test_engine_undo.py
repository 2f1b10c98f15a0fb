"""Undo and retry: rollouts that begin because of another one, for its devices and nobody else."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from edgeops.errors import ConflictError
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server import targets
from fleet_server.db import aliases, audit, devices, tables
from fleet_server.db.aliases import Alias
from fleet_server.db.evidence import WaveShows
from fleet_server.four_eyes import demand_four_eyes
from tests.unit.engine_rig import Fleet, digest_of
from tests.unit.health_values import device, period, shown

S, R = InstallationState, RolloutState
SECOND = timedelta(seconds=1)
#: Devices are judged long after they committed.
BAKES = Policy(bake=timedelta(minutes=5), retries=0)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    fleet.publish(3)
    yield fleet
    fleet.close()


def by(fleet, name="boss"):
    return orders.By(name=name, now=fleet.now)


def bring(fleet, version, *device_ids, **changes):
    """Bring a version to devices, which take it; the rollout."""
    rollout_id = fleet.bring(version, *device_ids, **changes)
    assert fleet.rollout(rollout_id).state in {R.FINISHED, R.LIVE}
    return rollout_id


def undo(fleet, rollout_id, **changes):
    fleet.now += SECOND
    begun = orders.undo_rollout(fleet.database, rollout_id, by(fleet), **changes)
    fleet.run()
    return begun


def retry(fleet, rollout_id):
    fleet.now += SECOND
    begun = orders.retry_rollout(fleet.database, rollout_id, by(fleet))
    fleet.run()
    return begun


# -- what undo goes back to


def test_undo_goes_back_to_what_its_devices_ran_and_not_to_what_others_got_since(fleet):
    bring(fleet, 1, "dev-0")
    bring(fleet, 2, "dev-1")
    begun = undo(fleet, bring(fleet, 3, "dev-0"))
    assert fleet.rollout(begun).version == 1
    assert fleet.desired_digest("dev-0") == digest_of(1)


def test_undo_of_devices_that_ran_different_models_asks_to_what(fleet):
    first = bring(fleet, 1, "dev-0", "dev-2")
    second = bring(fleet, 2, "dev-1")
    last = bring(fleet, 3)
    with pytest.raises(ConflictError, match=rf"2 of 3 devices .* never ran gas@2 of rollout {second}.*--to ROLLOUT"):
        undo(fleet, last)
    assert fleet.rollout(last).state is R.FINISHED
    begun = undo(fleet, last, to=first)
    assert {fleet.desired_digest(one) for one in fleet.ids} == {digest_of(1)}
    assert fleet.rollout(begun).undoes == last


def test_undo_does_not_go_back_to_what_was_undone(fleet):
    bring(fleet, 1)
    second = bring(fleet, 2)
    unproven = undo(fleet, second)
    begun = undo(fleet, bring(fleet, 3))
    assert fleet.rollout(unproven).state is R.ABORTED
    assert fleet.rollout(begun).version == 1


def test_undo_leaves_who_never_had_the_model_alone(fleet):
    bring(fleet, 1)
    fleet.now += SECOND
    stopped = fleet.roll_out(2)
    fleet.commit("dev-0")
    orders.pause_rollout(fleet.database, stopped, by(fleet))
    fleet.enrol("dev-9")
    begun = undo(fleet, stopped)
    assert set(fleet.states(begun)) == {"dev-0"}
    assert fleet.desired_digest("dev-0") == digest_of(1)


@pytest.mark.parametrize("continuous", [False, True])
def test_what_was_undone_asks_nobody_any_more(fleet, continuous):
    bring(fleet, 1)
    fleet.go("dev-2")
    fleet.now += SECOND
    bad = fleet.roll_out(2, waves=("100%",), continuous=continuous)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    undo(fleet, bad)
    fleet.enrol("dev-9")
    fleet.come("dev-2")
    fleet.wait(3 * SECOND, step=SECOND)
    assert fleet.desired_digest("dev-2") == digest_of(1)
    assert fleet.desired("dev-9") is None
    assert fleet.rollout(bad).state is (R.ABORTED if continuous else R.FINISHED)


def test_undo_of_a_rollout_that_nobody_has_the_model_of_is_refused(fleet):
    bring(fleet, 1)
    fleet.now += SECOND
    begun = fleet.roll_out(2)
    with pytest.raises(ConflictError, match=r"no device has what rollout .* brought"):
        undo(fleet, begun)
    assert fleet.rollout(begun).state is R.RUNNING


# -- whom it concerns


def test_undo_reaches_a_device_that_was_online_then_and_is_not_now(fleet):
    bring(fleet, 1)
    bad = bring(fleet, 2, selector="online")
    fleet.go("dev-1")
    begun = undo(fleet, bad)
    assert set(fleet.states(begun)) == set(fleet.ids)
    assert fleet.rollout(begun).selector == "online"
    fleet.come("dev-1")
    assert fleet.desired_digest("dev-1") == digest_of(1)


def test_undo_tells_which_quarantined_devices_it_leaves_as_they_are(fleet):
    bring(fleet, 1)
    bad = bring(fleet, 2)
    with fleet.database.write() as connection:
        devices.quarantine(connection, "dev-1", reason="cloned", now=fleet.now)
    assert set(fleet.states(undo(fleet, bad))) == {"dev-0", "dev-2"}
    with fleet.database.read() as connection:
        [entry] = [one for one in audit.page(connection, limit=50) if one.action == "rollout.undone"]
    assert entry.data["quarantined"] == ["dev-1"]


def test_undo_of_what_only_a_quarantined_device_has_is_refused_and_names_it(fleet):
    bring(fleet, 1)
    bad = bring(fleet, 2, "dev-1")
    with fleet.database.write() as connection:
        devices.quarantine(connection, "dev-1", reason="cloned", now=fleet.now)
    with pytest.raises(ConflictError, match=r"nothing is left to undo; quarantined and left as they are: dev-1$"):
        undo(fleet, bad)


@pytest.mark.parametrize("changed", [True, False])
def test_undo_reaches_the_devices_of_a_group_that_was_changed_or_removed_since(fleet, changed):
    bring(fleet, 1)
    group(fleet, *fleet.ids)
    bad = bring(fleet, 2, selector="group=canaries")
    if changed:
        group(fleet, "dev-0")
    else:
        ungroup(fleet)
    undo(fleet, bad)
    assert {fleet.desired_digest(one) for one in fleet.ids} == {digest_of(1)}


def test_a_retry_reaches_the_devices_of_a_group_that_was_removed_since(fleet):
    group(fleet, "dev-1")
    fleet.now += SECOND
    failed = fleet.roll_out(selector="group=canaries")
    fleet.say("dev-1", UpdateState.FAILED, reason=Reason.GOLDEN)
    ungroup(fleet)
    assert fleet.states(retry(fleet, failed)) == {"dev-1": S.OFFERED}


def group(fleet, *device_ids):
    with fleet.database.write() as connection:
        targets.set_group(connection, "canaries", selector=None, device_ids=device_ids, set_by="me", now=fleet.now)


def ungroup(fleet):
    with fleet.database.write() as connection:
        targets.remove_group(connection, "canaries", removed_by="me", now=fleet.now)


# -- what it must show


def test_a_device_that_comes_late_to_an_undo_and_shows_nothing_does_not_go_back_to_what_is_undone(fleet):
    bring(fleet, 1)
    policy = Policy(bake=timedelta(0), retries=0, evidence_timeout=timedelta(minutes=1))
    bad = bring(fleet, 2, policy=policy)
    fleet.go("dev-2")
    begun = undo(fleet, bad)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    assert fleet.rollout(begun).state is R.FINISHED
    fleet.come("dev-2")
    fleet.commit("dev-2", shown=False)
    fleet.wait(timedelta(minutes=5), step=20 * SECOND)
    assert fleet.states(begun)["dev-2"] is S.COMMITTED
    assert fleet.desired_digest("dev-2") == digest_of(1)


def test_undo_finishes_without_a_word_of_the_model_that_it_undoes(fleet):
    bring(fleet, 1)
    bad = bring(fleet, 2)
    with fleet.database.write() as connection:
        connection.execute(update(tables.rollouts).where(tables.rollouts.c.id == bad).values(policy=BAKES))
    begun = undo(fleet, bad)
    told = fleet.desired("dev-0").shadowing
    assert told.share == 0
    for device_id in fleet.ids:
        fleet.commit(device_id)
    # It answers twice as slowly as what it replaces, and one input in twenty not at all.
    slower = device(shadowed=False, since=period(p95_ms=24.0, errors=100))
    with fleet.database.write() as connection:
        of_undo = tables.waves.c.rollout_id == begun
        connection.execute(update(tables.waves).where(of_undo).values(health=WaveShows(canary=shown(*[slower] * 3))))
    fleet.wait(timedelta(minutes=6), step=10 * SECOND)
    assert fleet.rollout(begun).state is R.FINISHED
    with fleet.database.read() as connection:
        assert aliases.newest(connection, "gas", Alias.CHAMPION).version == 1


def test_an_undo_that_fails_does_not_bring_back_what_it_undid(fleet):
    bring(fleet, 1)
    begun = undo(fleet, bring(fleet, 2))
    fleet.commit("dev-0")
    for device_id in ("dev-1", "dev-2"):
        fleet.say(device_id, UpdateState.FAILED, reason=Reason.FETCH)
    assert fleet.rollout(begun).state is R.FAILED
    assert fleet.desired_digest("dev-0") == digest_of(1)


# -- whose yes it takes


def test_a_retry_of_what_had_to_be_approved_has_to_be_approved(fleet):
    failed = fleet.roll_out(needs_approval=True)
    orders.approve_rollout(fleet.database, failed, by(fleet, "ann"))
    fleet.run()
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.rollout(failed).state is R.FAILED
    begun = retry(fleet, failed)
    assert fleet.rollout(begun).state is R.AWAITING_APPROVAL
    assert fleet.states(begun) == {"dev-0": S.PENDING}


def test_an_undo_begins_at_once_though_what_it_undoes_had_to_be_approved(fleet):
    bring(fleet, 1)
    fleet.now += SECOND
    bad = fleet.roll_out(2, waves=("100%",), needs_approval=True)
    orders.approve_rollout(fleet.database, bad, by(fleet, "ann"))
    fleet.run()
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(undo(fleet, bad)).state is R.RUNNING


def test_an_undo_awaits_approval_while_four_eyes_are_demanded(fleet):
    bring(fleet, 1)
    bad = bring(fleet, 2)
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    begun = undo(fleet, bad)
    assert fleet.rollout(begun).state is R.AWAITING_APPROVAL
    assert fleet.desired_digest("dev-0") == digest_of(2)


# -- retry of what has ended


def test_a_retry_of_an_ended_rollout_asks_everybody_that_failed_however_many(fleet):
    """It begins anew each time, so that whoever it leaves out would be left out for ever."""
    for number in range(3, 1_010):
        fleet.enrol(f"dev-{number}")
    failed = fleet.roll_out(draft=True)
    fleet.abort(failed)
    with fleet.database.write() as connection:
        ended = tables.installations.c.rollout_id == failed
        connection.execute(update(tables.installations).where(ended).values(state=S.FAILED))
    assert len(fleet.states(retry(fleet, failed))) == 1_010


def test_a_retry_of_an_undo_is_still_the_undo(fleet):
    bring(fleet, 1)
    bad = bring(fleet, 2)
    begun = undo(fleet, bad)
    for device_id in fleet.ids:
        fleet.say(device_id, UpdateState.FAILED, reason=Reason.FETCH)
    assert fleet.rollout(begun).state is R.FAILED
    again = fleet.rollout(retry(fleet, begun))
    assert (again.undoes, again.policy) == (bad, fleet.rollout(begun).policy)
