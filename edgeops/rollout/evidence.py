"""What a wave has shown, and whether that is proof: first installed, then, after its bake, healthy.

Installed means that enough of the devices that were asked committed after a trial of N inferences without error.
Healthy is the word of the health gate, which comes in as a value. Missing evidence never passes: it is waited for, and
when waiting ends a person decides.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from edgeops.rollout.policy import Policy
from edgeops.rollout.verdict import Health, Healthy, Undecided, Unhealthy

#: Ends of waiting that no clock decides: devices are still at it, with deadlines of their own; nobody is waited for.
FOREVER = datetime.max.replace(tzinfo=UTC)
PASSED_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WaveEvidence:
    """The counters of one wave; `offered` includes all that follow. Moments are on the service clock."""

    #: When a wave in which nobody could be asked is given up.
    given_up_at: datetime
    size: int
    offered: int
    committed: int
    #: Failed, rejected, rolled back or timed out.
    failed: int
    #: Neither success nor failure.
    inconclusive: int
    #: Had committed, and run something else.
    regressed: int = 0
    #: Since when it bakes; None = it does not yet.
    bakes_since: datetime | None = None
    #: Which device failed or was inconclusive first, and why.
    problem: str = ""
    #: No wave follows it and the one before was proven: nothing rests on its proof.
    is_spare: bool = False
    #: It was held back as control until the waves before it had passed.
    is_control: bool = False

    @property
    def lost(self) -> int:
        """Devices that did not keep the model."""
        return self.failed + self.regressed

    @property
    def ended(self) -> int:
        """Devices of which no more is expected before the bake."""
        return self.committed + self.lost + self.inconclusive


@dataclass(frozen=True, slots=True)
class Pass:
    """The next wave may be asked."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not enough evidence; once `until` has come, waiting ends and a person decides."""

    until: datetime
    reason: str

    def is_over(self, now: datetime) -> bool:
        """Whether nothing more is waited for."""
        return self.until <= now


@dataclass(frozen=True, slots=True)
class Fail:
    """The wave did not keep the model."""

    reason: str


Verdict = Pass | Wait | Fail


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What one device has shown for one installation, gathered from reports in any order."""

    inferences: int = 0
    errors: int = 0
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    memory_bytes: int = 0
    #: The device said that the candidate became active.
    committed: bool = False

    def is_enough(self, policy: Policy) -> bool:
        """Whether it is installed and running."""
        return self.committed and self.errors == 0 and self.inferences >= policy.trial_inferences


def installed_verdict(evidence: WaveEvidence, policy: Policy) -> Verdict:
    """Whether enough devices of the wave installed the model and kept it; of a `Pass` follows the bake.

    Shares are of the devices that were asked. A device that timed out is a failure; one that was never online since it
    was asked counts as not asked; an inconclusive end is neither success nor failure.
    """
    if evidence.offered == 0:
        return Wait(evidence.given_up_at, _nobody_asked(evidence))
    asked = _devices(evidence.offered)
    enough = evidence.ended >= min(policy.min_devices, evidence.size)
    if enough and evidence.lost > policy.max_failure * evidence.offered:
        return Fail(f"{evidence.lost} of {asked} did not keep the model: {evidence.problem}")
    progress = f"{evidence.committed} of {asked} committed"
    if evidence.ended < evidence.offered:
        return Wait(FOREVER, progress)
    if not enough:
        return Wait(
            evidence.given_up_at,
            f"{progress}, of at least {min(policy.min_devices, evidence.size)} that must have ended",
        )
    if evidence.committed < policy.min_success * evidence.offered:
        doubtful = evidence.inconclusive or evidence.lost
        return Wait(PASSED_LONG_AGO, f"no proof from {doubtful} of {asked}: {evidence.problem}")
    each = " each" if evidence.offered > 1 else ""
    return Pass(
        f"{progress} after {policy.trial_inferences} inferences{each}" + _unasked(evidence.size - evidence.offered)
    )


def wave_verdict(evidence: WaveEvidence, policy: Policy, health: Health | None, now: datetime) -> Verdict:
    """Judge the present wave: installed, then baked, then healthy. A spare one in which nobody can be asked passes.

    `health` is what the health gate says of the devices now, None while none has committed; harm that it proves ends
    the wave at once, all else waits for the bake. `now` is on the service clock.
    """
    installed = installed_verdict(evidence, policy)
    is_lost = isinstance(installed, Fail)
    if isinstance(health, Unhealthy) and (evidence.is_control or not is_lost):
        return Fail(f"not healthy: {health.words}")
    if isinstance(installed, Fail):
        return _held_back(installed) if evidence.is_control else installed
    if evidence.bakes_since is None:
        return _unbaked_verdict(evidence, installed, now)
    baked = evidence.bakes_since + policy.bake
    match health:
        case Healthy(words) if now >= baked and isinstance(installed, Pass):
            return Pass(f"proof: installed and healthy: {installed.reason}; {words}")
        case Undecided(words) if now >= baked:
            return Wait(baked + policy.evidence_timeout, f"insufficient evidence: {words}")
        case _:
            return Wait(baked + policy.evidence_timeout, f"{installed.reason}; bakes until {baked:%H:%M:%S} UTC")


def _held_back(lost: Fail) -> Wait:
    """Few devices that were held back are lost: too little to take a model from all others, on which it is proven."""
    return Wait(PASSED_LONG_AGO, f"{lost.reason}; the waves before it passed, so a person decides")


def _unbaked_verdict(evidence: WaveEvidence, installed: Pass | Wait, now: datetime) -> Verdict:
    if evidence.is_spare and evidence.offered == 0 and evidence.given_up_at <= now:
        late = "the wave before was proven and no other follows, so who comes is asked then and judged by itself"
        return Pass(f"{_nobody_asked(evidence)}; {late}")
    # What has installed well begins to bake; until then it goes on waiting.
    return Wait(FOREVER, installed.reason) if isinstance(installed, Pass) else installed


def alone_verdict(health: Health, *, baked_at: datetime, given_up_at: datetime, now: datetime) -> Verdict:
    """The same for a device that came late and is judged by itself."""
    match health:
        case Unhealthy(words):
            return Fail(f"not healthy: {words}")
        case Healthy(words) if now >= baked_at:
            return Pass(words)
        case Undecided(words) if now >= given_up_at:
            return Fail(f"insufficient evidence: {words}")
        case Healthy(words) | Undecided(words):
            return Wait(given_up_at, words)
        case _:
            assert_never(health)


def _nobody_asked(evidence: WaveEvidence) -> str:
    why = "offline, pinned, quarantined, removed, held back, taken over, or not fit for the model"
    return f"none of {_devices(evidence.size)} could be asked: {why}"


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _unasked(count: int) -> str:
    return f"; {_devices(count)} not asked yet (offline, pinned or quarantined)" if count else ""
