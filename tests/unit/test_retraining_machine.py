"""The retraining machine: its whole table, and the conditions that feed it."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.learning import retraining as machine
from edgeops.learning.retraining import (
    OPEN,
    RESUME,
    TABLE,
    WAITS_FOR,
    Labelling,
    Nominating,
    RetrainingCommand,
    RetrainingEvent,
    RetrainingState,
)
from edgeops.rollout.rollout import RolloutState

S, E, C = RetrainingState, RetrainingEvent, RetrainingCommand
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENDS = set(S) - OPEN


@pytest.mark.parametrize(("before", "event"), list(itertools.product([None, *S], E)))
def test_what_the_table_does_not_list_is_illegal(before, event):
    if (before, event) in TABLE:
        assert machine.step(before, event) == TABLE[before, event]
    else:
        with pytest.raises(AssertionError, match=f"{event} is illegal in a {before or 'new'} retraining"):
            machine.step(before, event)


def test_every_event_and_state_is_used():
    assert {event for _, event in TABLE} == set(E)
    assert {after for after, _ in TABLE.values()} == set(S)
    assert {command for _, command in TABLE.values()} == set(C)


def test_from_every_open_state_a_good_end_and_a_bad_one_can_be_reached():
    def ends(state, seen=()):
        nexts = {after for (before, _), (after, _) in TABLE.items() if before == state and after not in seen}
        return {state} if not nexts else set().union(*(ends(one, (*seen, state)) for one in nexts))

    for state in OPEN:
        assert S.HEALED in ends(state), state
        assert ends(state) & {S.FAILED, S.CANCELLED}, state


def test_every_open_state_says_what_it_waits_for_and_every_state_how_it_is_resumed():
    assert set(WAITS_FOR) == OPEN
    assert set(RESUME) == set(S)
    assert all(RESUME[state] is C.NONE for state in ENDS)


def test_what_is_resumed_in_a_state_is_what_entering_it_commands():
    for state in OPEN:
        entering = {command for after, command in TABLE.values() if after is state}
        assert RESUME[state] in entering or RESUME[state] is C.NONE, state


def test_a_person_can_end_it_in_every_open_state_but_while_a_rollout_has_it():
    assert {state for state in OPEN if machine.allows(state, E.CANCEL)} == OPEN - {S.ROLLING_OUT}


def test_whoever_leaves_labelling_asks_for_labels_no_longer():
    leaving = {command for (before, _), (_, command) in TABLE.items() if before is S.LABELLING}
    assert leaving == {C.QUEUE_JOB, C.DROP_QUEUE}


def test_nothing_is_rolled_out_that_was_neither_passed_nor_signed():
    ways = {(before, event) for (before, event), (after, _) in TABLE.items() if after is S.ROLLING_OUT}
    assert ways == {(S.TRAINING, E.TRAINED), (S.AWAITING_SIGNATURE, E.SIGNED)}


def test_the_diagram_shows_every_row():
    lines = machine.diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == 1 + len(TABLE) + len(ENDS)
    assert "    awaiting_signature --> rolling_out: signed" in lines


# -- nominating -----------------------------------------------------------------------------


def nominated(*, after=timedelta(0), wanted=10, **seen):
    facts = {"since": START, "asked_at": START, "asked": 3, "answered": 3, "samples": 12, **seen}
    return machine.nominated(Nominating(**facts), wanted=wanted, label_timeout=timedelta(hours=2), now=START + after)


def test_the_server_chooses_when_everybody_answered():
    assert nominated().event is E.NOMINATED
    assert nominated(answered=2) is None


def test_the_silent_are_waited_for_until_the_deadline():
    assert nominated(answered=2, after=limits.NOMINATION_TIMEOUT - timedelta(seconds=1)) is None
    late = nominated(answered=2, after=limits.NOMINATION_TIMEOUT)
    assert (late.event, late.reason) == (E.NOMINATED, "2 of 3 devices answered")


def test_fewer_samples_than_labels_are_named():
    assert "fewer than 20" in nominated(wanted=20).reason


def test_nothing_nominated_names_why():
    empty = nominated(samples=0, detail="dev-1: the pool is empty")
    assert empty.event is E.NOTHING_NOMINATED
    assert "nominated nothing: dev-1: the pool is empty; let them answer" in empty.reason


def test_while_nobody_could_be_asked_the_longer_deadline_counts():
    nobody = {"asked_at": None, "asked": 0, "answered": 0, "samples": 0}
    assert nominated(**nobody, after=timedelta(hours=1, minutes=59)) is None
    assert nominated(**nobody, after=timedelta(hours=2)).event is E.NOTHING_NOMINATED


# -- labelling ------------------------------------------------------------------------------


def labelled(open_, done, disputed=0, *, least=3, after=timedelta(0)):
    seen = Labelling(since=START, open=open_, labelled=done, disputed=disputed)
    return machine.labelled(seen, min_labels=least, label_timeout=timedelta(hours=1), now=START + after)


@pytest.mark.parametrize(
    ("counts", "in_time", "too_late"),
    [
        ((0, 5), E.LABELLED, E.LABELLED),
        ((1, 4), None, E.LABELLED),
        ((3, 2), None, E.LABELS_MISSING),
        ((5, 0), None, E.LABELS_MISSING),
        ((0, 4, 1), E.LABELLED, E.LABELLED),
        ((0, 2, 3), None, E.LABELS_MISSING),
        ((0, 2), E.LABELLED, E.LABELLED),  # fewer were asked for than the policy wants at least
        ((0, 0, 2), None, E.LABELS_MISSING),
    ],
)
def test_when_labels_are_enough(counts, in_time, too_late):
    assert getattr(labelled(*counts), "event", None) == in_time
    assert labelled(*counts, after=timedelta(hours=1)).event is too_late


def test_a_model_never_learns_from_no_label_at_all():
    assert labelled(3, 0, least=0, after=timedelta(days=9)).event is E.LABELS_MISSING


# -- training and rollout -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "signed", "event"),
    [(True, True, E.TRAINED), (True, False, E.UNSIGNED), (False, False, E.GATE_REFUSED), (False, True, E.GATE_REFUSED)],
)
def test_what_a_training_means(passed, signed, event):
    assert machine.trained(passed=passed, signed=signed, reason="why").event is event


def test_what_a_rollout_means():
    events = {state: getattr(machine.rolled_out(state, "why"), "event", None) for state in RolloutState}
    good = {RolloutState.FINISHED, RolloutState.FINISHED_WITH_REGRESSIONS, RolloutState.LIVE}
    bad = {
        RolloutState.FAILED,
        RolloutState.ABORTED,
        RolloutState.DENIED,
        RolloutState.ROLLING_BACK,
        RolloutState.ROLLED_BACK,
    }
    assert {state for state, event in events.items() if event is E.ROLLED_OUT} == good
    assert {state for state, event in events.items() if event is E.ROLLOUT_FAILED} == bad
