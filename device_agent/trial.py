"""What one process saw of a candidate in TRIAL: counts and latencies, which become its evidence.

The deployment's thread counts, another one asks; neither holds up the other for longer than a copy takes. It judges
nothing; see `edgeops.update.machine.trial_verdict`.
"""

from collections import deque
from threading import Lock

from device_agent.facts import resident_bytes
from edgeops.protocol.messages import Evidence

#: Latencies of a trial that its percentiles are taken from, the newest.
_LATENCIES = 1_000


class Trial:
    """What this process saw of a trial."""

    def __init__(self, now: float) -> None:
        #: When the last input came or, once the trial waits for something else, since when it does.
        self.since = now
        self.detail = ""
        self._waits = False
        self._inferences = 0
        self._errors = 0
        self._latencies_us: deque[int] = deque(maxlen=_LATENCIES)
        self._lock = Lock()

    @property
    def has_failed(self) -> bool:
        """Whether the candidate failed to answer a real input."""
        return self._errors > 0

    def count(self, *, ok: bool, latency_us: int, detail: str, now: float) -> None:
        """The candidate answered a real input, or failed to."""
        with self._lock:
            self._inferences += 1
            if not self._waits:
                self.since = now
            if ok:
                self.detail = ""
                self._latencies_us.append(latency_us)
            else:
                self._errors += 1
                self.detail = detail

    def starve(self, why: str) -> None:
        """No input comes, and its source says why; what failed to be answered says more."""
        with self._lock:
            if not self._errors:
                self.detail = why

    def wait(self, now: float) -> None:
        """From now on it is not inputs that the trial waits for."""
        with self._lock:
            if not self._waits:
                self._waits, self.since = True, now

    def evidence(self) -> Evidence:
        """All of it so far."""
        with self._lock:
            inferences, errors, ordered = self._inferences, self._errors, sorted(self._latencies_us) or [0]
        return Evidence(
            inferences=inferences,
            errors=errors,
            latency_p50_us=ordered[len(ordered) // 2],
            latency_p95_us=ordered[len(ordered) * 95 // 100],
            memory_bytes=resident_bytes(),
        )
