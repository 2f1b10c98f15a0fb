"""A model that takes the agent down after its commit: it answers no more, is told, and comes back only if asked anew."""

import pytest
from msgspec.structs import replace

from edgeops.protocol.messages import Evidence, Reason, UpdateState
from edgeops.update import events, machine
from edgeops.update.leave import Hold, obstacle
from edgeops.update.machine import Command
from edgeops.update.update import Shown, Update, Wanted, committed

S = UpdateState
A, B, C = ("sha256:" + letter * 64 for letter in "abc")
WANTED = Wanted(epoch=1, revision=7, target="models/gas/1-int8.json", digest=A, installation="inst-1")
NEXT = Wanted(epoch=1, revision=8, target="models/gas/2-int8.json", digest=B, installation="inst-2")
SHOWN = Shown(digest=A, evidence=Evidence(inferences=5, errors=0), asked=(1, 7))
COMMITTED = Update(state=S.COMMITTED, wanted=WANTED, mark=(1, 7), shown=SHOWN)
FELL = machine.step(COMMITTED, events.Fallen(A))[0]
OTHERS = [state for state in S if state not in (S.COMMITTED, S.TRIAL)]


def test_a_committed_model_that_falls_is_rolled_back_and_reported_no_second_time():
    after, command = machine.step(COMMITTED, events.Fallen(A))
    assert (after.state, after.reason, after.reported, command) == (S.ROLLED_BACK, Reason.CRASHES, True, Command.NONE)
    assert after.detail == "the agent died again and again within moments of its start while this model was active"
    assert (after.fallen, committed(after)) == ((A,), A)
    assert machine.resume(after) is Command.TAKE_NEXT


@pytest.mark.parametrize("state", OTHERS)
def test_what_is_under_way_or_ended_otherwise_goes_on_while_the_active_model_falls(state):
    before = replace(COMMITTED, state=state, wanted=NEXT, reason=Reason.FETCH, detail="late")
    assert machine.step(before, events.Fallen(A)) == (replace(before, fallen=(A,)), Command.NONE)


def test_a_trial_bounds_its_starts_itself():
    assert machine.fall(replace(COMMITTED, state=S.TRIAL), active=A) is None
    assert not machine.allows(replace(COMMITTED, state=S.TRIAL), events.Fallen)


@pytest.mark.parametrize("state", OTHERS)
def test_the_active_model_falls_whatever_else_is_under_way(state):
    assert machine.fall(replace(COMMITTED, state=state, wanted=NEXT), active=A) == events.Fallen(A)
    assert machine.fall(replace(COMMITTED, state=state, reported=False), active=A) == events.Fallen(A)


def test_a_commit_is_finished_and_what_was_lost_asked_for_before_anything_falls():
    assert machine.fall(COMMITTED, active=A) == events.Fallen(A)
    assert machine.fall(replace(COMMITTED, reported=False), active=A) is None
    assert machine.fall(COMMITTED, active=B) is None
    assert machine.fall(replace(COMMITTED, wanted=None), active=B) is None


@pytest.mark.parametrize("state", list(S))
def test_where_nothing_answers_nothing_falls(state):
    assert machine.fall(replace(COMMITTED, state=state), active=None) is None


def test_what_falls_after_it_is_remembered_too():
    after, _ = machine.step(FELL, events.Fallen(B))
    assert (after.fallen, after.state, after.reason) == ((A, B), S.ROLLED_BACK, Reason.CRASHES)


def test_what_fell_first_was_committed_last_where_nothing_else_tells():
    untold = machine.step(replace(COMMITTED, shown=None), events.Fallen(A))[0]
    assert committed(machine.step(untold, events.Fallen(B))[0]) == A


# -- what brings it back, and what does not ---------------------------------------------------------


@pytest.mark.parametrize("active", [B, None])
def test_the_same_installation_asked_for_again_and_again_does_not_bring_it_back(active):
    again = replace(WANTED, revision=9)
    for fell in (FELL, machine.step(FELL, events.Fallen(B))[0]):
        event = machine.desired(fell, again, active=active)
        assert machine.step(fell, event) == (replace(fell, mark=(1, 9)), Command.NONE)


def test_another_installation_of_it_is_somebodys_decision_and_waits_like_any_other():
    anew = replace(WANTED, revision=9, installation="inst-9")
    event = machine.desired(FELL, anew, active=B)
    assert event == events.Started(anew)
    after, command = machine.step(FELL, event)
    assert (after.state, after.fallen, after.shown, command) == (S.FETCHING, (), None, Command.FETCH)
    assert obstacle(after, hold=Hold(), now=None) is not None


def test_another_model_begins_while_it_stays_fallen_until_one_is_committed():
    after, _ = machine.step(FELL, events.Started(NEXT))
    assert (after.fallen, after.shown) == ((A,), SHOWN)
    after = replace(after, state=S.TRIAL, evidence=SHOWN.evidence)
    after, _ = machine.step(after, events.Acknowledged())
    assert (after.fallen, after.shown) == ((), Shown(digest=B, evidence=SHOWN.evidence, asked=(1, 8)))


def test_the_model_before_that_is_wanted_again_is_active_already_and_the_other_stays_fallen():
    after, command = machine.step(FELL, machine.desired(FELL, NEXT, active=B))
    assert (after.state, after.fallen, command) == (S.COMMITTED, (A,), Command.REPORT)
    both = replace(FELL, fallen=(A, B))
    assert machine.step(both, events.AlreadyActive(NEXT))[0].fallen == (A,)
    assert machine.step(both, events.Started(NEXT))[0].fallen == (A,)
    lost, _ = machine.step(replace(after, reported=True), events.Lost())
    assert lost.fallen == (A,)


def test_where_nothing_is_desired_nothing_is_remembered():
    nothing = replace(NEXT, target=None, digest=None)
    assert machine.step(FELL, events.Emptied(nothing))[0].fallen == ()
