"""The update machine of one deployment: which event is legal in which state, and what it commands.

It decides and does nothing: `device_agent.updates` feeds it, persists the `Update` it returns, and only
then carries out the command. Conditions (how many attempts, how many boots, is the evidence enough) are
named functions that turn what happened into an event; the table knows no conditions. What the table
does not list is illegal.

A deployment goes IDLE -> FETCHING -> VERIFYING -> STAGED -> PROBING -> TRIAL -> COMMITTED, or ends in
REJECTED, FAILED, ROLLED_BACK or SUPERSEDED. The states where it rests take the next desired model as soon
as their final report lies in the spool, so that every installation gets exactly one.
"""

from datetime import timedelta
from enum import StrEnum
from typing import assert_never

import msgspec

from edgeops import limits
from edgeops.protocol.messages import Evidence, Reason, UpdateState
from edgeops.update.events import (
    Acknowledged,
    AlreadyActive,
    Booted,
    BootedAwaitingAck,
    Deferred,
    Emptied,
    Event,
    EvidenceSpooled,
    Failed,
    Fallen,
    Fetched,
    FetchFailed,
    Listed,
    Lost,
    NoContact,
    Postponed,
    ProbePassed,
    Refused,
    Renewed,
    Reported,
    ReportLost,
    Settled,
    Staged,
    Started,
    Superseded,
    TrialFailed,
    TrialPassed,
    Verified,
)
from edgeops.update.update import RESTING, WAITS, Shown, Update, Wanted, committed


class Command(StrEnum):
    """What the device does next; each is safe to carry out twice."""

    #: Nothing; the state was all there was to change.
    NONE = "none"
    #: Ask TUF for the descriptor, judge compatibility, pull the blocks.
    FETCH = "fetch"
    #: Check length, digest and structure of the whole file.
    VERIFY = "verify"
    #: Move the file into its slot.
    STAGE = "stage"
    #: Try it in a child process.
    PROBE = "probe"
    #: Ask TUF again, right before it runs.
    CHECK_LISTED = "check-listed"
    #: Let the candidate answer real inputs.
    START_TRIAL = "start-trial"
    #: Put the trial's evidence into the spool.
    SEND_EVIDENCE = "send-evidence"
    #: Flip the pointer: active = candidate, previous = the old active.
    COMMIT = "commit"
    #: Drop the candidate; what was active goes on.
    ROLL_BACK = "roll-back"
    #: Run nothing.
    CLEAR = "clear"
    #: Put the final report into the spool.
    REPORT = "report"
    #: Turn to what was desired meanwhile.
    TAKE_NEXT = "take-next"
    #: Come back to the same state later: no contact, an attempt failed, or it may not go on for now.
    WAIT = "wait"


_S = UpdateState
_UNDER_WAY = (_S.FETCHING, _S.VERIFYING, _S.STAGED, _S.PROBING, _S.TRIAL)
_ENDS = (_S.COMMITTED, _S.REJECTED, _S.FAILED, _S.ROLLED_BACK, _S.SUPERSEDED)

#: (state, event) -> (state, command).
TABLE: dict[tuple[UpdateState, type[Event]], tuple[UpdateState, Command]] = {
    **{(state, Started): (_S.FETCHING, Command.FETCH) for state in (_S.IDLE, *_ENDS)},
    **{(state, AlreadyActive): (_S.COMMITTED, Command.REPORT) for state in (_S.IDLE, *_ENDS)},
    **{(state, Emptied): (_S.IDLE, Command.CLEAR) for state in (_S.IDLE, *_ENDS)},
    **{(state, Renewed): (state, Command.NONE) for state in UpdateState},
    **{(state, Postponed): (state, Command.NONE) for state in _ENDS},
    **{(state, Superseded): (_S.SUPERSEDED, Command.REPORT) for state in _UNDER_WAY},
    # What has begun to answer goes on: see `edgeops.update.leave`.
    **{(state, Deferred): (state, Command.WAIT) for state in (_S.FETCHING, _S.STAGED, _S.PROBING)},
    (_S.FETCHING, Fetched): (_S.VERIFYING, Command.VERIFY),
    (_S.FETCHING, FetchFailed): (_S.FETCHING, Command.WAIT),
    (_S.FETCHING, NoContact): (_S.FETCHING, Command.WAIT),
    (_S.FETCHING, Refused): (_S.REJECTED, Command.REPORT),
    (_S.FETCHING, Failed): (_S.FAILED, Command.REPORT),
    (_S.VERIFYING, Verified): (_S.STAGED, Command.STAGE),
    (_S.VERIFYING, FetchFailed): (_S.FETCHING, Command.FETCH),
    (_S.VERIFYING, Refused): (_S.REJECTED, Command.REPORT),
    (_S.VERIFYING, Failed): (_S.FAILED, Command.REPORT),
    (_S.STAGED, Staged): (_S.PROBING, Command.PROBE),
    (_S.STAGED, FetchFailed): (_S.FETCHING, Command.FETCH),
    (_S.STAGED, Failed): (_S.FAILED, Command.REPORT),
    (_S.PROBING, Booted): (_S.PROBING, Command.PROBE),
    (_S.PROBING, ProbePassed): (_S.PROBING, Command.CHECK_LISTED),
    (_S.PROBING, NoContact): (_S.PROBING, Command.WAIT),
    (_S.PROBING, Refused): (_S.REJECTED, Command.REPORT),
    (_S.PROBING, Failed): (_S.FAILED, Command.REPORT),
    (_S.PROBING, Listed): (_S.TRIAL, Command.START_TRIAL),
    (_S.TRIAL, Booted): (_S.TRIAL, Command.START_TRIAL),
    (_S.TRIAL, BootedAwaitingAck): (_S.TRIAL, Command.SEND_EVIDENCE),
    (_S.TRIAL, TrialPassed): (_S.TRIAL, Command.SEND_EVIDENCE),
    (_S.TRIAL, EvidenceSpooled): (_S.TRIAL, Command.NONE),
    (_S.TRIAL, Acknowledged): (_S.COMMITTED, Command.COMMIT),
    (_S.TRIAL, TrialFailed): (_S.ROLLED_BACK, Command.ROLL_BACK),
    (_S.COMMITTED, Settled): (_S.COMMITTED, Command.REPORT),
    (_S.ROLLED_BACK, Settled): (_S.ROLLED_BACK, Command.REPORT),
    **{(state, Reported): (state, Command.TAKE_NEXT) for state in _ENDS},
    **{(state, ReportLost): (state, Command.REPORT) for state in _ENDS},
    (_S.COMMITTED, Lost): (_S.FETCHING, Command.FETCH),
    # The installation had its final report; what the deployment runs since then is told with its present state.
    (_S.COMMITTED, Fallen): (_S.ROLLED_BACK, Command.NONE),
    **{(state, Fallen): (state, Command.NONE) for state in UpdateState if state not in (_S.TRIAL, _S.COMMITTED)},
}


def step(update: Update, event: Event) -> tuple[Update, Command]:
    """What `event` makes of `update`, and what to do once that is on disk.

    Raises:
        AssertionError: the table does not allow the event here; only a bug does that.
    """
    row = TABLE.get((update.state, type(event)))
    if row is None:
        raise AssertionError(f"{type(event).__name__} is illegal in {update.state}")
    state, command = row
    return _changed(update, event, state=state), command


def allows(update: Update, kind: type[Event]) -> bool:
    """Whether the table lists this kind of event in the present state."""
    return (update.state, kind) in TABLE


#: What to do after a restart: one line for every persisted state; `resume` knows what may be skipped.
RESUME: dict[UpdateState, Command] = {
    _S.IDLE: Command.CLEAR,
    _S.FETCHING: Command.FETCH,
    _S.VERIFYING: Command.VERIFY,
    _S.STAGED: Command.STAGE,
    _S.PROBING: Command.PROBE,
    _S.TRIAL: Command.START_TRIAL,
    _S.COMMITTED: Command.COMMIT,
    _S.REJECTED: Command.REPORT,
    _S.FAILED: Command.REPORT,
    _S.ROLLED_BACK: Command.ROLL_BACK,
    _S.SUPERSEDED: Command.REPORT,
}


def resume(update: Update) -> Command:
    """What to do where nothing has happened since `update` was persisted."""
    if update.wanted is None:
        return Command.NONE
    if update.state in _ENDS and update.reported:
        return Command.TAKE_NEXT
    if update.state is _S.PROBING and update.probed:
        return Command.CHECK_LISTED
    if update.state is _S.TRIAL and update.evidence is not None:
        return Command.SEND_EVIDENCE
    return RESUME[update.state]


# -- conditions ------------------------------------------------------------------


def desired(update: Update, wanted: Wanted, *, active: str | None) -> Event | None:
    """What a desired state means here; None = older than what was taken in, or the same again.

    `active` is the digest that answers now.
    """
    if (wanted.epoch, wanted.revision) <= update.mark:
        return None
    latest = update.next or update.wanted
    if latest is not None and latest.asks_the_same(wanted) and not _is_missing(update, wanted, active=active):
        return Renewed(wanted)
    if update.state not in RESTING:
        return Superseded(wanted)
    return Postponed(wanted) if not update.reported else begin(wanted, active=active)


def _is_missing(update: Update, wanted: Wanted, *, active: str | None) -> bool:
    """Whether a deployment at rest lost what it had committed: being asked for it again, it begins again.

    What fell is not lost: only another installation, somebody's decision, brings it back.
    """
    rests = update.state in RESTING and update.reported and wanted.digest not in update.fallen
    return rests and wanted.digest is not None and wanted.digest == committed(update) != active


def begin(wanted: Wanted, *, active: str | None) -> Started | AlreadyActive | Emptied:
    """How a resting deployment turns to `wanted`."""
    if wanted.digest is None:
        return Emptied(wanted)
    return AlreadyActive(wanted) if wanted.digest == active else Started(wanted)


def admitted(event: Event, leave: Deferred | None) -> Event:
    """What happened, unless it would begin what there is no leave for now."""
    return leave if leave is not None and isinstance(event, Staged | Listed) else event


def is_deferred(update: Update) -> bool:
    """Whether it waits for leave to go on."""
    return update.state not in RESTING and update.reason in WAITS


def loss_of_report(update: Update, *, spool: str) -> ReportLost | None:
    """Whether the final report lay in another spool than the one of this id; to a server one that repeats is one."""
    is_lost = update.state in _ENDS and update.reported and update.reported_in != spool
    return ReportLost() if is_lost else None


def fetch_failure(update: Update, detail: str) -> FetchFailed | Failed:
    """Whether another attempt is left."""
    if update.attempts + 1 >= limits.FETCH_ATTEMPTS:
        return Failed(Reason.FETCH, f"{detail}; gave up after {limits.FETCH_ATTEMPTS} attempts")
    return FetchFailed(detail)


def boot(update: Update) -> Booted | BootedAwaitingAck | Failed | TrialFailed:
    """A start of the agent while a candidate is tried; too many mean that the candidate takes the agent down."""
    if update.boots + 1 > limits.TRIAL_BOOTS:
        starts = f"the agent started {update.boots + 1} times while this model was"
        if update.state is UpdateState.PROBING:
            return Failed(Reason.PROBE, f"{starts} probed")
        return TrialFailed(Reason.TRIAL_BOOTS, f"{starts} in trial", update.evidence)
    return Booted() if update.evidence is None else BootedAwaitingAck()


def fall(update: Update, *, active: str | None) -> Fallen | None:
    """The active model takes the agent down at its starts; None = what is on disk says to do something else first.

    A commit is finished, and what was lost is asked for, by this start; the next one finds the rest.
    """
    if active is None or update.state is UpdateState.TRIAL:
        return None
    is_settled = update.reported and update.wanted is not None and update.wanted.digest == active
    return Fallen(active) if update.state is not UpdateState.COMMITTED or is_settled else None


def trial_verdict(
    update: Update, evidence: Evidence, *, detail: str, quiet: timedelta
) -> TrialPassed | TrialFailed | None:
    """Judge a running trial; None = not decided yet.

    `evidence` is what this process saw, `quiet` how long ago the last input came or, once the evidence is
    spooled, how long it has waited for its ack; `detail` says which error came last, of an answer or of the source.
    """
    if evidence.errors:
        return TrialFailed(Reason.INFERENCE, detail, evidence)
    if update.evidence is None and evidence.inferences >= _needed(update):
        return TrialPassed(evidence)
    if quiet >= limits.TRIAL_TIMEOUT:
        minutes = int(limits.TRIAL_TIMEOUT.total_seconds() // 60)
        if update.evidence is not None:
            words = f"no contact to the server for {minutes} minutes"
        else:
            words = f"no input for {minutes} minutes{f': {detail}' if detail else ''}"
        return TrialFailed(Reason.INCONCLUSIVE, words, update.evidence or evidence)
    return None


def unwritten_verdict(evidence: Evidence, *, detail: str, quiet: timedelta) -> TrialFailed | None:
    """Judge a trial in which something was decided that the disk does not take; None = it may still take it.

    `quiet` is how long it has not. Like a trial without contact, it is neither success nor the model's failure.
    """
    if evidence.errors:
        return TrialFailed(Reason.INFERENCE, detail, evidence)
    if quiet >= limits.TRIAL_TIMEOUT:
        minutes = int(limits.TRIAL_TIMEOUT.total_seconds() // 60)
        return TrialFailed(Reason.INCONCLUSIVE, f"the disk took nothing for {minutes} minutes", evidence)
    return None


def _needed(update: Update) -> int:
    """How many real inferences the trial needs, one at least."""
    return max(1, update.wanted.trial_inferences if update.wanted else limits.TRIAL_INFERENCES)


# -- what an event leaves behind -----------------------------------------------------


def _changed(update: Update, event: Event, *, state: UpdateState) -> Update:  # noqa: C901, PLR0911, PLR0912 - one case an event
    change = msgspec.structs.replace
    if is_deferred(update) and not isinstance(event, Deferred | Renewed):
        update = change(update, reason=Reason.NONE, detail="")
    match event:
        case Started(wanted):
            mark = _newer(update, wanted)
            # What fell and is asked for anew is like any other model: hold and windows are waited for.
            shown = None if wanted.digest in update.fallen else update.shown
            fallen = _still_fallen(update, wanted)
            return Update(state=state, wanted=wanted, mark=mark, reported=False, shown=shown, fallen=fallen)
        case Emptied(wanted):
            return Update(state=state, wanted=wanted, mark=_newer(update, wanted))
        case AlreadyActive(wanted):
            # What another model showed says nothing any more: this one is what was committed.
            shown = update.shown if update.shown is not None and update.shown.digest == wanted.digest else None
            return Update(
                state=state,
                wanted=wanted,
                mark=_newer(update, wanted),
                reported=False,
                detail="already active",
                evidence=None if shown is None else shown.evidence,
                shown=shown,
                fallen=_still_fallen(update, wanted),
            )
        case Superseded(wanted):
            detail = f"superseded by revision {wanted.revision}"
            mark = _newer(update, wanted)
            return _ended(change(update, next=wanted, mark=mark), state, Reason.NEWER, detail)
        case Postponed(wanted):
            return change(update, next=wanted, mark=_newer(update, wanted))
        case Renewed(wanted):
            return _renewed(update, wanted)
        case FetchFailed(detail):
            return change(update, state=state, attempts=update.attempts + 1, detail=detail)
        case Refused(reason, detail) | Failed(reason, detail):
            return _ended(update, state, reason, detail)
        case Deferred(reason, detail):
            return change(update, state=state, reason=reason, detail=detail[: limits.MAX_DETAIL_LENGTH])
        case ProbePassed():
            return change(update, state=state, probed=True)
        case Booted() | BootedAwaitingAck():
            # The evidence is sent again, and only an ack of that counts: the spool may be another one.
            return change(update, state=state, boots=update.boots + 1, evidence_seq=None)
        case TrialPassed(evidence):
            return change(update, state=state, evidence=evidence)
        case EvidenceSpooled(seq):
            return change(update, state=state, evidence_seq=seq)
        case TrialFailed(reason, detail, evidence):
            return _ended(change(update, evidence=evidence), state, reason, detail)
        case Acknowledged():
            return _ended(change(update, shown=_shown(update), fallen=()), state, Reason.NONE, "")
        case Reported(spool):
            return change(update, state=state, reported=True, reported_in=spool)
        case ReportLost():
            return change(update, state=state, reported=False)
        case Lost():
            return Update(
                state=state,
                wanted=update.wanted,
                next=update.next,
                mark=update.mark,
                losses=update.losses + 1,
                reported=False,
                shown=update.shown,
                fallen=update.fallen,
            )
        case Fallen(digest):
            return _fallen(change(update, fallen=(*update.fallen, digest)), state)
        case Listed():
            return change(update, state=state, boots=0)
        case Fetched() | NoContact() | Verified() | Staged() | Settled():
            return change(update, state=state)
        case _:
            assert_never(event)


def _fallen(update: Update, state: UpdateState) -> Update:
    """What is under way, or ended otherwise, keeps its reason."""
    if state is update.state:
        return update
    detail = "the agent died again and again within moments of its start while this model was active"
    return msgspec.structs.replace(update, state=state, reason=Reason.CRASHES, detail=detail)


def _still_fallen(update: Update, wanted: Wanted) -> tuple[str, ...]:
    return tuple(digest for digest in update.fallen if digest != wanted.digest)


def _renewed(update: Update, wanted: Wanted) -> Update:
    """What was asked for last is asked for again."""
    change, mark = msgspec.structs.replace, _newer(update, wanted)
    if update.next is not None:
        return change(update, mark=mark, next=update.next.renewed(wanted))
    return change(update, mark=mark, wanted=None if update.wanted is None else update.wanted.renewed(wanted))


def _ended(update: Update, state: UpdateState, reason: Reason, detail: str) -> Update:
    return msgspec.structs.replace(
        update, state=state, reason=reason, detail=detail[: limits.MAX_DETAIL_LENGTH], reported=False
    )


def _shown(update: Update) -> Shown:
    assert update.wanted is not None
    assert update.wanted.digest is not None
    assert update.evidence is not None
    asked = (update.wanted.epoch, update.wanted.revision)
    return Shown(digest=update.wanted.digest, evidence=update.evidence, asked=asked)


def _newer(update: Update, wanted: Wanted) -> tuple[int, int]:
    return max(update.mark, (wanted.epoch, wanted.revision))
