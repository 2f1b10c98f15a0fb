"""What one process saw of a candidate in TRIAL: counts and latencies, which become its evidence.

It judges nothing; see `edgeops.update.machine.trial_verdict`.
"""

from collections import deque

from device_agent.facts import resident_bytes
from edgeops.protocol.messages import Evidence

#: Latencies of a trial that its percentiles are taken from, the newest.
_LATENCIES = 1_000


class Trial:
    """What this process saw of a trial."""

    def __init__(self, now: float) -> None:
        #: When the last input came or, once the evidence is spooled, when it was.
        self.since = now
        self.detail = ""
        self._inferences = 0
        self._errors = 0
        self._latencies_us: deque[int] = deque(maxlen=_LATENCIES)

    def count(self, *, ok: bool, latency_us: int, detail: str) -> None:
        """The candidate answered a real input, or failed to."""
        self._inferences += 1
        if ok:
            self._latencies_us.append(latency_us)
        else:
            self._errors += 1
            self.detail = detail

    def evidence(self) -> Evidence:
        """All of it so far."""
        ordered = sorted(self._latencies_us) or [0]
        return Evidence(
            inferences=self._inferences,
            errors=self._errors,
            latency_p50_us=ordered[len(ordered) // 2],
            latency_p95_us=ordered[len(ordered) * 95 // 100],
            memory_bytes=resident_bytes(),
        )
