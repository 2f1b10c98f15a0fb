"""What the update machine makes of every outcome, of a restart in every state, and what of it is kept."""

from datetime import timedelta

import msgspec
import pytest

from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.protocol.messages import DesiredDeployment, Evidence, Reason, UpdateState
from edgeops.update import events, machine
from edgeops.update.machine import Command
from edgeops.update.update import (
    RESTING,
    Shown,
    Update,
    Wanted,
    committed,
    evidence_report,
    final_report,
    is_tried,
    report_key,
)

S = UpdateState
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
WANTED = Wanted(epoch=1, revision=7, target="models/gas/1-int8.json", digest=DIGEST, installation="inst-1")
NEXT = Wanted(epoch=1, revision=8, target="models/gas/2-int8.json", digest=OTHER, installation="inst-2")
NOTHING = Wanted(epoch=1, revision=8, target=None, digest=None, installation=None)
UNDER_WAY = (S.FETCHING, S.VERIFYING, S.STAGED, S.PROBING, S.TRIAL)
ENDS = (S.COMMITTED, S.REJECTED, S.FAILED, S.ROLLED_BACK, S.SUPERSEDED)
EVIDENCE = Evidence(inferences=20, errors=0)


def update_in(state, **values):
    return Update(**({"state": state, "wanted": WANTED, "mark": (1, 7), "reported": False} | values))


# -- outcomes -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.FETCHING, S.VERIFYING, S.PROBING])
def test_what_may_not_run_ends_rejected_and_tells_why(state):
    after, command = machine.step(update_in(state), events.Refused(Reason.DIGEST, "other bytes"))
    assert (after.state, command) == (S.REJECTED, Command.REPORT)
    assert (after.reason, after.detail, after.reported) == (Reason.DIGEST, "other bytes", False)


@pytest.mark.parametrize("state", [S.FETCHING, S.VERIFYING, S.STAGED, S.PROBING])
def test_what_cannot_be_brought_to_run_ends_failed_and_tells_why(state):
    after, command = machine.step(update_in(state), events.Failed(Reason.DISK, "no space"))
    assert (after.state, command) == (S.FAILED, Command.REPORT)
    assert (after.reason, after.detail, after.reported) == (Reason.DISK, "no space", False)


@pytest.mark.parametrize("state", [S.VERIFYING, S.STAGED])
def test_bytes_that_turn_out_damaged_are_fetched_again_and_the_attempt_counts(state):
    after, command = machine.step(update_in(state, attempts=2), events.FetchFailed("damaged"))
    assert (after.state, command) == (S.FETCHING, Command.FETCH)
    assert (after.attempts, after.detail) == (3, "damaged")


def test_blocks_that_did_not_come_are_waited_for_and_the_attempt_counts():
    after, command = machine.step(update_in(S.FETCHING), events.FetchFailed("late"))
    assert (after.state, command, after.attempts) == (S.FETCHING, Command.WAIT, 1)


@pytest.mark.parametrize("state", [S.FETCHING, S.PROBING])
def test_a_server_that_is_away_is_waited_for_and_costs_no_attempt(state):
    before = update_in(state, attempts=1)
    assert machine.step(before, events.NoContact()) == (before, Command.WAIT)


@pytest.mark.parametrize(
    ("state", "event", "then", "command"),
    [
        (S.FETCHING, events.Fetched(), S.VERIFYING, Command.VERIFY),
        (S.VERIFYING, events.Verified(), S.STAGED, Command.STAGE),
        (S.STAGED, events.Staged(), S.PROBING, Command.PROBE),
        (S.PROBING, events.ProbePassed(), S.PROBING, Command.CHECK_LISTED),
        (S.PROBING, events.Listed(), S.TRIAL, Command.START_TRIAL),
        (S.TRIAL, events.TrialPassed(EVIDENCE), S.TRIAL, Command.SEND_EVIDENCE),
        (S.TRIAL, events.EvidenceSpooled(4), S.TRIAL, Command.NONE),
        (S.COMMITTED, events.Settled(), S.COMMITTED, Command.REPORT),
        (S.ROLLED_BACK, events.Settled(), S.ROLLED_BACK, Command.REPORT),
    ],
)
def test_a_good_update_takes_every_step_in_its_order(state, event, then, command):
    after, commanded = machine.step(update_in(state, evidence=EVIDENCE), event)
    assert (after.state, commanded) == (then, command)


def test_what_a_good_trial_leaves_behind_is_kept_until_the_end():
    update, _ = machine.step(update_in(S.TRIAL), events.TrialPassed(EVIDENCE))
    update, _ = machine.step(update, events.EvidenceSpooled(4))
    update, command = machine.step(update, events.Acknowledged())
    assert (update.state, command) == (S.COMMITTED, Command.COMMIT)
    assert (update.evidence, update.evidence_seq) == (EVIDENCE, 4)
    assert (update.reason, update.detail, update.reported) == (Reason.NONE, "", False)


def test_a_trial_that_failed_is_rolled_back_with_what_it_saw():
    evidence = Evidence(inferences=3, errors=1)
    after, command = machine.step(update_in(S.TRIAL), events.TrialFailed(Reason.INFERENCE, "it broke", evidence))
    assert (after.state, command) == (S.ROLLED_BACK, Command.ROLL_BACK)
    assert (after.reason, after.detail, after.evidence) == (Reason.INFERENCE, "it broke", evidence)


def test_what_a_model_showed_before_it_was_committed_is_told_again_where_it_is_active_already():
    committed, _ = machine.step(update_in(S.TRIAL, evidence=EVIDENCE), events.Acknowledged())
    assert committed.shown == Shown(digest=DIGEST, evidence=EVIDENCE, asked=(1, 7))
    rested = msgspec.structs.replace(committed, reported=True)
    same = msgspec.structs.replace(NEXT, digest=DIGEST)
    assert machine.step(rested, events.AlreadyActive(same))[0].evidence == EVIDENCE
    assert machine.step(rested, events.AlreadyActive(NEXT))[0].evidence is None, "that was another model"
    assert machine.step(update_in(S.IDLE, reported=True), events.AlreadyActive(same))[0].evidence is None


@pytest.mark.parametrize(
    "event",
    [events.Started(NEXT), events.AlreadyActive(msgspec.structs.replace(NEXT, digest=DIGEST)), events.Lost()],
)
def test_what_the_model_committed_last_showed_outlives_what_comes_after(event):
    shown = Shown(digest=DIGEST, evidence=EVIDENCE)
    assert machine.step(update_in(S.COMMITTED, reported=True, shown=shown), event)[0].shown == shown


def test_what_a_model_showed_is_forgotten_where_another_one_is_active_already():
    shown = Shown(digest=DIGEST, evidence=EVIDENCE)
    update = update_in(S.COMMITTED, reported=True, shown=shown)
    assert machine.step(update, events.AlreadyActive(NEXT))[0].shown is None


def test_what_shall_run_no_more_is_forgotten_as_committed():
    update = update_in(S.COMMITTED, reported=True, shown=Shown(digest=DIGEST, evidence=EVIDENCE))
    assert committed(update) == DIGEST
    assert committed(machine.step(update, events.Emptied(NOTHING))[0]) is None


def test_committed_last_is_what_is_desired_where_it_rests_committed_and_else_what_the_last_trial_was_of():
    shown = Shown(digest=OTHER, evidence=EVIDENCE)
    assert committed(update_in(S.COMMITTED, shown=shown)) == DIGEST
    for state in set(S) - {S.COMMITTED}:
        assert committed(update_in(state, shown=shown)) == OTHER
        assert committed(update_in(state)) is None


def test_a_probe_that_passed_is_not_run_again():
    after, _ = machine.step(update_in(S.PROBING), events.ProbePassed())
    assert after.probed
    assert machine.resume(after) is Command.CHECK_LISTED


def test_a_committed_model_that_is_lost_is_fetched_anew_and_nothing_of_its_first_trial_counts():
    committed = update_in(
        S.COMMITTED, next=NEXT, reported=True, boots=2, evidence=EVIDENCE, evidence_seq=4, probed=True
    )
    after, command = machine.step(committed, events.Lost())
    assert (after.state, command) == (S.FETCHING, Command.FETCH)
    assert (after.wanted, after.next, after.mark, after.reported) == (WANTED, NEXT, (1, 7), False)
    assert (after.boots, after.evidence, after.evidence_seq, after.probed) == (0, None, None, False)


def test_each_loss_gives_the_reports_of_what_follows_other_names():
    lost = machine.step(update_in(S.COMMITTED, reported=True), events.Lost())[0]
    again = machine.step(msgspec.structs.replace(lost, state=S.COMMITTED, reported=True), events.Lost())[0]
    names = [report_key("gas", update) for update in (update_in(S.FETCHING), lost, again)]
    assert names == ["gas/1.7.0/final", "gas/1.7.1/final", "gas/1.7.2/final"]


# -- what is desired ------------------------------------------------------------------------


@pytest.mark.parametrize("state", UNDER_WAY)
def test_something_newer_supersedes_an_update_in_every_state_under_way(state):
    event = machine.desired(update_in(state), NEXT, active=None)
    assert event == events.Superseded(NEXT)
    after, command = machine.step(update_in(state), event)
    assert (after.state, command) == (S.SUPERSEDED, Command.REPORT)
    assert (after.wanted, after.next, after.mark) == (WANTED, NEXT, (1, 8))
    assert (after.reason, after.detail, after.reported) == (Reason.NEWER, "superseded by revision 8", False)


@pytest.mark.parametrize("state", [S.IDLE, *ENDS])
def test_a_deployment_at_rest_begins_with_what_is_desired(state):
    before = update_in(state, reported=True, attempts=3, boots=2, reason=Reason.FETCH, detail="late", probed=True)
    event = machine.desired(before, NEXT, active=DIGEST)
    assert event == events.Started(NEXT)
    assert machine.step(before, event) == (
        Update(state=S.FETCHING, wanted=NEXT, mark=(1, 8), reported=False),
        Command.FETCH,
    )


@pytest.mark.parametrize("state", [S.IDLE, *ENDS])
def test_a_model_that_is_active_already_is_only_reported(state):
    before = update_in(state, reported=True)
    event = machine.desired(before, NEXT, active=OTHER)
    assert event == events.AlreadyActive(NEXT)
    after, command = machine.step(before, event)
    assert (after.state, command) == (S.COMMITTED, Command.REPORT)
    assert (after.wanted, after.mark, after.reported, after.detail) == (NEXT, (1, 8), False, "already active")


@pytest.mark.parametrize("state", [S.IDLE, *ENDS])
def test_where_nothing_is_desired_nothing_runs_and_nobody_waits_for_a_report(state):
    before = update_in(state, reported=True)
    event = machine.desired(before, NOTHING, active=DIGEST)
    assert event == events.Emptied(NOTHING)
    after, command = machine.step(before, event)
    assert (after.state, command) == (S.IDLE, Command.CLEAR)
    assert (after.wanted, after.mark, after.reported) == (NOTHING, (1, 8), True)
    assert final_report("gas", after) is None


@pytest.mark.parametrize("state", ENDS)
def test_what_comes_before_the_final_report_is_spooled_waits_for_it(state):
    owing = update_in(state)
    waiting, command = machine.step(owing, machine.desired(owing, NEXT, active=None))
    assert (waiting.state, waiting.next, waiting.mark, command) == (state, NEXT, (1, 8), Command.NONE)
    assert (waiting.reported, waiting.reported_in) == (False, "")
    reported, command = machine.step(waiting, events.Reported("a1"))
    assert (reported.state, reported.reported, reported.next, command) == (state, True, NEXT, Command.TAKE_NEXT)
    assert reported.reported_in == "a1"


@pytest.mark.parametrize("state", list(UpdateState))
def test_a_newer_revision_that_asks_for_the_same_disturbs_nothing_in_any_state(state):
    before = update_in(state)
    again = msgspec.structs.replace(WANTED, revision=9)
    assert machine.step(before, machine.desired(before, again, active=None)) == (
        msgspec.structs.replace(before, mark=(1, 9)),
        Command.NONE,
    )


def test_what_waits_is_what_a_newer_revision_is_compared_with():
    before = update_in(S.SUPERSEDED, next=NEXT, mark=(1, 8))
    again = msgspec.structs.replace(NEXT, revision=9)
    assert machine.desired(before, again, active=None) == events.Renewed(again)
    back = msgspec.structs.replace(WANTED, revision=9)
    assert machine.desired(before, back, active=None) == events.Postponed(back)


@pytest.mark.parametrize("mark", [(1, 7), (1, 8), (2, 0)])
def test_what_is_not_newer_than_what_was_taken_in_is_no_event(mark):
    other = msgspec.structs.replace(NEXT, revision=7)
    assert machine.desired(update_in(S.IDLE, mark=mark, reported=True), other, active=None) is None


@pytest.mark.parametrize("field", ["target", "digest", "installation"])
def test_another_target_digest_or_installation_is_not_the_same(field):
    assert WANTED.asks_the_same(msgspec.structs.replace(WANTED, revision=9))
    assert not WANTED.asks_the_same(msgspec.structs.replace(WANTED, **{field: "another"}))


def test_a_later_epoch_is_a_newer_mark_whatever_its_revision():
    late = msgspec.structs.replace(WANTED, epoch=2, revision=0)
    after, _ = machine.step(update_in(S.TRIAL), machine.desired(update_in(S.TRIAL), late, active=None))
    assert after.mark == (2, 0)


# -- a restart ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (S.IDLE, Command.CLEAR),
        (S.FETCHING, Command.FETCH),
        (S.VERIFYING, Command.VERIFY),
        (S.STAGED, Command.STAGE),
        (S.PROBING, Command.PROBE),
        (S.TRIAL, Command.START_TRIAL),
        (S.COMMITTED, Command.COMMIT),
        (S.REJECTED, Command.REPORT),
        (S.FAILED, Command.REPORT),
        (S.ROLLED_BACK, Command.ROLL_BACK),
        (S.SUPERSEDED, Command.REPORT),
    ],
)
def test_after_a_restart_the_act_of_the_persisted_state_is_done_again(state, command):
    assert machine.resume(update_in(state)) is command


@pytest.mark.parametrize("state", ENDS)
def test_after_a_restart_a_reported_end_turns_to_what_waits(state):
    assert machine.resume(update_in(state, reported=True, next=NEXT)) is Command.TAKE_NEXT


@pytest.mark.parametrize("state", ENDS)
def test_an_end_whose_report_went_with_its_spool_is_reported_once_more_before_anything_else(state):
    update = update_in(state, reported=True, reported_in="a1", next=NEXT, detail="as it was")
    assert machine.loss_of_report(update, spool="a1") is None
    lost = machine.loss_of_report(update, spool="b2")
    assert lost == events.ReportLost()
    after, command = machine.step(update, lost)
    assert command is Command.REPORT
    assert after == msgspec.structs.replace(update, reported=False)


@pytest.mark.parametrize("state", S)
def test_what_is_not_reported_yet_was_lost_with_no_spool(state):
    assert machine.loss_of_report(update_in(state, reported_in="a1"), spool="b2") is None


@pytest.mark.parametrize("state", [S.IDLE, *UNDER_WAY])
def test_what_is_no_end_owes_no_spool_a_report(state):
    assert machine.loss_of_report(update_in(state, reported=True, reported_in="a1"), spool="b2") is None


def test_after_a_restart_complete_evidence_is_sent_and_not_gathered_again():
    assert machine.resume(update_in(S.TRIAL, evidence=EVIDENCE)) is Command.SEND_EVIDENCE


def test_a_deployment_that_never_was_told_anything_does_nothing_after_a_restart():
    assert machine.resume(Update()) is Command.NONE


@pytest.mark.parametrize(
    ("evidence", "event", "command"),
    [(None, events.Booted(), Command.START_TRIAL), (EVIDENCE, events.BootedAwaitingAck(), Command.SEND_EVIDENCE)],
)
def test_a_start_in_trial_counts_and_goes_on_where_the_trial_was(evidence, event, command):
    before = update_in(S.TRIAL, boots=1, evidence=evidence, evidence_seq=4)
    assert machine.boot(before) == event
    after, commanded = machine.step(before, event)
    assert (after.state, after.boots, after.evidence, commanded) == (S.TRIAL, 2, evidence, command)
    assert after.evidence_seq is None, "a number in a spool that may be gone"


def test_a_trial_that_saw_too_many_starts_says_how_many():
    assert machine.boot(update_in(S.TRIAL, boots=limits.TRIAL_BOOTS - 1)) == events.Booted()
    verdict = machine.boot(update_in(S.TRIAL, boots=limits.TRIAL_BOOTS, evidence=EVIDENCE))
    assert verdict == events.TrialFailed(
        Reason.TRIAL_BOOTS, f"the agent started {limits.TRIAL_BOOTS + 1} times while this model was in trial", EVIDENCE
    )


def test_a_start_in_mid_probe_counts_and_the_probe_begins_anew():
    before = update_in(S.PROBING, boots=1)
    assert machine.boot(before) == events.Booted()
    after, commanded = machine.step(before, events.Booted())
    assert (after.state, after.boots, commanded) == (S.PROBING, 2, Command.PROBE)


def test_a_probe_that_saw_too_many_starts_failed_and_says_how_many():
    verdict = machine.boot(update_in(S.PROBING, boots=limits.TRIAL_BOOTS))
    words = f"the agent started {limits.TRIAL_BOOTS + 1} times while this model was probed"
    assert verdict == events.Failed(Reason.PROBE, words)


def test_starts_in_the_probe_are_not_held_against_the_trial():
    after, _ = machine.step(update_in(S.PROBING, boots=2, probed=True), events.Listed())
    assert (after.state, after.boots) == (S.TRIAL, 0)


@pytest.mark.parametrize(
    ("state", "probed", "tried"),
    [(S.PROBING, False, True), (S.PROBING, True, False), (S.TRIAL, True, True), (S.STAGED, False, False)],
)
def test_a_candidate_is_tried_in_its_probe_and_its_trial(state, probed, tried):
    assert is_tried(update_in(state, probed=probed)) is tried


# -- conditions -----------------------------------------------------------------------------


def test_the_last_failed_fetch_says_how_often_it_was_tried():
    update = update_in(S.FETCHING, attempts=limits.FETCH_ATTEMPTS - 1)
    verdict = machine.fetch_failure(update, "late")
    assert verdict == events.Failed(Reason.FETCH, f"late; gave up after {limits.FETCH_ATTEMPTS} attempts")
    one_left = update_in(S.FETCHING, attempts=limits.FETCH_ATTEMPTS - 2)
    assert machine.fetch_failure(one_left, "late") == events.FetchFailed("late")


def judged(seen, *, quiet=timedelta(0), **values):
    return machine.trial_verdict(update_in(S.TRIAL, **values), seen, detail="it broke", quiet=quiet)


def test_one_error_ends_a_trial_also_while_its_ack_is_waited_for():
    bad = Evidence(inferences=19, errors=1)
    failed = events.TrialFailed(Reason.INFERENCE, "it broke", bad)
    assert judged(bad) == judged(bad, evidence=EVIDENCE) == failed


def test_a_trial_passes_once_it_has_answered_as_often_as_was_asked():
    wanted = msgspec.structs.replace(WANTED, trial_inferences=3)
    assert judged(Evidence(inferences=2, errors=0), wanted=wanted) is None
    enough = Evidence(inferences=3, errors=0)
    assert judged(enough, wanted=wanted) == events.TrialPassed(enough)
    assert judged(enough, wanted=wanted, evidence=enough) is None, "it has passed, and waits for its ack"


@pytest.mark.parametrize(
    ("kept", "missing", "told"),
    [
        (None, "input for 10 minutes: it broke", Evidence(inferences=3, errors=0)),
        (EVIDENCE, "contact to the server for 10 minutes", EVIDENCE),
    ],
)
def test_a_silent_trial_ends_inconclusive_and_says_what_was_missing(kept, missing, told):
    seen = Evidence(inferences=3, errors=0)
    almost = limits.TRIAL_TIMEOUT - timedelta(microseconds=1)
    assert judged(seen, quiet=almost, evidence=kept) is None
    assert judged(seen, quiet=limits.TRIAL_TIMEOUT, evidence=kept) == events.TrialFailed(
        Reason.INCONCLUSIVE, f"no {missing}", told
    )


def test_what_a_state_allows_is_what_the_table_lists():
    assert machine.allows(update_in(S.TRIAL), events.Acknowledged)
    assert not machine.allows(update_in(S.PROBING), events.Acknowledged)


# -- reports --------------------------------------------------------------------------------


def test_a_wanted_model_is_what_the_desired_state_says_of_its_deployment():
    desired = DesiredDeployment(
        deployment="gas", target="models/gas/1-int8.json", digest=DIGEST, installation="inst-1", trial_inferences=5
    )
    assert Wanted.of(desired, epoch=1, revision=7) == msgspec.structs.replace(WANTED, trial_inferences=5)
    nothing = DesiredDeployment(deployment="gas", target=None, digest=None)
    assert Wanted.of(nothing, epoch=1, revision=8) == NOTHING


def test_a_final_report_says_how_it_ended_and_what_the_trial_saw():
    ended = update_in(S.ROLLED_BACK, reason=Reason.INFERENCE, detail="it broke", evidence=EVIDENCE)
    report = final_report("gas", ended)
    assert (report.installation, report.deployment, report.digest) == ("inst-1", "gas", digest_raw(DIGEST))
    assert (report.state, report.reason, report.detail) == (S.ROLLED_BACK, Reason.INFERENCE, "it broke")
    assert report.evidence == EVIDENCE


def test_trial_evidence_is_a_report_without_words():
    report = evidence_report("gas", update_in(S.TRIAL, evidence=EVIDENCE, detail="slow at first"))
    assert (report.state, report.detail, report.evidence) == (S.TRIAL, "", EVIDENCE)


def test_a_desired_state_without_installation_is_reported_under_its_deployment():
    update = update_in(S.FAILED, wanted=msgspec.structs.replace(WANTED, installation=None))
    assert final_report("gas", update).installation == "gas"


def test_a_fresh_deployment_owes_no_report():
    assert Update().reported
    assert final_report("gas", Update()) is None
    assert Update() == Update(state=S.IDLE, wanted=None, mark=(0, 0), attempts=0, boots=0, probed=False, detail="")


def test_the_final_report_and_the_evidence_of_one_update_have_names_of_their_own():
    names = {report_key("gas", update_in(state)) for state in UpdateState}
    assert names == {"gas/1.7.0/evidence", "gas/1.7.0/final"}
    assert report_key("gas", update_in(S.FAILED, wanted=NEXT)) == "gas/1.8.0/final"


def test_no_text_of_an_end_is_longer_than_a_report_may_be():
    long = "x" * (limits.MAX_DETAIL_LENGTH + 1)
    after, _ = machine.step(update_in(S.PROBING), events.Failed(Reason.PROBE, long))
    assert len(after.detail) == limits.MAX_DETAIL_LENGTH
    loose = update_in(S.FETCHING, detail=long)
    assert len(final_report("gas", loose).detail) == limits.MAX_DETAIL_LENGTH


def test_a_deployment_rests_where_no_update_is_under_way():
    assert set(UpdateState) - set(UNDER_WAY) == RESTING
