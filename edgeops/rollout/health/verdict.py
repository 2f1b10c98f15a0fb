"""The health gate's verdict over all that a wave has shown."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.health.wave import WaveHealth
from edgeops.rollout.policy import HealthPolicy


class Kind(StrEnum):
    """A kind of evidence, the strongest first."""

    #: What devices owe and did not send.
    TELEMETRY = "telemetry"
    #: How often new and old answer differently, and who is right.
    ANSWERS = "answers"
    ERRORS = "errors"
    CRASHES = "crashes"
    LATENCY = "latency"
    MEMORY = "memory"
    #: Readings that are missing.
    QUALITY = "quality"
    #: Classes that are answered more or less often.
    MIX = "mix"
    #: Accuracy estimated from confidences.
    ESTIMATE = "estimate"


class Sign(StrEnum):
    """What a finding says."""

    GOOD = "good"
    BAD = "bad"
    #: Not enough to tell; what is missing is in the words.
    OPEN = "open"
    #: Told, and decides nothing.
    TOLD = "told"


class HealthFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of evidence."""

    kind: Kind
    sign: Sign
    #: With figures, what they are compared with, and the limit.
    words: str
    #: The figure that was judged, what it was compared with, and what it may be; None = there is none.
    value: float | None = None
    against: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Healthy:
    """Proof that the model is no worse than policy allows."""

    reason: str
    findings: tuple[HealthFinding, ...]


@dataclass(frozen=True, slots=True)
class Undecided:
    """Not enough evidence; the reason says what is missing."""

    reason: str
    findings: tuple[HealthFinding, ...]


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """Proof that it is worse."""

    reason: str
    findings: tuple[HealthFinding, ...]


HealthVerdict = Healthy | Undecided | Unhealthy


def health_verdict(health: WaveHealth, policy: HealthPolicy, *, task: Task, intent: Intent) -> HealthVerdict:
    """Judge what a wave has shown."""
    if health.canary.since.rows < policy.min_rows:
        return Undecided(f"{health.canary.since.rows} of {policy.min_rows} rows", ())
    return Undecided(f"the health of a {task} model is not judged yet (intent {intent})", ())
