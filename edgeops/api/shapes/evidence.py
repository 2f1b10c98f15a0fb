"""What the waves of a rollout have shown, and what the health gate says of it."""

from typing import Any, Literal

from edgeops.api.shapes.shape import Answer


class EvidenceFinding(Answer):
    """One kind of evidence."""

    #: telemetry, answers, errors, crashes, latency, memory, quality, mix, estimate.
    kind: str
    #: good = proof that this much is well; bad = proof that it is not; open = not enough to tell; told = decides
    #: nothing.
    sign: str
    words: str
    #: The figure that was judged, what it was compared with, and what it may be; null = there is none.
    value: float | None = None
    against: float | None = None
    limit: float | None = None


class WaveEvidence(Answer):
    """What one wave has shown."""

    position: int
    health: Literal["healthy", "undecided", "unhealthy"]
    #: All of it in one sentence.
    words: str
    findings: tuple[EvidenceFinding, ...] = ()
    #: The sums that the findings stand on: of the wave's devices, of the control devices, and the labels.
    sums: dict[str, Any] = {}
    #: It was stored with the wave's verdict; else it is what is known now.
    judged: bool = False


class Evidence(Answer):
    """What the waves of a rollout have shown that were asked, in order."""

    rollout_id: str
    waves: tuple[WaveEvidence, ...] = ()
