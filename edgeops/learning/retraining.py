"""The retraining machine: one pass of the loop for one model, from a firing to a healed fleet.

It decides and does nothing: `fleet_server.retraining` loads a retraining, asks the conditions below what
happened, feeds it the event, and saves what comes out together with the effects of the command. The table
knows no conditions. What it does not list is illegal.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from edgeops import limits
from edgeops.rollout.rollout import OPEN as OPEN_ROLLOUT
from edgeops.rollout.rollout import PASSED, RolloutState


class RetrainingState(StrEnum):
    """Where a retraining stands."""

    #: Waits for a person to approve or cancel it.
    PROPOSED = "proposed"
    #: Devices are asked for inputs worth a label.
    NOMINATING = "nominating"
    #: The chosen samples wait for their labels.
    LABELLING = "labelling"
    #: A job learns and judges.
    TRAINING = "training"
    #: Trained, passed its promotion gate, and waits for a person with the offline key.
    AWAITING_SIGNATURE = "awaiting-signature"
    #: The new version is on its way to the devices.
    ROLLING_OUT = "rolling-out"
    #: The new version runs.
    HEALED = "healed"
    #: The promotion gate said no; the old version goes on.
    REFUSED = "refused"
    #: Something on the way did not work; the old version goes on.
    FAILED = "failed"
    #: Ended by a person, or overtaken.
    CANCELLED = "cancelled"
    #: A trigger fired and a rule held it back.
    SUPPRESSED = "suppressed"


class RetrainingEvent(StrEnum):
    """What can happen to a retraining."""

    #: A rule holds the firing back.
    SUPPRESS = "suppress"
    #: The policy asks a person.
    PROPOSE = "propose"
    #: It begins, and labels are to be bought.
    START = "start"
    #: It begins, and learns from the labels that are there.
    START_AS_IS = "start-as-is"
    #: No device runs the model any more.
    OVERTAKEN = "overtaken"
    #: Enough devices nominated, or those that did have to do.
    NOMINATED = "nominated"
    #: Time is over and nothing was nominated.
    NOTHING_NOMINATED = "nothing-nominated"
    #: Every chosen sample has its label, or those that have one have to do.
    LABELLED = "labelled"
    #: Time is over and too few have one.
    LABELS_MISSING = "labels-missing"
    #: The promotion gate passed the new version, and its key signed it.
    TRAINED = "trained"
    #: The promotion gate passed the new version; nobody signed it yet.
    UNSIGNED = "unsigned"
    #: The promotion gate refused the new version.
    GATE_REFUSED = "gate-refused"
    #: The job failed.
    TRAINING_FAILED = "training-failed"
    #: A person signed.
    SIGNED = "signed"
    #: The rollout finished.
    ROLLED_OUT = "rolled-out"
    #: The rollout could not begin, failed or was aborted.
    ROLLOUT_FAILED = "rollout-failed"
    #: A person ended it.
    CANCEL = "cancel"


class RetrainingCommand(StrEnum):
    """What the server does in the transaction that saves the new state."""

    #: Nothing.
    NONE = "none"
    #: Ask every device that runs the model and was not asked, and again those that do not answer.
    ASK_DEVICES = "ask-devices"
    #: Put the chosen samples into the label queue.
    REQUEST_LABELS = "request-labels"
    #: Queue the job, unless it was; samples without label are asked for no longer.
    QUEUE_JOB = "queue-job"
    #: Begin the rollout, unless it was.
    START_ROLLOUT = "start-rollout"
    #: Ask for labels no longer.
    DROP_QUEUE = "drop-queue"


_S, _E, _C = RetrainingState, RetrainingEvent, RetrainingCommand

_START = (_S.NOMINATING, _C.ASK_DEVICES)
_START_AS_IS = (_S.TRAINING, _C.QUEUE_JOB)

#: (state, event) -> (state, command); None = the firing of a trigger.
TABLE: dict[tuple[RetrainingState | None, RetrainingEvent], tuple[RetrainingState, RetrainingCommand]] = {
    (None, _E.SUPPRESS): (_S.SUPPRESSED, _C.NONE),
    (None, _E.PROPOSE): (_S.PROPOSED, _C.NONE),
    (None, _E.START): _START,
    (None, _E.START_AS_IS): _START_AS_IS,
    (_S.PROPOSED, _E.START): _START,
    (_S.PROPOSED, _E.START_AS_IS): _START_AS_IS,
    (_S.PROPOSED, _E.OVERTAKEN): (_S.CANCELLED, _C.NONE),
    (_S.PROPOSED, _E.CANCEL): (_S.CANCELLED, _C.NONE),
    (_S.NOMINATING, _E.NOMINATED): (_S.LABELLING, _C.REQUEST_LABELS),
    (_S.NOMINATING, _E.NOTHING_NOMINATED): (_S.FAILED, _C.NONE),
    (_S.NOMINATING, _E.CANCEL): (_S.CANCELLED, _C.NONE),
    (_S.LABELLING, _E.LABELLED): (_S.TRAINING, _C.QUEUE_JOB),
    (_S.LABELLING, _E.LABELS_MISSING): (_S.FAILED, _C.DROP_QUEUE),
    (_S.LABELLING, _E.CANCEL): (_S.CANCELLED, _C.DROP_QUEUE),
    (_S.TRAINING, _E.TRAINED): (_S.ROLLING_OUT, _C.START_ROLLOUT),
    (_S.TRAINING, _E.UNSIGNED): (_S.AWAITING_SIGNATURE, _C.NONE),
    (_S.TRAINING, _E.GATE_REFUSED): (_S.REFUSED, _C.NONE),
    (_S.TRAINING, _E.TRAINING_FAILED): (_S.FAILED, _C.NONE),
    (_S.TRAINING, _E.CANCEL): (_S.CANCELLED, _C.NONE),
    (_S.AWAITING_SIGNATURE, _E.SIGNED): (_S.ROLLING_OUT, _C.START_ROLLOUT),
    (_S.AWAITING_SIGNATURE, _E.CANCEL): (_S.CANCELLED, _C.NONE),
    (_S.ROLLING_OUT, _E.ROLLED_OUT): (_S.HEALED, _C.NONE),
    (_S.ROLLING_OUT, _E.ROLLOUT_FAILED): (_S.FAILED, _C.NONE),
}

#: States from which something still leads on.
OPEN = frozenset(before for before, _ in TABLE if before is not None)

#: What is done again while a retraining stands in a state, also by a new process: safe to carry out any number
#: of times. What has ended needs nothing.
RESUME: dict[RetrainingState, RetrainingCommand] = {
    **dict.fromkeys(RetrainingState, _C.NONE),
    _S.NOMINATING: _C.ASK_DEVICES,
    _S.TRAINING: _C.QUEUE_JOB,
    _S.ROLLING_OUT: _C.START_ROLLOUT,
}

#: What ends the waiting in each open state: a deadline, work that has one, or a person.
WAITS_FOR: dict[RetrainingState, str] = {
    _S.PROPOSED: "a person: `edgeops retrain run MODEL`, or `edgeops retrain cancel`",
    _S.NOMINATING: "the devices, 10 minutes after the first was asked; the policy's `label_timeout` when none can be",
    _S.LABELLING: "labels, for the policy's `label_timeout`",
    _S.TRAINING: "the job, which has a time limit",
    _S.AWAITING_SIGNATURE: "a person: `edgeops model sign`, or `edgeops retrain cancel`",
    _S.ROLLING_OUT: "the rollout, which ends or pauses for a person",
}


def step(state: RetrainingState | None, event: RetrainingEvent) -> tuple[RetrainingState, RetrainingCommand]:
    """What `event` makes of a retraining in `state` (None = it only begins), and what to do with it.

    Raises:
        AssertionError: the table does not allow the event here; only a bug does that.
    """
    row = TABLE.get((state, event))
    if row is None:
        raise AssertionError(f"{event} is illegal in a {state or 'new'} retraining")
    return row


def allows(state: RetrainingState, event: RetrainingEvent) -> bool:
    """Whether the table lists the event in this state."""
    return (state, event) in TABLE


def beginning(labels: int) -> RetrainingEvent:
    """How a retraining begins that shall buy so many labels."""
    return _E.START if labels else _E.START_AS_IS


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2"]
    for (before, event), (after, _) in TABLE.items():
        lines.append(f"    {_node(before)} --> {_node(after)}: {event}")
    lines += [f"    {_node(state)} --> [*]" for state in RetrainingState if state not in OPEN]
    return "\n".join(lines)


def _node(state: RetrainingState | None) -> str:
    return "[*]" if state is None else state.replace("-", "_")


# -- conditions: what happened, or None = go on waiting -------------------------------------


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, and why in words."""

    event: RetrainingEvent
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominating:
    """How far the devices are."""

    #: When the retraining began, and when the first device was asked.
    since: datetime
    asked_at: datetime | None
    #: Devices asked; of them, those that answered in full.
    asked: int
    answered: int
    #: Samples that came.
    samples: int
    #: What devices said of why they nominated less than asked.
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """How far the labels are, by sample in the queue."""

    since: datetime
    open: int
    labelled: int
    disputed: int


def nominated(seen: Nominating, *, wanted: int, label_timeout: timedelta, now: datetime) -> Happened | None:
    """Whether the server can choose: everybody answered, or time is over."""
    if seen.asked_at is None:
        if now < seen.since + label_timeout:
            return None
        return Happened(_E.NOTHING_NOMINATED, "no device that runs the model came online to be asked")
    waits = seen.answered < seen.asked and now < seen.asked_at + limits.NOMINATION_TIMEOUT
    if waits:
        return None
    who = f"{seen.answered} of {seen.asked} devices answered"
    if not seen.samples:
        why = f": {seen.detail}" if seen.detail else ""
        return Happened(
            _E.NOTHING_NOMINATED, f"{who} and nominated nothing{why}; let them answer inputs, then run it again"
        )
    if seen.samples < wanted:
        return Happened(_E.NOMINATED, f"{who}; they nominated {seen.samples} samples, fewer than {wanted}")
    return Happened(_E.NOMINATED, f"{who}")


def labelled(seen: Labelling, *, min_labels: int, label_timeout: timedelta, now: datetime) -> Happened | None:
    """Whether the model can learn; disputed samples hold nobody up as long as enough are agreed on."""
    total = seen.open + seen.labelled + seen.disputed
    enough = seen.labelled >= max(1, min(min_labels, total))
    words = f"{seen.labelled} of {total} samples are labelled" + (f", {seen.disputed} disputed" * bool(seen.disputed))
    if enough and not seen.open:
        return Happened(_E.LABELLED, words)
    if now < seen.since + label_timeout:
        return None
    if enough:
        return Happened(_E.LABELLED, f"{words}; the others were not waited for")
    return Happened(_E.LABELS_MISSING, f"{words}; it takes at least {min_labels}")


def trained(*, passed: bool, signed: bool, reason: str) -> Happened:
    """What a training that ended well means."""
    if not passed:
        return Happened(_E.GATE_REFUSED, reason)
    return Happened(_E.TRAINED if signed else _E.UNSIGNED, reason)


def rolled_out(state: RolloutState, reason: str) -> Happened | None:
    """What the state of the rollout means; a paused one waits for a person."""
    if state in PASSED:
        return Happened(_E.ROLLED_OUT)
    if state not in OPEN_ROLLOUT or state is RolloutState.ROLLING_BACK:
        return Happened(_E.ROLLOUT_FAILED, f"the rollout {state}: {reason}")
    return None
