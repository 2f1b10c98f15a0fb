"""What people order of rollouts: approve, advance, abort, undo, retry; and how a rollout asks, a device at a time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.errors import ConflictError, InputError
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server.db import aliases, audit, rollouts
from fleet_server.db.aliases import Alias
from fleet_server.four_eyes import demand_four_eyes, four_eyes, waive_four_eyes
from fleet_server.rollout_freeze import freeze, thaw
from tests.unit.engine_rig import Fleet, digest_of

S, R = InstallationState, RolloutState
#: A device that timed out is asked once more, after a minute.
AGAIN = Policy(bake=timedelta(0), retries=1, retry_after=timedelta(minutes=1))


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def by(fleet, name="boss", remark=""):
    return orders.By(name=name, now=fleet.now, remark=remark)


def fail(fleet, device_id, reason=Reason.GOLDEN):
    fleet.say(device_id, UpdateState.FAILED, reason=reason)


def finish(fleet, version):
    """Bring a version to all devices."""
    fleet.now += timedelta(milliseconds=1)
    rollout_id = fleet.roll_out(version, waves=("100%",))
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is R.FINISHED
    return rollout_id


def actions(fleet):
    with fleet.database.read() as connection:
        return [(one.action, one.actor, one.remark) for one in audit.oldest_first(connection)]


def rows(fleet, rollout_id, device_id):
    """Every attempt at one device, the first one first."""
    return [one for one in fleet.attempts(rollout_id) if one.device_id == device_id]


def champion(fleet):
    with fleet.database.read() as connection:
        return aliases.holders(connection, ["gas"]).get("gas", {}).get(Alias.CHAMPION)


# -- approve, deny, four eyes


def test_nobody_is_asked_before_somebody_approved(fleet):
    rollout_id = fleet.roll_out(needs_approval=True)
    assert fleet.rollout(rollout_id).state is R.AWAITING_APPROVAL
    assert set(fleet.states(rollout_id).values()) == {S.PENDING}


def test_an_approved_rollout_begins_and_says_by_whom(fleet):
    rollout_id = fleet.roll_out(needs_approval=True)
    orders.approve_rollout(fleet.database, rollout_id, by(fleet, remark="seen"))
    assert fleet.rollout(rollout_id).state is R.RUNNING
    assert fleet.rollout(rollout_id).approved_by == "boss"
    assert fleet.states(rollout_id)["dev-0"] is S.OFFERED
    assert ("rollout.approved", "boss", "seen") in actions(fleet)


def test_a_denied_rollout_ends_with_the_reason_and_asks_nobody(fleet):
    rollout_id = fleet.roll_out(needs_approval=True)
    orders.deny_rollout(fleet.database, rollout_id, by(fleet, remark="not on a Friday"))
    assert fleet.rollout(rollout_id).state is R.DENIED
    assert fleet.rollout(rollout_id).reason == "denied by boss: not on a Friday"
    assert set(fleet.states(rollout_id).values()) == {S.SUPERSEDED}


def test_an_approval_that_nobody_gives_is_a_denial_in_the_end(fleet):
    rollout_id = fleet.roll_out(needs_approval=True)
    waiting = fleet.rollout(rollout_id)
    assert waiting.deadline_at - waiting.entered_at == limits.APPROVAL_TIMEOUT
    with fleet.database.write() as connection:
        rollouts.save(connection, replace(waiting, deadline_at=fleet.now), fleet.now)
    fleet.wait(timedelta(seconds=1))
    assert fleet.rollout(rollout_id).state is R.DENIED
    assert "nobody decided" in fleet.rollout(rollout_id).reason


def test_with_four_eyes_who_began_it_does_not_approve_it(fleet):
    demand_four_eyes(fleet.database, by="admin", remark="policy", now=fleet.now)
    rollout_id = fleet.roll_out(needs_approval=True, created_by="ann")
    with pytest.raises(ConflictError, match="four eyes: ann began it"):
        orders.approve_rollout(fleet.database, rollout_id, by(fleet, "ann"))
    assert fleet.rollout(rollout_id).state is R.AWAITING_APPROVAL
    assert "rollout.approved" not in {action for action, _, _ in actions(fleet)}


def test_with_four_eyes_a_rollout_that_asks_for_no_approval_awaits_one(fleet):
    draft_id = fleet.roll_out(draft=True, created_by="ann")
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    orders.submit_rollout(fleet.database, draft_id, by(fleet, "ann"))
    assert fleet.rollout(draft_id).state is R.AWAITING_APPROVAL
    assert set(fleet.states(draft_id).values()) == {S.PENDING}


LATER = timedelta(hours=1)


def scheduled(fleet, **changes):
    return fleet.roll_out(starts_at=fleet.now + LATER, created_by="ann", **changes)


def test_a_rollout_that_waits_for_its_time_awaits_an_approval_once_four_eyes_are_demanded(fleet):
    rollout_id = scheduled(fleet)
    assert fleet.rollout(rollout_id).state is R.SCHEDULED
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    fleet.wait(timedelta(minutes=1))
    waiting = fleet.rollout(rollout_id)
    assert (waiting.state, waiting.deadline_at - waiting.entered_at) == (R.AWAITING_APPROVAL, limits.APPROVAL_TIMEOUT)
    fleet.wait(LATER)
    assert fleet.rollout(rollout_id).state is R.AWAITING_APPROVAL
    assert set(fleet.states(rollout_id).values()) == {S.PENDING}
    orders.approve_rollout(fleet.database, rollout_id, by(fleet))  # its time has come meanwhile
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_with_four_eyes_a_rollout_that_was_approved_before_its_time_begins_then(fleet):
    rollout_id = scheduled(fleet)
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    fleet.wait(timedelta(minutes=1))
    orders.approve_rollout(fleet.database, rollout_id, by(fleet))
    assert fleet.rollout(rollout_id).state is R.SCHEDULED
    fleet.wait(LATER)
    assert (fleet.rollout(rollout_id).state, fleet.rollout(rollout_id).approved_by) == (R.RUNNING, "boss")


def test_what_somebody_else_approved_before_four_eyes_were_demanded_awaits_nothing_more(fleet):
    rollout_id = scheduled(fleet, needs_approval=True)
    orders.approve_rollout(fleet.database, rollout_id, by(fleet))
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    fleet.wait(LATER)
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_an_approval_of_who_began_it_does_not_outlast_the_demand_for_four_eyes(fleet):
    rollout_id = scheduled(fleet, needs_approval=True)
    orders.approve_rollout(fleet.database, rollout_id, by(fleet, "ann"))
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    fleet.wait(LATER)
    assert (fleet.rollout(rollout_id).state, fleet.rollout(rollout_id).approved_by) == (R.AWAITING_APPROVAL, None)


def test_with_four_eyes_somebody_else_approves_it(fleet):
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    rollout_id = fleet.roll_out(created_by="ann")
    orders.approve_rollout(fleet.database, rollout_id, by(fleet, "bob"))
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_with_four_eyes_who_began_it_may_still_deny_it(fleet):
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    rollout_id = fleet.roll_out(needs_approval=True, created_by="ann")
    orders.deny_rollout(fleet.database, rollout_id, by(fleet, "ann"))
    assert fleet.rollout(rollout_id).state is R.DENIED


def test_with_four_eyes_who_began_it_does_not_override_its_gate(fleet):
    rollout_id = fleet.roll_out(created_by="ann")
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    with pytest.raises(ConflictError, match="four eyes"):
        orders.advance_rollout(fleet.database, rollout_id, by(fleet, "ann", "it is fine"))
    assert fleet.rollout(rollout_id).wave == 0
    assert fleet.waves(rollout_id)[0].override is None


def test_once_four_eyes_are_waived_one_person_may_do_both(fleet):
    demand_four_eyes(fleet.database, by="admin", remark="", now=fleet.now)
    waive_four_eyes(fleet.database, by="admin", now=fleet.now)
    rollout_id = fleet.roll_out(needs_approval=True, created_by="ann")
    orders.approve_rollout(fleet.database, rollout_id, by(fleet, "ann"))
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_four_eyes_are_demanded_and_waived_once_and_both_are_in_the_audit_trail(fleet):
    demand_four_eyes(fleet.database, by="admin", remark="policy", now=fleet.now)
    for other, remark in (("other", "policy"), ("admin", "another")):
        with pytest.raises(ConflictError, match="already, by admin"):
            demand_four_eyes(fleet.database, by=other, remark=remark, now=fleet.now)
    with fleet.database.read() as connection:
        assert four_eyes(connection).by == "admin"
    waive_four_eyes(fleet.database, by="other", now=fleet.now)
    assert ("fleet.four-eyes-demanded", "admin", "policy") in actions(fleet)
    assert ("fleet.four-eyes-waived", "other", "") in actions(fleet)


def test_what_is_ordered_for_the_whole_fleet_may_be_ordered_again_when_the_answer_was_lost(fleet):
    for _ in range(2):
        assert demand_four_eyes(fleet.database, by="admin", remark="policy", now=fleet.now).by == "admin"
        assert freeze(fleet.database, by="me", remark="fair", now=fleet.now).at == fleet.now
    with pytest.raises(ConflictError, match="frozen already, by me"):
        freeze(fleet.database, by="other", remark="fair", now=fleet.now)
    for _ in range(2):
        thaw(fleet.database, by="me", remark="", now=fleet.now)
        waive_four_eyes(fleet.database, by="admin", now=fleet.now)
    told = [action for action, _, _ in actions(fleet)]
    assert told == ["fleet.four-eyes-demanded", "fleet.frozen", "fleet.thawed", "fleet.four-eyes-waived"]


# -- advance


def test_an_override_passes_the_wave_asks_the_next_and_is_stored_with_it(fleet):
    rollout_id = fleet.roll_out()
    fleet.say("dev-0", UpdateState.ROLLED_BACK, reason=Reason.INCONCLUSIVE)
    assert fleet.rollout(rollout_id).state is R.PAUSED
    orders.advance_rollout(fleet.database, rollout_id, by(fleet, remark="seen by hand"))
    wave = fleet.waves(rollout_id)[0]
    assert wave.has_passed
    assert wave.verdict["verdict"] == "override"
    assert (wave.override["by"], wave.override["remark"]) == ("boss", "seen by hand")
    assert fleet.rollout(rollout_id).wave == 1
    assert fleet.states(rollout_id)["dev-1"] is S.OFFERED


def test_an_override_without_a_remark_is_refused(fleet):
    rollout_id = fleet.roll_out()
    with pytest.raises(InputError, match="needs a remark"):
        orders.advance_rollout(fleet.database, rollout_id, by(fleet, remark="  "))
    assert fleet.waves(rollout_id)[0].override is None


def test_an_override_of_the_last_wave_finishes_the_rollout(fleet):
    rollout_id = fleet.roll_out(waves=("100%",))
    orders.advance_rollout(fleet.database, rollout_id, by(fleet, remark="seen by hand"))
    assert fleet.rollout(rollout_id).state is R.FINISHED
    assert "without proof" in fleet.rollout(rollout_id).reason


def test_what_a_person_let_pass_is_champion_only_if_a_device_runs_it(fleet):
    first = fleet.roll_out(waves=("100%",))
    orders.advance_rollout(fleet.database, first, by(fleet, remark="seen by hand"))
    assert champion(fleet) is None
    fleet.now += timedelta(seconds=1)
    second = fleet.roll_out(2, waves=("100%",))
    fleet.commit("dev-0")
    orders.advance_rollout(fleet.database, second, by(fleet, remark="seen by hand"))
    assert champion(fleet) == 2


# -- abort and taking back


def test_an_abort_that_rolls_back_wants_the_model_before_of_who_committed(fleet):
    finish(fleet, 1)
    fleet.now += timedelta(milliseconds=1)
    rollout_id = fleet.roll_out(2)
    fleet.commit("dev-0")
    assert fleet.desired_digest("dev-0") == digest_of(2)
    orders.abort_rollout(fleet.database, rollout_id, by(fleet, remark="wrong"), roll_back=True)
    assert fleet.rollout(rollout_id).state is R.ROLLING_BACK
    assert {fleet.desired_digest(one) for one in fleet.ids} == {digest_of(1)}
    assert fleet.states(rollout_id)["dev-0"] is S.ROLLED_BACK


def test_a_roll_back_nobody_is_heard_of_ends_by_its_deadline_and_says_so(fleet):
    rollout_id = fleet.roll_out()
    fleet.commit("dev-0")
    orders.abort_rollout(fleet.database, rollout_id, by(fleet), roll_back=True)
    fleet.wait(timedelta(minutes=35), step=timedelta(seconds=25))
    assert fleet.rollout(rollout_id).state is R.ROLLED_BACK
    assert "1 device was not heard" in fleet.rollout(rollout_id).reason


# -- undo


def test_undo_brings_what_the_rollout_before_brought_to_the_same_devices(fleet):
    finish(fleet, 1)
    second = finish(fleet, 2)
    fleet.now += timedelta(milliseconds=1)
    begun = orders.undo_rollout(fleet.database, second, by(fleet))
    fleet.run()
    assert fleet.rollout(begun).undoes == second
    assert fleet.rollout(begun).version == 1
    assert {fleet.desired_digest(one) for one in fleet.ids} == {digest_of(1)}


def test_undo_without_anything_before_is_refused_and_begins_nothing(fleet):
    first = finish(fleet, 1)
    with pytest.raises(ConflictError, match="nothing to go back to"):
        orders.undo_rollout(fleet.database, first, by(fleet))


# -- retry


def test_a_retry_asks_the_failed_again_and_nobody_else(fleet):
    patient = Policy(bake=timedelta(0), retries=0, max_failure=1.0, retry_after=timedelta(0))
    rollout_id = fleet.roll_out(waves=("100%",), policy=patient)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    fail(fleet, "dev-2")
    assert fleet.rollout(rollout_id).state is R.PAUSED
    fleet.now += timedelta(milliseconds=1)
    assert orders.retry_rollout(fleet.database, rollout_id, by(fleet)) == rollout_id
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    assert [one.state for one in rows(fleet, rollout_id, "dev-2")] == [S.RETRIED, S.OFFERED]
    assert [one.state for one in rows(fleet, rollout_id, "dev-0")] == [S.COMMITTED]
    fleet.commit("dev-2")
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    assert fleet.rollout(rollout_id).state is R.FINISHED


def test_a_retry_of_a_failed_rollout_is_a_new_one_of_those_devices(fleet):
    rollout_id = fleet.roll_out()
    fail(fleet, "dev-0")
    assert fleet.rollout(rollout_id).state is R.FAILED
    fleet.now += timedelta(milliseconds=1)
    begun = orders.retry_rollout(fleet.database, rollout_id, by(fleet))
    fleet.run()
    assert begun != rollout_id
    assert fleet.states(begun)["dev-0"] is S.OFFERED


def test_a_retry_of_nobody_is_refused(fleet):
    rollout_id = fleet.roll_out()
    with pytest.raises(ConflictError, match="nobody is left to ask again"):
        orders.retry_rollout(fleet.database, rollout_id, by(fleet))


def test_a_device_that_timed_out_is_asked_again_after_a_pause_under_another_id(fleet):
    rollout_id = fleet.roll_out(policy=AGAIN)
    fleet.wait(timedelta(minutes=10, seconds=20), step=timedelta(seconds=10))
    first, second = rows(fleet, rollout_id, "dev-0")
    assert (first.state, second.state, second.attempt) == (S.RETRIED, S.PENDING, 2)
    fleet.wait(timedelta(minutes=1, seconds=10), step=timedelta(seconds=10))
    assert rows(fleet, rollout_id, "dev-0")[1].state is S.OFFERED
    assert fleet.desired("dev-0").installation == second.id


def test_an_abort_while_a_device_waits_to_be_asked_again_leaves_no_offer_behind(fleet):
    rollout_id = fleet.roll_out(policy=AGAIN)
    fleet.wait(timedelta(minutes=10, seconds=20), step=timedelta(seconds=10))
    fleet.abort(rollout_id)
    assert fleet.desired_digest("dev-0") is None
    assert fleet.waves(rollout_id)[0].offered == 0


def test_a_device_is_not_asked_more_often_than_the_policy_says(fleet):
    rollout_id = fleet.roll_out(policy=AGAIN)
    fail(fleet, "dev-0", Reason.DISK)
    fleet.wait(timedelta(minutes=1, seconds=10), step=timedelta(seconds=10))
    fail(fleet, "dev-0", Reason.DISK)
    assert [one.attempt for one in rows(fleet, rollout_id, "dev-0")] == [1, 2]
    assert fleet.rollout(rollout_id).state is R.FAILED


# -- how it asks


def asked(fleet, rollout_id):
    return [one for one, state in fleet.states(rollout_id).items() if state is S.OFFERED]


def test_no_more_devices_are_at_it_than_the_policy_says(fleet):
    policy = Policy(bake=timedelta(0), retries=0, max_in_flight=1)
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    assert len(asked(fleet, rollout_id)) == 1
    fleet.commit("dev-0")
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    assert asked(fleet, rollout_id) == ["dev-1"]


def test_no_more_devices_are_asked_in_a_minute_than_the_policy_says(fleet):
    policy = Policy(bake=timedelta(0), retries=0, rate_per_minute=2)
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.wait(timedelta(seconds=30), step=timedelta(seconds=10))
    assert len(asked(fleet, rollout_id)) == 2
    fleet.wait(timedelta(seconds=40), step=timedelta(seconds=10))
    assert len(asked(fleet, rollout_id)) == 3


def test_nobody_is_asked_while_the_fleet_is_frozen_and_everybody_due_once_it_thaws(fleet):
    freeze(fleet.database, by="me", remark="fair", now=fleet.now)
    rollout_id = fleet.roll_out()
    assert asked(fleet, rollout_id) == []
    thaw(fleet.database, by="me", remark="", now=fleet.now)
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    assert asked(fleet, rollout_id) == ["dev-0"]


def test_a_frozen_fleet_does_not_keep_a_model_from_being_taken_back(fleet):
    rollout_id = fleet.roll_out()
    fleet.commit("dev-0")
    freeze(fleet.database, by="me", remark="", now=fleet.now)
    orders.abort_rollout(fleet.database, rollout_id, by(fleet), roll_back=True)
    assert fleet.desired_digest("dev-0") is None


def test_a_device_that_joins_a_continuous_rollout_is_asked_and_judged_by_itself(fleet):
    rollout_id = fleet.roll_out(waves=("100%",), continuous=True)
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is R.LIVE
    fleet.now += timedelta(seconds=1)
    fleet.enrol("dev-9")
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    assert fleet.states(rollout_id)["dev-9"] is S.OFFERED
    fleet.commit("dev-9")
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    assert fleet.states(rollout_id)["dev-9"] is S.HEALTHY


def test_a_device_that_commits_while_a_continuous_rollout_is_paused_is_judged_by_itself(fleet):
    fleet.go("dev-2")
    policy = Policy(bake=timedelta(0), retries=0, evidence_timeout=timedelta(minutes=1))
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy, continuous=True)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    fleet.come("dev-2")
    orders.pause_rollout(fleet.database, rollout_id, by(fleet))
    fleet.commit("dev-2", shown=False)
    fleet.wait(timedelta(minutes=2), step=timedelta(seconds=20))
    assert fleet.states(rollout_id)["dev-2"] is S.ROLLED_BACK


@pytest.mark.parametrize(
    ("said", "reason"),
    [(None, Reason.NONE), (UpdateState.FAILED, Reason.FETCH), (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE)],
)
def test_a_device_whose_end_need_not_last_is_asked_again_after_a_pause_and_fails_nothing_meanwhile(fleet, said, reason):
    policy = Policy(bake=timedelta(0), retries=1, retry_after=timedelta(minutes=1))
    rollout_id = fleet.roll_out(policy=policy)
    orders.pause_rollout(fleet.database, rollout_id, by(fleet))
    if said is not None:
        fleet.say("dev-0", said, reason=reason)
    fleet.wait(timedelta(minutes=20))
    assert (fleet.rollout(rollout_id).state, fleet.states(rollout_id)["dev-0"]) == (R.PAUSED, S.PENDING)
    orders.resume_rollout(fleet.database, rollout_id, by(fleet))
    fleet.wait(timedelta(minutes=2))
    assert (fleet.rollout(rollout_id).state, fleet.states(rollout_id)["dev-0"]) == (R.RUNNING, S.OFFERED)


def test_a_finished_rollout_offers_a_withdrawn_model_to_nobody_that_comes_late_or_is_at_it(fleet):
    for device_id in ("dev-1", "dev-2"):
        fleet.go(device_id)
    rollout_id = fleet.roll_out(waves=("100%",))
    fleet.commit("dev-0")
    fleet.come("dev-1")
    assert (fleet.rollout(rollout_id).state, fleet.states(rollout_id)["dev-1"]) == (R.FINISHED, S.OFFERED)
    fleet.withdraw(1)
    fleet.run()
    fleet.come("dev-2")
    fleet.say("dev-1", UpdateState.REJECTED, reason=Reason.WITHDRAWN)
    states = fleet.states(rollout_id)
    assert (states["dev-1"], states["dev-2"]) == (S.SUPERSEDED, S.SUPERSEDED)
    assert fleet.installations(rollout_id)["dev-2"].detail.endswith("was withdrawn")
    assert fleet.rollout(rollout_id).state is R.FINISHED
    with pytest.raises(ConflictError, match="was withdrawn; nobody can be asked"):
        orders.retry_rollout(fleet.database, rollout_id, by(fleet))


def test_a_late_device_that_shows_nothing_does_not_keep_the_model(fleet):
    fleet.go("dev-2")
    policy = Policy(bake=timedelta(0), retries=0, evidence_timeout=timedelta(minutes=1))
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    assert fleet.rollout(rollout_id).state is R.FINISHED
    fleet.come("dev-2")
    fleet.commit("dev-2", shown=False)
    fleet.wait(timedelta(minutes=2), step=timedelta(seconds=20))
    assert fleet.states(rollout_id)["dev-2"] is S.ROLLED_BACK
    assert fleet.desired_digest("dev-2") is None
