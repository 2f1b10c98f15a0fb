"""Why a deployment of a device does not turn to another model now: every cause, the one that decides first.

There is an answer for whatever state a rollout and the device's part in it are in; "nothing holds it, it runs what it
should" is one. It decides nothing that happens: it reads the same values as the engine and says what they mean.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.installation import BAD, HOLDING, IN_FLIGHT, InstallationState
from edgeops.rollout.pins import Pin
from edgeops.rollout.rollout import ASKING, JUDGED, RolloutState
from edgeops.rollout.targeting import IN, Standing
from edgeops.update.update import RESTING


class Cause(StrEnum):
    """What holds a deployment."""

    #: Nothing: it runs what it should.
    NONE = "none"
    #: Nobody says what it should run.
    UNWANTED = "unwanted"
    #: The device has left the fleet.
    REMOVED = "removed"
    #: Nothing is believed of the device until a person looked.
    QUARANTINE = "quarantine"
    #: A person keeps it on another model.
    PIN = "pin"
    #: The model does not fit the device.
    INCOMPATIBLE = "incompatible"
    #: A rollout that means the device began without it.
    LEFT_OUT = "left-out"
    #: Nobody in the fleet is asked for anything.
    FREEZE = "freeze"
    #: The rollout was not submitted.
    DRAFT = "draft"
    #: The rollout waits for an approver.
    APPROVAL = "approval"
    #: The rollout begins later.
    SCHEDULE = "schedule"
    #: The rollout waits until devices have tried its model.
    BLESSING = "blessing"
    #: The rollout waits for a person.
    PAUSE = "pause"
    #: The rollout takes its model back.
    ROLLING_BACK = "rolling-back"
    #: The rollout has ended and asks nobody.
    ROLLOUT_ENDED = "rollout-ended"
    #: The wave before has not passed its health gate.
    HEALTH_GATE = "health-gate"
    #: Held back as control until the last bake ends.
    CONTROL = "control"
    #: It has the model; its wave shows itself before the health gate.
    BAKE = "bake"
    #: The device is not connected, or the server hears none.
    SILENCE = "silence"
    #: It ended badly, and is asked again after a pause.
    RETRY_PAUSE = "retry-pause"
    #: As many devices as the policy allows are at it.
    MAX_IN_FLIGHT = "max-in-flight"
    #: As many devices were asked in the last minute as the policy allows.
    RATE = "rate"
    #: Nothing: it is asked next.
    TURN = "turn"
    #: The device waits for its maintenance window.
    WINDOW = "window"
    #: The owner of the device holds it.
    HELD = "held"
    #: The device was asked, and works on it.
    DEVICE = "device"
    #: The device tried the model and did not keep it.
    ENDED_BADLY = "ended-badly"
    #: It runs something else than it should.
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """One cause."""

    cause: Cause
    #: For people.
    words: str
    #: When it ends by itself; None = that is not known.
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The newest part of the deployment in a rollout. Moments are on the service clock."""

    rollout_id: str
    rollout_state: RolloutState
    #: Why the rollout stands where it stands.
    rollout_reason: str = ""
    #: Not before this, by the clock on the wall.
    starts_at: datetime | None = None
    state: InstallationState
    #: Why it stands where it stands.
    detail: str = ""
    digest: str
    #: It was offered to the device.
    was_asked: bool = True
    #: It came late, and a health gate of its own is still to pass.
    is_judged_alone: bool = False
    #: Its wave, the present one, and how many there are.
    wave: int = 0
    present_wave: int = 0
    waves: int = 1
    control: bool = False
    #: What the present wave has shown and still must, in words.
    gate: str = ""
    #: The present wave shows itself, and asks nobody meanwhile.
    bakes: bool = False
    not_before: datetime | None = None
    #: Devices that are at it, and how many may be.
    in_flight: int = 0
    max_in_flight: int | None = None
    #: Devices that were asked in the last minute, and how many may be.
    asked_lately: int = 0
    rate_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The newest rollout that has begun, means the device and does not ask it."""

    rollout_id: str
    #: How the device stands to it now; one that is in by now was not when it began.
    standing: Standing
    #: In words.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One deployment of one device."""

    deployment: str
    removed: bool = False
    quarantined: bool = False
    online: bool = True
    last_seen_at: datetime | None = None
    #: Since when the server has heard no device at all; None = it hears them.
    deaf_since: datetime | None = None
    #: What it runs, and what it should run, by digest; None = no model, nobody says.
    active: str | None = None
    desired: str | None = None
    #: Somebody says that it should run no model; `desired` is None then.
    shall_run_none: bool = False
    #: What it said of its update last.
    told: UpdateState = UpdateState.IDLE
    reason: Reason = Reason.NONE
    detail: str = ""
    #: Those that keep the deployment on something.
    pins: tuple[Pin, ...] = ()
    #: What is in the way of the model of `part`.
    misfits: tuple[str, ...] = ()
    #: Who froze the fleet and why; empty = nobody did.
    freeze: str = ""
    part: Part | None = None
    #: It is newer than `part`.
    left_out: LeftOut | None = None


_R, _S = RolloutState, InstallationState

_TAKING_BACK = frozenset({_R.ROLLING_BACK, _R.ROLLED_BACK})
_NOT_ASKING = {
    _R.DRAFT: (Cause.DRAFT, "is a draft; submit it"),
    _R.AWAITING_APPROVAL: (Cause.APPROVAL, "waits for an approver, who approves or denies it"),
    _R.SCHEDULED: (Cause.SCHEDULE, "begins later"),
    _R.AWAITING_BLESSING: (Cause.BLESSING, "waits until devices have tried its model"),
    _R.PAUSED: (Cause.PAUSE, "is paused; a person resumes, advances, retries or aborts it"),
    _R.ROLLING_BACK: (Cause.ROLLING_BACK, "takes its model back and asks nobody"),
}


def hindrances(situation: Situation, now: datetime) -> tuple[Hindrance, ...]:
    """Everything that holds the deployment now, the cause that decides first; never empty."""
    if situation.removed:
        return (Hindrance(Cause.REMOVED, "the device was removed from the fleet; it comes back by enrolling again"),)
    part = situation.part
    held = _settled(situation) if part is None else _of_part(situation, part, now)
    return (*held, *_left_out(situation))


def _of_part(situation: Situation, part: Part, now: datetime) -> Iterator[Hindrance]:
    if part.state is _S.PENDING:
        held = tuple(_pending(situation, part, now))
        yield from held or (Hindrance(Cause.TURN, f"rollout {part.rollout_id} asks it next"),)
    elif part.state in IN_FLIGHT:
        yield from _asked(situation, part)
    elif _shows_itself(part) and situation.active == part.digest:
        yield from _bakes(situation, part)
    elif part.state is _S.SUPERSEDED and not part.was_asked and situation.misfits:
        words = f"rollout {part.rollout_id} leaves it out: the model does not fit: {'; '.join(situation.misfits)}"
        yield Hindrance(Cause.INCOMPATIBLE, words)
    else:
        if part.state in BAD:
            yield _ended_badly(part)
        yield from _settled(situation)


def _shows_itself(part: Part) -> bool:
    """Whether it has the model and may lose it again, or make its wave wait."""
    if part.state is not _S.COMMITTED:
        return False
    if part.is_judged_alone or part.rollout_state is _R.ROLLING_BACK:
        return True
    # One that somebody let pass is judged no more.
    return part.rollout_state in JUDGED and part.wave >= part.present_wave


# -- not asked yet -----------------------------------------------------------------------


def _pending(situation: Situation, part: Part, now: datetime) -> Iterator[Hindrance]:
    yield from _distrusted(situation)
    yield from _pinned(situation, [pin for pin in situation.pins if pin.digest != part.digest])
    if situation.misfits:
        yield Hindrance(Cause.INCOMPATIBLE, f"the model does not fit: {'; '.join(situation.misfits)}")
    if situation.freeze:
        yield _frozen(situation)
    if part.rollout_state not in ASKING:
        yield _not_asking(part)
    elif part.wave > part.present_wave:
        yield _not_reached(part)
    elif part.bakes:
        words = f"wave {part.present_wave + 1} of rollout {part.rollout_id} bakes, and nobody is asked meanwhile"
        yield Hindrance(Cause.BAKE, f"{words}: {part.gate}")
    yield from _silent(situation)
    if part.not_before is not None and now < part.not_before:
        words = f"asked again after a pause: {part.detail or 'its last attempt ended badly'}"
        yield Hindrance(Cause.RETRY_PAUSE, words, part.not_before)
    yield from _crowded(part)


def _not_asking(part: Part) -> Hindrance:
    reason = f": {part.rollout_reason}" if part.rollout_reason else ""
    cause, words = _NOT_ASKING.get(
        part.rollout_state, (Cause.ROLLOUT_ENDED, f"is {part.rollout_state} and asks nobody")
    )
    until = part.starts_at if cause is Cause.SCHEDULE else None
    return Hindrance(cause, f"rollout {part.rollout_id} {words}{reason}", until)


def _not_reached(part: Part) -> Hindrance:
    place = f"it is in wave {part.wave + 1} of {part.waves} of rollout {part.rollout_id}"
    gate = f"wave {part.present_wave + 1} has not passed its health gate: {part.gate or 'it has shown nothing yet'}"
    if part.control:
        return Hindrance(Cause.CONTROL, f"held back as control until the last bake ends; {place}; {gate}")
    return Hindrance(Cause.HEALTH_GATE, f"{place}; {gate}")


def _crowded(part: Part) -> Iterator[Hindrance]:
    if part.max_in_flight is not None and part.in_flight >= part.max_in_flight:
        words = f"{part.in_flight} devices are at it, {part.max_in_flight} may be (max_in_flight)"
        yield Hindrance(Cause.MAX_IN_FLIGHT, words)
    if part.rate_per_minute is not None and part.asked_lately >= part.rate_per_minute:
        words = f"{part.asked_lately} devices were asked in the last minute, {part.rate_per_minute} may be"
        yield Hindrance(Cause.RATE, f"{words} (rate_per_minute)")


# -- asked -------------------------------------------------------------------------------


def _asked(situation: Situation, part: Part) -> Iterator[Hindrance]:
    yield from _distrusted(situation)
    waits = _waits(situation)
    yield from waits
    yield from _silent(situation)
    if not waits:
        at = "heard nothing of it yet" if situation.told is UpdateState.IDLE else f"it is {situation.told}"
        detail = f": {situation.detail}" if situation.detail else ""
        yield Hindrance(Cause.DEVICE, f"rollout {part.rollout_id} asked it; {at}{detail}")


def _waits(situation: Situation) -> tuple[Hindrance, ...]:
    """What the device itself says it waits for."""
    detail = f": {situation.detail}" if situation.detail else ""
    if situation.reason is Reason.WINDOW:
        return (Hindrance(Cause.WINDOW, f"the device waits for its maintenance window{detail}"),)
    if situation.reason is Reason.HELD:
        return (Hindrance(Cause.HELD, f"the owner of the device holds it{detail}"),)
    return ()


# -- has it, or had it -------------------------------------------------------------------


def _bakes(situation: Situation, part: Part) -> Iterator[Hindrance]:
    yield from _distrusted(situation)
    yield from _pinned(situation, situation.pins)
    who = "it came late and" if part.is_judged_alone else f"wave {part.wave + 1} of rollout {part.rollout_id}"
    words = f"it runs the model; {who} must show itself"
    if part.rollout_state is _R.PAUSED:
        yield _not_asking(part)
    yield Hindrance(Cause.BAKE, f"{words}: {part.gate or 'it has shown nothing yet'}")
    yield from _silent(situation)


def _ended_badly(part: Part) -> Hindrance:
    detail = f": {part.detail}" if part.detail else ""
    return Hindrance(Cause.ENDED_BADLY, f"in rollout {part.rollout_id} it ended {part.state}{detail}")


def _settled(situation: Situation) -> Iterator[Hindrance]:
    """No rollout is at it: is it kept out of any, and does it run what it should?"""
    kept_out = (*_distrusted(situation), *_pinned(situation, situation.pins))
    yield from kept_out
    if situation.freeze and situation.left_out is not None:
        yield _frozen(situation)  # it would hold the rollout that is to be begun with it
    if not _differs(situation):
        if not kept_out and situation.left_out is None:
            yield _content(situation)
        return
    yield from _waits(situation)
    yield from _silent(situation)
    words = f"it runs {_model(situation.active)} and should run {_model(situation.desired)}{_at(situation)}"
    yield Hindrance(Cause.DIFFERS, words)


def _differs(situation: Situation) -> bool:
    is_wanted = situation.desired is not None or situation.shall_run_none
    return is_wanted and situation.active != situation.desired


def _content(situation: Situation) -> Hindrance:
    if situation.desired is None:
        return Hindrance(
            Cause.UNWANTED, f"it runs {_model(situation.active)}, and nobody says that it should run another"
        )
    return Hindrance(Cause.NONE, f"nothing holds it: it runs what it should, {_model(situation.desired)}")


def _left_out(situation: Situation) -> Iterator[Hindrance]:
    out = situation.left_out
    if out is None:
        return
    if out.standing in IN:
        words = f"rollout {out.rollout_id} began without it; nothing keeps it out now, begin another"
    else:
        words = f"rollout {out.rollout_id} leaves it out: {out.reason}"
    yield Hindrance(Cause.INCOMPATIBLE if out.standing is Standing.INCOMPATIBLE else Cause.LEFT_OUT, words)


def _at(situation: Situation) -> str:
    """What the device says of it, if it is at it or gave a reason."""
    detail = f": {situation.detail}" if situation.detail else ""
    return f"; it is {situation.told}{detail}" if detail or situation.told not in RESTING else ""


# -- the device and people ---------------------------------------------------------------


def _pinned(situation: Situation, pins: Iterable[Pin]) -> Iterator[Hindrance]:
    for pin in pins:
        told = (str(pin), pin.leaves(situation.active), _spares(situation.part, pin))
        yield Hindrance(Cause.PIN, "; ".join(words for words in told if words), pin.until)


def _spares(part: Part | None, pin: Pin) -> str:
    """That a rollout which takes its model back leaves it here."""
    if part is None or part.rollout_state not in _TAKING_BACK or part.state not in HOLDING:
        return ""
    return f"rollout {part.rollout_id} leaves its model here" if pin.digest in {None, part.digest} else ""


def _frozen(situation: Situation) -> Hindrance:
    return Hindrance(Cause.FREEZE, f"the fleet is frozen: {situation.freeze}")


def _distrusted(situation: Situation) -> Iterator[Hindrance]:
    if situation.quarantined:
        words = "nothing is believed of the device: two spoke in its name; look for the other, then release it"
        yield Hindrance(Cause.QUARANTINE, words)


def _silent(situation: Situation) -> Iterator[Hindrance]:
    deaf = situation.deaf_since
    if deaf is not None:
        words = f"the server has heard no device since {deaf:%Y-%m-%d %H:%M:%S} UTC; deadlines stand still"
        yield Hindrance(Cause.SILENCE, words)
    if not situation.online:
        seen = situation.last_seen_at
        since = "it was never heard" if seen is None else f"it was last heard at {seen:%Y-%m-%d %H:%M:%S} UTC"
        yield Hindrance(Cause.SILENCE, f"the device is offline; {since}")


def _model(digest: str | None) -> str:
    return "no model" if digest is None else digest[: len("sha256:") + 12]
