"""The rollout machine: which event is legal in which state, and what it commands.

It decides and does nothing: `fleet_server.engine` loads a rollout, feeds it one event, and saves what
comes out together with the effects of the command. What the table does not list is illegal.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from edgeops.rollout.evidence import Fail, Pass, Verdict, Wait


class RolloutState(StrEnum):
    """Where a rollout stands."""

    #: Asks the devices of its present wave and waits for their proof.
    RUNNING = "running"
    #: Asks nobody; a person decides, the reason says about what.
    PAUSED = "paused"
    #: Every wave passed. Devices that were offline are asked when they come back.
    FINISHED = "finished"
    #: A device did not keep the model.
    FAILED = "failed"
    #: Ended by a person, by a newer rollout, or because no device was left.
    ABORTED = "aborted"


class RolloutEvent(StrEnum):
    """What can happen to a rollout."""

    #: It was created, or devices of its wave came online.
    DEVICES_READY = "devices-ready"
    #: The health gate says pass, and there is a next wave.
    WAVE_PASSED = "wave-passed"
    #: The health gate says pass, and this was the last wave.
    LAST_WAVE_PASSED = "last-wave-passed"
    #: The health gate says fail.
    WAVE_FAILED = "wave-failed"
    #: The health gate still says wait, and waiting is over.
    EVIDENCE_MISSING = "evidence-missing"
    #: A person ended it.
    ABORT = "abort"
    #: A newer rollout took over its last open device, or that device left the fleet.
    SUPERSEDED = "superseded"
    #: Its model is no longer listed.
    MODEL_WITHDRAWN = "model-withdrawn"


class RolloutCommand(StrEnum):
    """What the server does once the new state is saved; each is safe to carry out twice."""

    #: Nothing.
    NONE = "none"
    #: Ask the devices of the present wave that were not asked yet.
    OFFER_WAVE = "offer-wave"
    #: Take back every offer that has not ended, and ask nobody more; committed devices keep the model.
    WITHDRAW_OFFERS = "withdraw-offers"


_S, _E, _C = RolloutState, RolloutEvent, RolloutCommand

#: (state, event) -> (state, command).
TABLE: dict[tuple[RolloutState, RolloutEvent], tuple[RolloutState, RolloutCommand]] = {
    (_S.RUNNING, _E.DEVICES_READY): (_S.RUNNING, _C.OFFER_WAVE),
    (_S.RUNNING, _E.WAVE_PASSED): (_S.RUNNING, _C.OFFER_WAVE),
    (_S.RUNNING, _E.LAST_WAVE_PASSED): (_S.FINISHED, _C.NONE),
    (_S.RUNNING, _E.EVIDENCE_MISSING): (_S.PAUSED, _C.NONE),
    (_S.FINISHED, _E.DEVICES_READY): (_S.FINISHED, _C.OFFER_WAVE),
    **{
        (state, event): (end, _C.WITHDRAW_OFFERS)
        for state in (_S.RUNNING, _S.PAUSED)
        for event, end in (
            (_E.WAVE_FAILED, _S.FAILED),
            (_E.MODEL_WITHDRAWN, _S.FAILED),
            (_E.ABORT, _S.ABORTED),
            (_E.SUPERSEDED, _S.ABORTED),
        )
    },
}

#: A rollout that still has something to do, or a person has.
OPEN = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as far as its machine needs it."""

    state: RolloutState
    #: Index of the present wave, and how many there are.
    wave: int
    waves: int
    #: Why it stands where it stands, in words; empty while it runs.
    reason: str = ""


def step(rollout: Rollout, event: RolloutEvent, *, reason: str = "") -> tuple[Rollout, RolloutCommand]:
    """What `event` makes of `rollout`, and what to do once that is saved.

    Raises:
        AssertionError: the table does not allow the event here; only a bug does that.
    """
    row = TABLE.get((rollout.state, event))
    if row is None:
        raise AssertionError(f"{event} is illegal in a {rollout.state} rollout")
    state, command = row
    if event is RolloutEvent.WAVE_PASSED:
        assert rollout.wave + 1 < rollout.waves, "the last wave has no next one"
        return replace(rollout, wave=rollout.wave + 1), command
    if event is RolloutEvent.DEVICES_READY:
        return rollout, command
    return replace(rollout, state=state, reason=reason), command


def allows(state: RolloutState, event: RolloutEvent) -> bool:
    """Whether the table lists the event in this state."""
    return (state, event) in TABLE


def event_of(verdict: Verdict, rollout: Rollout, now: datetime) -> RolloutEvent | None:
    """What the health gate's verdict means for the rollout; None = go on waiting."""
    match verdict:
        case Pass():
            last = rollout.wave + 1 == rollout.waves
            return RolloutEvent.LAST_WAVE_PASSED if last else RolloutEvent.WAVE_PASSED
        case Wait():
            return RolloutEvent.EVIDENCE_MISSING if verdict.is_over(now) else None
        case Fail():
            return RolloutEvent.WAVE_FAILED
        case _:
            assert_never(verdict)
