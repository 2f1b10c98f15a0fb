"""What a person who watches a rollout is told, and when watching ends.

`changes` compares two states and is pure; `follow_rollout` asks the server until nothing more will happen by itself.
Each time it asks for the rollout with the counters of its waves; for its devices, where they are many, when that has
changed. It decides nothing about the rollout.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Installation, Rollout
from edgeops.cli.output import printable
from edgeops.errors import WaitTimeoutError
from edgeops.exits import RolloutEndedBadlyError

#: What a finished rollout has shown, and no more than that.
PROOF = "installed and healthy"
#: The one state that is a good end.
FINISHED = "finished"
_GOOD = frozenset({FINISHED, "live"})
#: Nothing has begun, and a person decides whether it does.
_UNDECIDED = frozenset({"draft", "awaiting-approval"})
#: The device has the model.
HOLDING = frozenset({"committed", "healthy"})

_POLL_S = 1.0
#: Devices that one page holds; of so few the steps are told that no counter of a wave tells of.
_FEW = limits.PAGE_SIZE
#: States out of which time or devices lead; out of the others a person does, or nobody.
_GOES_ON = frozenset({"scheduled", "awaiting-blessing", "running", "rolling-back"})


@dataclass(frozen=True, slots=True)
class Change:
    """A new state, and what is new about it in words."""

    rollout: Rollout
    installations: tuple[Installation, ...]
    lines: tuple[str, ...]


def follow_rollout(
    client: Client, rollout_id: str, *, timeout: timedelta | None = None, pause: Callable[[float], None] = time.sleep
) -> Iterator[Change]:
    """Every change of a rollout until it ended, or paused for a person.

    Raises:
        WaitTimeoutError: it still runs after `timeout`; it goes on by itself.
    """
    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    before: Change | None = None
    seen: Rollout | None = None
    while True:
        # In this order: what is finished now has all its installations' last words in the second answer.
        rollout = client.rollout(rollout_id)
        if rollout != seen or sum(wave.size for wave in rollout.waves) <= _FEW:
            seen = rollout
            installations = tuple(client.installations(rollout_id))
            lines = changes(before, rollout, installations)
            if lines:
                before = Change(rollout, installations, tuple(lines))
                yield before
        if rollout.state not in _GOES_ON:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise WaitTimeoutError(f"rollout {rollout_id} still runs after {timeout}; it goes on by itself")
        pause(_POLL_S)


def changes(before: Change | None, rollout: Rollout, installations: Sequence[Installation]) -> list[str]:
    """What is new since `before`, one line each."""
    lines = [] if before else [headline(rollout)]
    started = {wave.position for wave in before.rollout.waves if wave.started_at} if before else set()
    finished = {wave.position for wave in before.rollout.waves if wave.finished_at} if before else set()
    known = {one.id: one.state for one in before.installations} if before else {}
    for wave in rollout.waves:
        if wave.started_at and wave.position not in started:
            lines.append(f"wave {wave.position + 1} of {len(rollout.waves)}: {_devices(wave.size)}")
        lines += [
            f"  {one.device_id}  {one.state}{_because(one)}"
            for one in installations
            if one.wave == wave.position and one.state not in (known.get(one.id), "pending")
        ]
        if wave.finished_at and wave.position not in finished:
            lines.append(f"wave {wave.position + 1} of {len(rollout.waves)}: {wave.committed} of {wave.size} committed")
    if rollout.state not in _GOES_ON and (before is None or before.rollout.state != rollout.state):
        lines.append(conclusion(rollout, installations))
    return lines


def headline(rollout: Rollout) -> str:
    """Which model goes where."""
    return (
        f"rollout {rollout.id}: {rollout.model}@{rollout.version} {rollout.variant} "
        f"to deployment {rollout.deployment} of {rollout.selector}"
    )


def conclusion(rollout: Rollout, installations: Sequence[Installation]) -> str:
    """How it ended."""
    if rollout.state == FINISHED and not unproven(rollout):
        # A device that was asked twice is one device.
        committed = {one.device_id for one in installations if one.state in HOLDING}
        return (
            f"finished: proof: {PROOF} on {len(committed)} of {_devices(len({one.device_id for one in installations}))}"
        )
    return f"{rollout.state}: {printable(unproven(rollout)) or standing(rollout)}"


def standing(rollout: Rollout) -> str:
    """Why it stands where it stands or, where nothing led there but its order, what leads it out."""
    waits = f"waits for {rollout.waits_for}" if rollout.waits_for else "no reason given"
    return printable(rollout.reason) or waits


def unproven(rollout: Rollout) -> str:
    """Which waves of a finished rollout a person let pass, and who and why; empty = none."""
    let_pass = [wave for wave in rollout.waves if wave.override is not None and rollout.state == FINISHED]
    return "; ".join(f"wave {wave.position + 1} {(wave.verdict or {}).get('reason', '')}" for wave in let_pass)


def require_good_end(rollout: Rollout) -> None:
    """Pass when the rollout finished, or waits for a person to let it begin.

    Raises:
        RolloutEndedBadlyError: it failed, was aborted, or paused.
    """
    if rollout.state not in _GOOD | _UNDECIDED:
        raise RolloutEndedBadlyError(f"rollout {rollout.id} {rollout.state}: {standing(rollout)}")


def _because(installation: Installation) -> str:
    evidence = installation.evidence
    if installation.state in HOLDING and evidence:
        return f"  {evidence.get('inferences', 0)} inferences, {evidence.get('errors', 0)} errors"
    text = installation.detail or (installation.reason if installation.reason != "none" else "")
    return f"  {printable(text)}" if text else ""


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
