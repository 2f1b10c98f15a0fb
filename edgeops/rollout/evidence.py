"""The health gate before the next wave: what a wave has shown, and whether that is proof.

Until the health gate exists, proof means installed and running: every device that was asked committed
after its trial of N inferences without error. Missing evidence never passes: it is waited for, and when
waiting ends a person decides.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from edgeops.rollout.policy import Policy


@dataclass(frozen=True, slots=True)
class WaveEvidence:
    """The counters of one wave; `offered` includes all that follow."""

    started_at: datetime
    size: int
    offered: int
    committed: int
    #: Failed, rejected or rolled back.
    failed: int
    #: Inconclusive or timed out.
    inconclusive: int
    #: Which device failed or was inconclusive first, and why.
    problem: str = ""


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
    """The rollout ends."""

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


def wave_verdict(evidence: WaveEvidence, policy: Policy, now: datetime) -> Verdict:
    """Judge the running wave."""
    if evidence.failed:
        return Fail(f"{evidence.failed} of {_devices(evidence.offered)} did not keep the model: {evidence.problem}")
    if evidence.inconclusive:
        return Wait(now, f"no proof from {evidence.inconclusive} of {_devices(evidence.offered)}: {evidence.problem}")
    if evidence.offered == 0:
        return Wait(
            evidence.started_at + policy.wave_timeout,
            f"none of {_devices(evidence.size)} could be asked: offline, removed, or taken over by a newer rollout",
        )
    progress = f"{evidence.committed} of {_devices(evidence.offered)} committed"
    if evidence.committed < evidence.offered:
        return Wait(now + policy.offer_timeout, progress)
    each = " each" if evidence.offered > 1 else ""
    return Pass(
        f"proof: installed and running: {progress} after {policy.trial_inferences} inferences{each}"
        + _unasked(evidence.size - evidence.offered)
    )


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _unasked(count: int) -> str:
    return f"; {_devices(count)} not asked yet (offline)" if count else ""
