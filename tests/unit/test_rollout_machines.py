"""The two tables: what is legal, what is not, and where everything ends."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.protocol.messages import Evidence, Reason, Report, UpdateState
from edgeops.rollout import installation, rollout
from edgeops.rollout.evidence import Fail, Pass, Proof, Wait
from edgeops.rollout.installation import (
    Illegal,
    InstallationCommand,
    InstallationEvent,
    InstallationState,
    Lasting,
    counted,
    counters,
    is_asked_again,
    is_final,
    is_lost,
    is_over,
    lasting,
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


@pytest.mark.parametrize("state", RolloutState)
def test_a_failed_wave_is_taken_back_from_all_unless_every_wave_had_passed(state):
    passed = {"finished", "finished-with-regressions", "live"}
    event = RolloutEvent.WAVE_FAILED if state in passed else RolloutEvent.ROLL_BACK
    assert rollout.failing(state, roll_back=True, holders=True) is event


def test_a_step_for_which_nobody_gives_a_reason_leaves_none():
    after, _ = rollout.step(Rollout(RolloutState.RUNNING, 0, 2, "before"), RolloutEvent.PAUSE)
    assert (after.state, after.reason) == (RolloutState.PAUSED, "")


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


ENDED = frozenset(RolloutState) - rollout.OPEN
ABANDONED = ENDED - rollout.PASSED


@pytest.mark.parametrize("state", sorted(ABANDONED))
def test_a_rollout_that_ended_badly_takes_no_event(state):
    assert not any(rollout.allows(state, event) for event in RolloutEvent)


@pytest.mark.parametrize("state", sorted(rollout.OPEN))
def test_every_open_state_has_a_deadline_or_a_person_to_act(state):
    waiting = rollout.waits_for(state)
    assert waiting is not None
    assert waiting.words
    assert waiting.deadline or waiting.people
    for event in (waiting.deadline, *waiting.people):
        assert event is None or rollout.allows(state, event), event


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_waits_for_nothing(state):
    assert rollout.waits_for(state) is None


@pytest.mark.parametrize("state", sorted(rollout.OPEN))
def test_every_open_rollout_can_come_to_an_end(state):
    seen, ahead = set(), {state}
    while ahead:
        seen |= ahead
        ahead = {after for (before, _), (after, _) in rollout.TABLE.items() if before in ahead} - seen
    assert seen & ENDED


def test_every_state_is_reached_from_a_draft():
    seen, ahead = set(), {RolloutState.DRAFT}
    while ahead:
        seen |= ahead
        ahead = {after for (before, _), (after, _) in rollout.TABLE.items() if before in ahead} - seen
    assert seen == set(RolloutState)


def test_a_finished_rollout_goes_on_asking_and_may_be_told_to_ask_nobody_more_or_be_taken_back():
    assert {event for event in RolloutEvent if rollout.allows(RolloutState.FINISHED, event)} == {
        RolloutEvent.DEVICES_READY,
        RolloutEvent.RETRY,
        RolloutEvent.REGRESSED,
        RolloutEvent.WAVE_FAILED,
        RolloutEvent.GO_LIVE,
        RolloutEvent.ABORT,
        RolloutEvent.ROLL_BACK,
    }


@pytest.mark.parametrize("event", [RolloutEvent.REGRESSED, RolloutEvent.WAVE_FAILED])
def test_a_finished_rollout_that_loses_devices_asks_nobody_until_a_person_has_it_go_on(event):
    after, command = rollout.step(Rollout(RolloutState.FINISHED, 1, 2, "proof"), event, reason="2 of 2 fell back")
    assert (after.state, after.reason) == (RolloutState.FINISHED_WITH_REGRESSIONS, "2 of 2 fell back")
    assert command is RolloutCommand.NONE
    assert after.state not in rollout.ASKING
    asking = {one for one in RolloutEvent if rollout.TABLE.get((after.state, one), (0, 0))[1] == "offer-wave"}
    assert asking == {RolloutEvent.RESUME, RolloutEvent.RETRY}
    again, command = rollout.step(after, RolloutEvent.RESUME, reason="resumed by me")
    assert (again, command) == (Rollout(RolloutState.FINISHED, 1, 2, "resumed by me"), RolloutCommand.OFFER_WAVE)


def test_devices_that_come_late_are_asked_where_every_wave_passed_and_nothing_was_lost_since():
    assert {RolloutState.FINISHED, RolloutState.LIVE} == rollout.ASKING_LATE
    assert {RolloutState.RUNNING, *rollout.ASKING_LATE} == rollout.ASKING


def test_a_draft_begins_with_or_without_an_approval():
    assert rollout.submitting(needs_approval=True) is RolloutEvent.ASK_APPROVAL
    assert rollout.submitting(needs_approval=False) is RolloutEvent.SUBMIT


def test_a_rollout_is_due_when_its_time_has_come_or_none_was_set():
    assert rollout.is_due(None, NOW)
    assert rollout.is_due(NOW, NOW)
    assert not rollout.is_due(NOW.replace(hour=13), NOW)


@pytest.mark.parametrize(
    ("state", "roll_back", "holders", "event"),
    [
        (RolloutState.RUNNING, True, True, RolloutEvent.ROLL_BACK),
        (RolloutState.RUNNING, True, False, RolloutEvent.WAVE_FAILED),
        (RolloutState.RUNNING, False, True, RolloutEvent.WAVE_FAILED),
        (RolloutState.LIVE, True, True, RolloutEvent.WAVE_FAILED),
        (RolloutState.FINISHED, True, True, RolloutEvent.WAVE_FAILED),
    ],
)
def test_a_wave_that_fails_is_taken_back_where_somebody_has_the_model(state, roll_back, holders, event):
    assert rollout.failing(state, roll_back=roll_back, holders=holders) is event


def test_a_live_rollout_that_loses_too_many_pauses_for_a_person():
    after, command = rollout.step(Rollout(RolloutState.LIVE, 1, 2), RolloutEvent.WAVE_FAILED, reason="why")
    assert (after.state, after.reason, command) == (RolloutState.PAUSED, "why", RolloutCommand.NONE)


def test_what_has_just_finished_goes_live_or_tells_its_regressions():
    finished = RolloutState.FINISHED
    assert rollout.following(finished, continuous=True, regressed=1) is RolloutEvent.GO_LIVE
    assert rollout.following(finished, continuous=False, regressed=1) is RolloutEvent.REGRESSED
    assert rollout.following(finished, continuous=False, regressed=0) is None
    assert rollout.following(RolloutState.RUNNING, continuous=True, regressed=1) is None


def test_a_rollout_that_runs_needs_no_reason():
    for event in (RolloutEvent.RESUME, RolloutEvent.RETRY):
        after, _ = rollout.step(Rollout(RolloutState.PAUSED, 0, 2, "why"), event, reason="resumed by me")
        assert after == Rollout(RolloutState.RUNNING, 0, 2)


def test_a_paused_rollout_goes_on_where_it_was():
    assert rollout.resuming(passed=False) is RolloutEvent.RESUME
    assert rollout.resuming(passed=True) is RolloutEvent.RESUME_LIVE


def test_an_override_leads_to_the_next_wave_or_to_the_end():
    assert rollout.overriding(FIRST_OF_TWO) is RolloutEvent.ADVANCE
    assert rollout.overriding(LAST_OF_TWO) is RolloutEvent.ADVANCE_LAST
    after, _ = rollout.step(Rollout(RolloutState.PAUSED, 0, 2, "why"), RolloutEvent.ADVANCE, reason="I know it")
    assert (after.state, after.wave, after.reason) == (RolloutState.RUNNING, 1, "")


def test_taking_back_ends_with_the_devices_or_with_the_deadline():
    for event in (RolloutEvent.TAKEN_BACK, RolloutEvent.EXPIRE):
        after, _ = rollout.step(Rollout(RolloutState.ROLLING_BACK, 0, 2, "why"), event, reason="done")
        assert (after.state, after.reason) == (RolloutState.ROLLED_BACK, "done")


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


@pytest.mark.parametrize("state", sorted(rollout.OPEN - {RolloutState.ROLLING_BACK}))
@pytest.mark.parametrize("event", [RolloutEvent.ABORT, RolloutEvent.SUPERSEDED, RolloutEvent.MODEL_WITHDRAWN])
def test_every_open_rollout_can_be_ended_and_its_offers_are_taken_back(state, event):
    after, command = rollout.step(Rollout(state, 0, 2), event, reason="why")
    assert after.state in ABANDONED
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
        E.TIME_OUT,
    }


def test_only_the_server_leads_out_of_an_end():
    of_server = {E.RETRY, E.PASS, E.RECALL, E.REGRESS}
    left = {event for (before, event), (after, _) in installation.TABLE.items() if is_final(before) and after != before}
    assert left == of_server


def test_a_model_is_taken_back_from_devices_that_have_it_and_only_from_them():
    taken = {state for state in S if not isinstance(installation.step(state, E.RECALL), Illegal)}
    assert taken == {S.COMMITTED, S.HEALTHY, S.REGRESSED}
    assert installation.step(S.HEALTHY, E.RECALL) == (S.ROLLED_BACK, InstallationCommand.RESTORE)


def test_a_device_that_was_never_online_since_it_was_asked_is_asked_anew():
    assert installation.step(S.OFFERED, E.MISS) == (S.RETRIED, InstallationCommand.RESTORE)
    assert isinstance(installation.step(S.INSTALLING, E.MISS), Illegal)


@pytest.mark.parametrize("state", sorted(installation.BAD - {S.TIMED_OUT}))
def test_whatever_ended_badly_can_be_asked_again(state):
    assert installation.step(state, E.RETRY) == (S.RETRIED, InstallationCommand.NONE)


def test_the_offer_of_a_device_that_timed_out_is_taken_back_before_it_is_asked_again():
    assert installation.step(S.TIMED_OUT, E.RETRY) == (S.RETRIED, InstallationCommand.RESTORE)


@pytest.mark.parametrize("event", [E.COMMIT, E.FAIL, E.REJECT, E.ROLL_BACK, E.DOUBT, E.PROGRESS])
def test_what_is_said_of_an_attempt_that_was_given_up_decides_nothing(event):
    assert installation.step(S.RETRIED, event) == (S.RETRIED, InstallationCommand.NONE)


def test_counters_of_a_wave_follow_its_installations():
    assert counters(S.PENDING, S.OFFERED) == {"offered": 1}
    assert counters(S.OFFERED, S.INSTALLING) == {}
    assert counters(S.INSTALLING, S.ROLLED_BACK) == {"failed": 1}
    assert counters(S.INSTALLING, S.TIMED_OUT) == {"failed": 1}
    assert counters(S.TIMED_OUT, S.COMMITTED) == {"failed": -1, "committed": 1}
    assert counters(S.COMMITTED, S.HEALTHY) == {}
    assert counters(S.HEALTHY, S.REGRESSED) == {"committed": -1, "regressed": 1}
    assert counters(S.OFFERED, S.SUPERSEDED) == {"offered": -1}


def test_a_device_that_is_asked_again_goes_on_counting_as_asked():
    assert counters(S.FAILED, S.RETRIED) == {"failed": -1, "offered": -1}
    assert counted(S.PENDING, again=True) == {"offered"}
    assert counters(S.PENDING, S.OFFERED, again=True) == {}
    assert counters(S.PENDING, S.TIMED_OUT, again=True) == {"failed": 1}
    assert counters(S.PENDING, S.SUPERSEDED, again=True) == {"offered": -1}


def test_every_reason_is_transient_permanent_or_no_end():
    by_kind = {kind: {reason for reason in Reason if lasting(reason) is kind} for kind in Lasting}
    assert by_kind[Lasting.TRANSIENT] == {Reason.FETCH, Reason.DISK, Reason.INCONCLUSIVE}
    assert by_kind[Lasting.NO_END] == {Reason.NONE, Reason.NEWER, Reason.WINDOW, Reason.HELD}


@pytest.mark.parametrize(
    ("state", "reason", "attempt", "again"),
    [
        (S.FAILED, Reason.FETCH, 1, True),
        (S.FAILED, Reason.DISK, 2, True),
        (S.FAILED, Reason.DISK, 3, False),
        (S.FAILED, Reason.GOLDEN, 1, False),
        (S.ROLLED_BACK, Reason.INFERENCE, 1, False),
        (S.INCONCLUSIVE, Reason.INCONCLUSIVE, 1, True),
        (S.TIMED_OUT, Reason.NONE, 1, True),
        (S.SUPERSEDED, Reason.DISK, 1, False),
        (S.COMMITTED, Reason.FETCH, 1, False),
    ],
)
def test_a_device_is_asked_again_where_that_may_help_and_tries_are_left(state, reason, attempt, again):
    assert is_asked_again(state, reason, attempt=attempt, policy=Policy(retries=2)) is again


def test_a_device_must_end_in_time_and_be_heard_in_between():
    policy = Policy(offer_timeout=timedelta(minutes=15), progress_timeout=timedelta(minutes=10))
    first = installation.asked(policy, NOW)
    assert first.next == NOW + timedelta(minutes=10)
    later = installation.heard(first, policy, NOW + timedelta(minutes=9), waits=False)
    assert (later.next, later.asked_at) == (NOW + timedelta(minutes=15), NOW)


def test_a_device_that_waits_for_its_window_gets_more_time_but_not_for_ever():
    policy = Policy(offer_timeout=timedelta(minutes=15), progress_timeout=timedelta(minutes=10))
    deadlines = installation.asked(policy, NOW)
    at = NOW + timedelta(days=7)
    waiting = installation.heard(deadlines, policy, at, waits=True)
    assert waiting.ends_by == at + timedelta(minutes=15)
    at = NOW + limits.LONGEST_HOLD
    assert installation.heard(waiting, policy, at, waits=True).ends_by == at


def test_a_device_that_waits_is_not_lost_between_two_of_its_reports_however_short_the_policy_is():
    policy = Policy(offer_timeout=timedelta(seconds=20), progress_timeout=timedelta(seconds=30))
    first = installation.asked(policy, NOW)
    waiting = installation.heard(first, policy, NOW, waits=True)
    assert waiting.ends_by == waiting.heard_by == NOW + limits.SILENCE_TIMEOUT


def test_a_device_at_work_is_not_lost_between_two_of_its_reports_however_short_its_time_for_progress_is():
    policy = Policy(offer_timeout=timedelta(minutes=10), progress_timeout=timedelta(seconds=30))
    first = installation.asked(policy, NOW)
    again = installation.heard(first, policy, NOW + limits.REPORT_INTERVAL, waits=False)
    assert first.next == NOW + limits.QUIET_WORK > NOW + limits.REPORT_INTERVAL
    assert again.next == first.next + limits.REPORT_INTERVAL


def test_a_device_at_work_must_end_in_time_however_short_that_is():
    policy = Policy(offer_timeout=timedelta(seconds=20), progress_timeout=timedelta(seconds=30))
    at_work = installation.heard(installation.asked(policy, NOW), policy, NOW, waits=False)
    assert at_work.next == NOW + timedelta(seconds=20)


def test_a_device_that_waits_has_the_time_of_the_policy_where_that_is_longer():
    policy = Policy(offer_timeout=timedelta(hours=2), progress_timeout=timedelta(hours=1))
    waiting = installation.heard(installation.asked(policy, NOW), policy, NOW + timedelta(hours=1), waits=True)
    assert waiting.ends_by == NOW + timedelta(hours=3)
    assert waiting.heard_by == NOW + timedelta(hours=2)


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


def test_a_device_that_failed_or_regressed_did_not_keep_the_model():
    lost = {S.FAILED, S.REJECTED, S.ROLLED_BACK, S.TIMED_OUT, S.REGRESSED}
    assert {state for state in S if is_lost(state) is True} == lost
    assert {state for state in S if is_lost(state) is False} == set(S) - lost


def test_what_a_device_shows_counts_no_more_once_it_ended_without_the_model():
    goes_on = {S.PENDING, S.OFFERED, S.INSTALLING, S.COMMITTED, S.HEALTHY, S.TIMED_OUT}
    assert {state for state in S if is_over(state) is False} == goes_on
    assert {state for state in S if is_over(state) is True} == set(S) - goes_on


def test_nothing_was_asked_of_a_device_before_a_rollout_runs():
    unbegun = {
        state for state in RolloutState if state in {"draft", "awaiting-approval", "scheduled", "awaiting-blessing"}
    }
    assert unbegun == rollout.UNBEGUN
    assert FIRST_OF_TWO.reason == ""


@pytest.mark.parametrize(
    ("state", "words", "deadline", "people"),
    [
        ("draft", "its author, who submits it", "expire", {"submit", "ask-approval"}),
        ("awaiting-approval", "an approver, who approves or denies it", "expire", {"approve", "deny"}),
        ("scheduled", "its time", "start", set()),
        ("awaiting-blessing", "benchmarks of its devices; the reason names them", "expire", set()),
        ("running", "the proof of its present wave", "evidence-missing", set()),
        (
            "paused",
            "a person, who resumes, advances, retries or aborts it",
            None,
            {"resume", "resume-live", "advance", "advance-last", "retry", "abort", "roll-back"},
        ),
        ("rolling-back", "devices, which tell that they run something else", "expire", set()),
        ("live", "devices that join the fleet; a person ends it", None, {"pause", "abort", "roll-back"}),
    ],
)
def test_every_state_that_is_no_end_names_what_leads_out_of_it(state, words, deadline, people):
    waiting = rollout.waits_for(RolloutState(state))
    assert (waiting.words, waiting.deadline, set(waiting.people)) == (words, deadline, people)
