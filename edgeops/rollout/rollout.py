"""The rollout machine: which event is legal in which state, and what it commands.

It decides and does nothing: `fleet_server.engine` loads a rollout, feeds it one event, and saves what
comes out together with the effects of the command. What the table does not list is illegal.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from edgeops.rollout.blessing import Blessed, Blessing, Refusing, Unblessed
from edgeops.rollout.evidence import Fail, Pass, Verdict, Wait


class RolloutState(StrEnum):
    """Where a rollout stands."""

    #: Written down, not begun: who wrote it submits it.
    DRAFT = "draft"
    #: Somebody who may approves or denies it.
    AWAITING_APPROVAL = "awaiting-approval"
    #: Nobody approved it.
    DENIED = "denied"
    #: Begins when its time has come.
    SCHEDULED = "scheduled"
    #: Begins when a device of each class that it means has blessed the model.
    AWAITING_BLESSING = "awaiting-blessing"
    #: Asks the devices of its present wave and waits for their proof.
    RUNNING = "running"
    #: Asks nobody; a person decides, the reason says about what.
    PAUSED = "paused"
    #: Ended by a person, by a newer rollout, or because no device was left.
    ABORTED = "aborted"
    #: Every device that has the model is to run what it ran before.
    ROLLING_BACK = "rolling-back"
    #: They do; the reason names those that have not been heard.
    ROLLED_BACK = "rolled-back"
    #: Every wave passed. Devices that were offline are asked when they come back.
    FINISHED = "finished"
    #: Every wave passed, and later a device ran something else, or too many did not keep the model. Asks nobody more.
    FINISHED_WITH_REGRESSIONS = "finished-with-regressions"
    #: A wave did not keep the model.
    FAILED = "failed"
    #: Every wave passed, and it goes on: devices that join the fleet and match are asked.
    LIVE = "live"


class RolloutEvent(StrEnum):
    """What can happen to a rollout."""

    #: A draft is to begin, after an approval or without one; one that waits for its time may come to need one.
    ASK_APPROVAL = "ask-approval"
    SUBMIT = "submit"
    #: A person decided on it.
    APPROVE = "approve"
    DENY = "deny"
    #: Its time has come, and no device of some class has blessed the model, or one of them did not.
    AWAIT_BLESSING = "await-blessing"
    BLESSING_REFUSED = "blessing-refused"
    #: Its time has come, and nothing is in the way.
    START = "start"
    #: It began, or devices of its wave came online.
    DEVICES_READY = "devices-ready"
    #: The health gate says pass, and there is a next wave.
    WAVE_PASSED = "wave-passed"
    #: The health gate says pass, and this was the last wave.
    LAST_WAVE_PASSED = "last-wave-passed"
    #: The health gate says fail.
    WAVE_FAILED = "wave-failed"
    #: The health gate still says wait, and waiting is over.
    EVIDENCE_MISSING = "evidence-missing"
    #: A person wants nobody asked for now, or asked again.
    PAUSE = "pause"
    RESUME = "resume"
    #: The same for one whose last wave has passed.
    RESUME_LIVE = "resume-live"
    #: A person lets the wave pass without proof, and there is a next wave.
    ADVANCE = "advance"
    #: The same for the last wave.
    ADVANCE_LAST = "advance-last"
    #: It was finished and is a continuous one.
    GO_LIVE = "go-live"
    #: A person ended it.
    ABORT = "abort"
    #: A person, or a wave that failed, wants it taken back from every device.
    ROLL_BACK = "roll-back"
    #: Every device was heard to run something else again.
    TAKEN_BACK = "taken-back"
    #: A device that had passed runs something else.
    REGRESSED = "regressed"
    #: Those that failed are asked again.
    RETRY = "retry"
    #: A newer rollout took over its last open device, or that device left the fleet.
    SUPERSEDED = "superseded"
    #: Its model is no longer listed.
    MODEL_WITHDRAWN = "model-withdrawn"
    #: The deadline of its state has passed.
    EXPIRE = "expire"


class RolloutCommand(StrEnum):
    """What the server does once the new state is saved; each is safe to carry out twice."""

    #: Nothing.
    NONE = "none"
    #: Ask the devices of the present wave that were not asked yet.
    OFFER_WAVE = "offer-wave"
    #: Take back every offer that has not ended, and ask nobody more; committed devices keep the model.
    WITHDRAW_OFFERS = "withdraw-offers"
    #: The same, and every device that has the model is to run what it ran before.
    TAKE_BACK = "take-back"


_S, _E, _C = RolloutState, RolloutEvent, RolloutCommand

#: (state, event) -> (state, command).
TABLE: dict[tuple[RolloutState, RolloutEvent], tuple[RolloutState, RolloutCommand]] = {
    (_S.DRAFT, _E.ASK_APPROVAL): (_S.AWAITING_APPROVAL, _C.NONE),
    (_S.DRAFT, _E.SUBMIT): (_S.SCHEDULED, _C.NONE),
    (_S.DRAFT, _E.EXPIRE): (_S.ABORTED, _C.WITHDRAW_OFFERS),
    (_S.AWAITING_APPROVAL, _E.APPROVE): (_S.SCHEDULED, _C.NONE),
    (_S.AWAITING_APPROVAL, _E.DENY): (_S.DENIED, _C.WITHDRAW_OFFERS),
    (_S.AWAITING_APPROVAL, _E.EXPIRE): (_S.DENIED, _C.WITHDRAW_OFFERS),
    # Four eyes were demanded meanwhile.
    (_S.SCHEDULED, _E.ASK_APPROVAL): (_S.AWAITING_APPROVAL, _C.NONE),
    (_S.AWAITING_BLESSING, _E.ASK_APPROVAL): (_S.AWAITING_APPROVAL, _C.NONE),
    (_S.SCHEDULED, _E.AWAIT_BLESSING): (_S.AWAITING_BLESSING, _C.NONE),
    (_S.AWAITING_BLESSING, _E.EXPIRE): (_S.ABORTED, _C.WITHDRAW_OFFERS),
    **{
        (state, event): row
        for state in (_S.SCHEDULED, _S.AWAITING_BLESSING)
        for event, row in (
            (_E.BLESSING_REFUSED, (_S.FAILED, _C.WITHDRAW_OFFERS)),
            (_E.START, (_S.RUNNING, _C.OFFER_WAVE)),
        )
    },
    (_S.RUNNING, _E.DEVICES_READY): (_S.RUNNING, _C.OFFER_WAVE),
    (_S.RUNNING, _E.WAVE_PASSED): (_S.RUNNING, _C.OFFER_WAVE),
    (_S.RUNNING, _E.LAST_WAVE_PASSED): (_S.FINISHED, _C.NONE),
    (_S.RUNNING, _E.EVIDENCE_MISSING): (_S.PAUSED, _C.NONE),
    (_S.RUNNING, _E.PAUSE): (_S.PAUSED, _C.NONE),
    (_S.RUNNING, _E.RETRY): (_S.RUNNING, _C.OFFER_WAVE),
    (_S.PAUSED, _E.RESUME): (_S.RUNNING, _C.OFFER_WAVE),
    (_S.PAUSED, _E.RESUME_LIVE): (_S.LIVE, _C.OFFER_WAVE),
    (_S.PAUSED, _E.RETRY): (_S.RUNNING, _C.OFFER_WAVE),
    **{(state, _E.ADVANCE): (_S.RUNNING, _C.OFFER_WAVE) for state in (_S.RUNNING, _S.PAUSED)},
    **{(state, _E.ADVANCE_LAST): (_S.FINISHED, _C.NONE) for state in (_S.RUNNING, _S.PAUSED)},
    **{(state, _E.WAVE_FAILED): (_S.FAILED, _C.WITHDRAW_OFFERS) for state in (_S.RUNNING, _S.PAUSED)},
    (_S.FINISHED, _E.GO_LIVE): (_S.LIVE, _C.OFFER_WAVE),
    # It has ended; whom it has not asked yet it asks no more.
    (_S.FINISHED, _E.ABORT): (_S.FINISHED, _C.WITHDRAW_OFFERS),
    (_S.FINISHED, _E.REGRESSED): (_S.FINISHED_WITH_REGRESSIONS, _C.NONE),
    (_S.FINISHED, _E.WAVE_FAILED): (_S.FINISHED_WITH_REGRESSIONS, _C.NONE),
    # Only a person has those asked that are left.
    **{(_S.FINISHED_WITH_REGRESSIONS, event): (_S.FINISHED, _C.OFFER_WAVE) for event in (_E.RESUME, _E.RETRY)},
    # A live one goes on: a person hears of it from the incident, and of too many from the pause.
    (_S.LIVE, _E.WAVE_FAILED): (_S.PAUSED, _C.NONE),
    (_S.LIVE, _E.PAUSE): (_S.PAUSED, _C.NONE),
    **{
        (state, event): (state, _C.OFFER_WAVE)
        for state in (_S.FINISHED, _S.LIVE)
        for event in (_E.DEVICES_READY, _E.RETRY)
    },
    **{
        (state, _E.ROLL_BACK): (_S.ROLLING_BACK, _C.TAKE_BACK)
        for state in (_S.RUNNING, _S.PAUSED, _S.LIVE, _S.FINISHED, _S.FINISHED_WITH_REGRESSIONS)
    },
    (_S.ROLLING_BACK, _E.TAKEN_BACK): (_S.ROLLED_BACK, _C.NONE),
    (_S.ROLLING_BACK, _E.EXPIRE): (_S.ROLLED_BACK, _C.NONE),
    **{
        (state, event): (end, _C.WITHDRAW_OFFERS)
        for state in (
            *(_S.DRAFT, _S.AWAITING_APPROVAL, _S.SCHEDULED, _S.AWAITING_BLESSING),
            *(_S.RUNNING, _S.PAUSED, _S.LIVE),
        )
        for event, end in ((_E.MODEL_WITHDRAWN, _S.FAILED), (_E.ABORT, _S.ABORTED), (_E.SUPERSEDED, _S.ABORTED))
    },
}

#: Nothing was asked of a device yet.
UNBEGUN = frozenset({_S.DRAFT, _S.AWAITING_APPROVAL, _S.SCHEDULED, _S.AWAITING_BLESSING})
#: A rollout that still has something to do, or a person has.
OPEN = UNBEGUN | {_S.RUNNING, _S.PAUSED, _S.ROLLING_BACK, _S.LIVE}
#: Every wave has passed; a device that was asked later is judged by itself.
PASSED = frozenset({_S.FINISHED, _S.FINISHED_WITH_REGRESSIONS, _S.LIVE})
#: The present wave is judged.
JUDGED = frozenset({_S.RUNNING, _S.PAUSED})
#: What devices show counts, for a wave or for those that came late.
COUNTING = PASSED | JUDGED
#: Devices are asked.
ASKING = frozenset({_S.RUNNING, _S.FINISHED, _S.LIVE})
#: Devices that come late are asked, and too many of them that are lost end that.
ASKING_LATE = PASSED & ASKING


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as far as its machine needs it."""

    state: RolloutState
    #: Index of the present wave, and how many there are.
    wave: int
    waves: int
    #: Why it stands where it stands, in words; empty while it runs.
    reason: str = ""

    @property
    def is_in_last_wave(self) -> bool:
        """Whether no other wave follows."""
        return self.wave + 1 == self.waves


def step(rollout: Rollout, event: RolloutEvent, *, reason: str = "") -> tuple[Rollout, RolloutCommand]:
    """What `event` makes of `rollout`, and what to do once that is saved.

    Raises:
        AssertionError: the table does not allow the event here; only a bug does that.
    """
    row = TABLE.get((rollout.state, event))
    if row is None:
        raise AssertionError(f"{event} is illegal in a {rollout.state} rollout")
    state, command = row
    if event in _NEXT_WAVE:
        assert not rollout.is_in_last_wave, "the last wave has no next one"
        return replace(rollout, state=state, wave=rollout.wave + 1, reason=""), command
    if state is rollout.state:
        return rollout, command
    return replace(rollout, state=state, reason="" if state is RolloutState.RUNNING else reason), command


_NEXT_WAVE = frozenset({_E.WAVE_PASSED, _E.ADVANCE})


def allows(state: RolloutState, event: RolloutEvent) -> bool:
    """Whether the table lists the event in this state."""
    return (state, event) in TABLE


# -- which event it is ---------------------------------------------------------------------


def event_of(verdict: Verdict, rollout: Rollout, now: datetime) -> RolloutEvent | None:
    """What the health gate's verdict means for the rollout; None = go on waiting."""
    match verdict:
        case Pass():
            return RolloutEvent.LAST_WAVE_PASSED if rollout.is_in_last_wave else RolloutEvent.WAVE_PASSED
        case Wait():
            return RolloutEvent.EVIDENCE_MISSING if verdict.is_over(now) else None
        case Fail():
            return RolloutEvent.WAVE_FAILED
        case _:
            assert_never(verdict)


def failing(state: RolloutState, *, roll_back: bool, holders: bool) -> RolloutEvent:
    """How a wave that failed ends the rollout.

    `holders` = a device has the model; `roll_back` = the policy wants it back. Where every wave has passed a person
    decides on that: others keep the model well.
    """
    if roll_back and holders and state not in PASSED:
        return RolloutEvent.ROLL_BACK
    return RolloutEvent.WAVE_FAILED


def submitting(*, needs_approval: bool) -> RolloutEvent:
    """How a draft begins."""
    return RolloutEvent.ASK_APPROVAL if needs_approval else RolloutEvent.SUBMIT


def is_due(starts_at: datetime | None, now: datetime) -> bool:
    """Whether the time of a scheduled rollout has come."""
    return starts_at is None or starts_at <= now


def beginning(state: RolloutState, blessing: Blessing) -> RolloutEvent | None:
    """What the standing of its blessings means for a rollout whose time has come; None = it waits on."""
    match blessing:
        case Blessed():
            return RolloutEvent.START
        case Refusing():
            return RolloutEvent.BLESSING_REFUSED
        case Unblessed():
            return RolloutEvent.AWAIT_BLESSING if state is RolloutState.SCHEDULED else None
        case _:
            assert_never(blessing)


def resuming(*, passed: bool) -> RolloutEvent:
    """How a paused rollout goes on; `passed` = its last wave had passed before."""
    return RolloutEvent.RESUME_LIVE if passed else RolloutEvent.RESUME


def overriding(rollout: Rollout) -> RolloutEvent:
    """How a person's override lets the present wave pass."""
    return RolloutEvent.ADVANCE_LAST if rollout.is_in_last_wave else RolloutEvent.ADVANCE


def following(state: RolloutState, *, continuous: bool, regressed: int) -> RolloutEvent | None:
    """What happens at once to a rollout that has just finished; None = nothing."""
    if state is not RolloutState.FINISHED:
        return None
    if continuous:
        return RolloutEvent.GO_LIVE
    return RolloutEvent.REGRESSED if regressed else None


# -- what it waits for ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """What leads a rollout out of its state."""

    #: In words, for people.
    words: str
    #: What passes by itself when its time has come; None = nothing does.
    deadline: RolloutEvent | None = None
    #: What a person can do; empty = nobody needs to.
    people: tuple[RolloutEvent, ...] = ()


def waits_for(state: RolloutState) -> Waiting | None:
    """What a rollout in `state` waits for: a deadline, a person, or both; None = it has ended."""
    return _WAITING.get(state)


_WAITING: dict[RolloutState, Waiting] = {
    _S.DRAFT: Waiting("its author, who submits it", _E.EXPIRE, (_E.SUBMIT, _E.ASK_APPROVAL)),
    _S.AWAITING_APPROVAL: Waiting("an approver, who approves or denies it", _E.EXPIRE, (_E.APPROVE, _E.DENY)),
    _S.SCHEDULED: Waiting("its time", _E.START),
    _S.AWAITING_BLESSING: Waiting("benchmarks of its devices; the reason names them", _E.EXPIRE),
    _S.RUNNING: Waiting("the proof of its present wave", _E.EVIDENCE_MISSING),
    _S.PAUSED: Waiting(
        "a person, who resumes, advances, retries or aborts it",
        None,
        (_E.RESUME, _E.RESUME_LIVE, _E.ADVANCE, _E.ADVANCE_LAST, _E.RETRY, _E.ABORT, _E.ROLL_BACK),
    ),
    _S.ROLLING_BACK: Waiting("devices, which tell that they run something else", _E.EXPIRE),
    _S.LIVE: Waiting("devices that join the fleet; a person ends it", None, (_E.PAUSE, _E.ABORT, _E.ROLL_BACK)),
}
