"""The two tables: what is legal, what is not, and where everything ends."""

import itertools
from datetime import UTC, datetime

import pytest

from edgeops.protocol.messages import Evidence, Reason, Report, UpdateState
from edgeops.rollout import installation, rollout
from edgeops.rollout.evidence import Fail, Pass, Proof, Wait
from edgeops.rollout.installation import (
    Illegal,
    InstallationCommand,
    InstallationEvent,
    InstallationState,
    counters,
    is_final,
    with_report,
)
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import Rollout, RolloutCommand, RolloutEvent, RolloutState

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy(trial_inferences=20)
FIRST_OF_TWO = Rollout(RolloutState.RUNNING, 0, 2)
LAST_OF_TWO = Rollout(RolloutState.RUNNING, 1, 2)

S, E = InstallationState, InstallationEvent


def report(state: UpdateState, evidence: Evidence | None = None, reason: Reason = Reason.NONE) -> Report:
    return Report(
        installation="install-1", deployment="gas", digest=bytes(32), state=state, reason=reason, evidence=evidence
    )


def event_of(one: Report, before: Proof | None = None) -> InstallationEvent:
    return installation.event_of(one, with_report(before or Proof(), one), POLICY)


# -- rollout ----------------------------------------------------------------------------


def test_a_passed_wave_asks_the_next_one():
    after, command = rollout.step(FIRST_OF_TWO, RolloutEvent.WAVE_PASSED)
    assert (after.state, after.wave, command) == (RolloutState.RUNNING, 1, RolloutCommand.OFFER_WAVE)


def test_the_last_passed_wave_finishes_with_its_proof():
    after, command = rollout.step(LAST_OF_TWO, RolloutEvent.LAST_WAVE_PASSED, reason="proof")
    assert (after.state, after.reason, command) == (RolloutState.FINISHED, "proof", RolloutCommand.NONE)


def test_a_failed_wave_takes_open_offers_back():
    after, command = rollout.step(FIRST_OF_TWO, RolloutEvent.WAVE_FAILED, reason="why")
    assert (after.state, after.wave, command) == (RolloutState.FAILED, 0, RolloutCommand.WITHDRAW_OFFERS)


def test_a_rollout_without_enough_evidence_pauses_and_leaves_its_offers():
    after, command = rollout.step(FIRST_OF_TWO, RolloutEvent.EVIDENCE_MISSING, reason="why")
    assert (after.state, command) == (RolloutState.PAUSED, RolloutCommand.NONE)


def test_a_paused_rollout_asks_nobody_and_does_not_pass_by_itself():
    for event in (RolloutEvent.DEVICES_READY, RolloutEvent.WAVE_PASSED, RolloutEvent.LAST_WAVE_PASSED):
        assert not rollout.allows(RolloutState.PAUSED, event)


@pytest.mark.parametrize("state", [RolloutState.FAILED, RolloutState.ABORTED])
def test_an_ended_rollout_takes_no_event(state):
    assert not any(rollout.allows(state, event) for event in RolloutEvent)


def test_a_finished_rollout_only_asks_who_comes_late():
    assert [event for event in RolloutEvent if rollout.allows(RolloutState.FINISHED, event)] == [
        RolloutEvent.DEVICES_READY
    ]


def test_an_illegal_event_is_a_bug_and_says_so():
    with pytest.raises(AssertionError, match="wave-passed is illegal in a paused rollout"):
        rollout.step(Rollout(RolloutState.PAUSED, 0, 2), RolloutEvent.WAVE_PASSED)


def test_the_last_wave_has_no_next_one():
    with pytest.raises(AssertionError, match="no next one"):
        rollout.step(LAST_OF_TWO, RolloutEvent.WAVE_PASSED)


def test_the_verdict_decides_the_event():
    assert rollout.event_of(Pass("x"), FIRST_OF_TWO, NOW) is RolloutEvent.WAVE_PASSED
    assert rollout.event_of(Pass("x"), LAST_OF_TWO, NOW) is RolloutEvent.LAST_WAVE_PASSED
    assert rollout.event_of(Fail("x"), FIRST_OF_TWO, NOW) is RolloutEvent.WAVE_FAILED
    assert rollout.event_of(Wait(NOW, "x"), FIRST_OF_TWO, NOW) is RolloutEvent.EVIDENCE_MISSING
    assert rollout.event_of(Wait(NOW.replace(hour=13), "x"), FIRST_OF_TWO, NOW) is None


def test_every_open_rollout_can_be_aborted_and_ends_on_a_failure():
    for state, event in itertools.product(
        rollout.OPEN, (RolloutEvent.ABORT, RolloutEvent.WAVE_FAILED, RolloutEvent.MODEL_WITHDRAWN)
    ):
        after, command = rollout.step(Rollout(state, 0, 2), event, reason="why")
        assert after.state not in rollout.OPEN
        assert command is RolloutCommand.WITHDRAW_OFFERS


# -- installation -------------------------------------------------------------------------


def test_only_a_pending_installation_is_offered():
    offered = [state for state in S if not isinstance(installation.step(state, E.OFFER), Illegal)]
    assert offered == [S.PENDING]
    assert installation.step(S.PENDING, E.OFFER) == (S.OFFERED, InstallationCommand.DESIRE)


@pytest.mark.parametrize("state", sorted(installation.OPEN))
@pytest.mark.parametrize(
    ("event", "end"),
    [(E.FAIL, S.FAILED), (E.REJECT, S.REJECTED), (E.ROLL_BACK, S.ROLLED_BACK), (E.DOUBT, S.INCONCLUSIVE)],
)
def test_an_end_without_commit_restores_what_was_proven(state, event, end):
    assert installation.step(state, event) == (end, InstallationCommand.RESTORE)


@pytest.mark.parametrize("state", sorted(installation.OPEN))
def test_a_commit_ends_it_also_after_the_deadline(state):
    assert installation.step(state, E.COMMIT) == (S.COMMITTED, InstallationCommand.NONE)


@pytest.mark.parametrize("state", [state for state in S if is_final(state)])
def test_a_late_or_repeated_word_changes_no_end(state):
    assert installation.step(state, E.PROGRESS) == (state, InstallationCommand.NONE)
    ends = [event for event in E if installation.TABLE.get((state, event), (None,))[0] == state]
    assert all(installation.step(state, event) == (state, InstallationCommand.NONE) for event in ends)


@pytest.mark.parametrize("event", [E.FAIL, E.ROLL_BACK, E.REJECT, E.DOUBT, E.OFFER, E.TIME_OUT])
def test_a_commit_is_not_contradicted(event):
    outcome = installation.step(S.COMMITTED, event)
    assert outcome == Illegal(S.COMMITTED, event)
    assert str(outcome) == f"{event} is illegal in a committed installation"


def test_a_device_that_was_not_asked_cannot_end_it():
    assert {event for event in E if not isinstance(installation.step(S.PENDING, event), Illegal)} == {
        E.OFFER,
        E.WITHDRAW,
    }


def test_no_final_state_is_ever_left():
    for (before, event), (after, _) in installation.TABLE.items():
        if is_final(before):
            assert after == before, event


def test_counters_of_a_wave_follow_its_installations():
    assert counters(S.PENDING, S.OFFERED) == {"offered": 1}
    assert counters(S.OFFERED, S.INSTALLING) == {}
    assert counters(S.INSTALLING, S.ROLLED_BACK) == {"failed": 1}
    assert counters(S.TIMED_OUT, S.COMMITTED) == {"inconclusive": -1, "committed": 1}
    assert counters(S.OFFERED, S.SUPERSEDED) == {"offered": -1}


def test_a_way_through_the_table_adds_its_counters_up():
    for (before, _), (after, _) in installation.TABLE.items():
        there, back = counters(before, after), counters(after, before)
        assert there == {name: -change for name, change in back.items()}


# -- reports ------------------------------------------------------------------------------


def test_a_commit_counts_with_its_proof():
    shown = Evidence(inferences=20, errors=0)
    assert event_of(report(UpdateState.COMMITTED, shown)) is E.COMMIT
    assert event_of(report(UpdateState.COMMITTED)) is E.PROGRESS
    assert event_of(report(UpdateState.COMMITTED, Evidence(inferences=19, errors=0))) is E.PROGRESS
    assert event_of(report(UpdateState.TRIAL, shown)) is E.PROGRESS


def test_the_proof_may_come_after_the_commit():
    committed = with_report(Proof(), report(UpdateState.COMMITTED))
    assert event_of(report(UpdateState.TRIAL, Evidence(inferences=20, errors=0)), committed) is E.COMMIT


def test_a_commit_in_spite_of_errors_is_a_failure():
    assert event_of(report(UpdateState.COMMITTED, Evidence(inferences=500, errors=1))) is E.FAIL


@pytest.mark.parametrize("state", [UpdateState.ROLLED_BACK, UpdateState.FAILED])
def test_an_inconclusive_trial_is_doubt_whatever_state_it_ended_in(state):
    assert event_of(report(state, reason=Reason.INCONCLUSIVE)) is E.DOUBT


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (UpdateState.REJECTED, E.REJECT),
        (UpdateState.FAILED, E.FAIL),
        (UpdateState.ROLLED_BACK, E.ROLL_BACK),
        (UpdateState.SUPERSEDED, E.TURN_AWAY),
        (UpdateState.FETCHING, E.PROGRESS),
    ],
)
def test_what_a_device_reports_has_one_meaning(state, event):
    assert event_of(report(state, reason=Reason.GOLDEN)) is event


def test_every_state_a_device_can_report_means_something():
    assert {event_of(report(state)) for state in UpdateState} <= set(E)


def test_reports_add_up_in_any_order():
    reports = [
        report(UpdateState.TRIAL, Evidence(inferences=20, errors=0, memory_bytes=7)),
        report(UpdateState.COMMITTED, Evidence(inferences=25, errors=0, memory_bytes=9)),
        report(UpdateState.FETCHING),
    ]
    proofs = set()
    for order in itertools.permutations(reports):
        proof = Proof()
        for one in (*order, *order):
            proof = with_report(proof, one)
        proofs.add((proof.inferences, proof.errors, proof.memory_bytes, proof.committed))
    assert proofs == {(25, 0, 9, True)}
