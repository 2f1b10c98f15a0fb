"""Two models on the same inputs: which inputs a shadow answers too, what that may cost, and what it comes to.

The inputs are chosen by chance, whatever is in them: each of those that the model in charge meets with the same
probability. What the counts prove is decided in `edgeops.rollout.health`, when two answers disagree in
`edgeops.rollout.agreement`. It knows no clock, no thread and no sink.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device_agent.lane import Charge
from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.errors import InputError
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Paired
from edgeops.rollout.agreement import agreement_of

_PATIENCE_NS = int(limits.SHADOW_PATIENCE.total_seconds() * 1e9)
_SPAN_NS = int(limits.SHADOW_CPU_SPAN.total_seconds() * 1e9)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one input: an answer or an error, and how long it took."""

    prediction: Prediction | None
    took_ns: int
    error: Exception | None = None


class Ask(Protocol):
    """Has a shadow answer one window, float32 (rows, columns)."""

    def __call__(self, window: NDArray[np.float32], *, patience_ns: int) -> Answered | None:
        """None = it did not within `patience_ns`, and shall not be asked again."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A loaded model beside the one in charge, which no sink hears as a shadow."""

    charge: Charge
    ask: Ask
    #: Of the inputs, those that it answers; of one processor core, what it may take.
    share: float
    cpu: float
    #: Is told, with the reason, that it is asked no more.
    give_up: Callable[[str], None]


class Pairing:
    """One shadow beside one model in charge; counts for one telemetry window at a time."""

    def __init__(self, shadow: Shadow, charge: Charge, *, seed: int, now_ns: int) -> None:
        self.shadow = shadow
        self._raw = digest_raw(shadow.charge.digest)
        self._agreement = agreement_of(shadow.charge.model.manifest, charge.model.manifest)
        self._random = np.random.default_rng(seed)
        #: The input that is paired next; one pass less with each input.
        self._until = self._gap()
        self._most_ns = self._credit_ns = shadow.cpu * _SPAN_NS
        self._credited_ns = now_ns
        self._failures = 0
        self.over = False
        self._clear()

    def chooses(self) -> bool:
        """Whether this input of the model in charge is one to be paired: each with the same probability."""
        self._until -= 1
        if self._until:
            return False
        self._until = self._gap()
        return not self.over

    def ask(self, window: NDArray[np.float32], *, beside_ns: int, now_ns: int) -> Answered | None:
        """What the shadow makes of a chosen input, for which the model in charge took `beside_ns`.

        None = it was not asked, because it had used up its share of the processor.
        """
        earned_ns = self.shadow.cpu * (now_ns - self._credited_ns)
        self._credit_ns, self._credited_ns = min(self._most_ns, self._credit_ns + earned_ns), now_ns
        if self._credit_ns <= 0:
            self._skipped += 1
            return None
        patience_ns = max(_PATIENCE_NS, limits.SHADOW_PATIENCE_FACTOR * beside_ns)
        answered = self.shadow.ask(window, patience_ns=patience_ns)
        if answered is None:
            answered = Answered(None, patience_ns, TimeoutError("it hangs"))
            self._give_up(f"it did not answer within {patience_ns / 1e9:.1f} s")
        self._credit_ns -= answered.took_ns
        return answered

    def unmatched(self) -> None:
        """No input window of the shadow ended with this input."""
        self._unmatched += 1

    def count(self, beside: Answered, shadow: Answered) -> bool:
        """Both had the input; whether their answers disagree."""
        self._judge(shadow)
        if beside.prediction is None or shadow.prediction is None:
            # What neither can answer tells them not apart.
            self._errors += shadow.prediction is not None
            self._shadow_errors += beside.prediction is not None
            return False
        self._latencies.append(beside.took_ns)
        self._shadow_latencies.append(shadow.took_ns)
        if self._agreement is None:
            return False
        return self._agreement.take(shadow.prediction.answer, beside.prediction.answer)

    def tell(self) -> Paired | None:
        """What the window came to, and begin a new one; None = nothing was to be paired."""
        p50_us, p95_us = percentiles_us(self._latencies, (0.50, 0.95))
        shadow_p50_us, shadow_p95_us = percentiles_us(self._shadow_latencies, (0.50, 0.95))
        paired = Paired(
            shadow=self._raw,
            rows=len(self._latencies),
            errors=self._errors,
            shadow_errors=self._shadow_errors,
            skipped=self._skipped,
            latency_p50_us=p50_us,
            latency_p95_us=p95_us,
            shadow_latency_p50_us=shadow_p50_us,
            shadow_latency_p95_us=shadow_p95_us,
            cells=() if self._agreement is None else self._agreement.cells(),
            unmatched=self._unmatched,
        )
        self._clear()
        happened = paired.rows + paired.errors + paired.shadow_errors + paired.skipped + paired.unmatched
        return paired if happened else None

    def _gap(self) -> int:
        return int(self._random.geometric(self.shadow.share))

    def _judge(self, shadow: Answered) -> None:
        """One that fails again and again, at more than an input that it refuses, is given up."""
        if shadow.error is None or isinstance(shadow.error, InputError):
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= limits.SHADOW_FAILURES:
            self._give_up(f"{self._failures} errors in a row, the last {type(shadow.error).__name__}: {shadow.error}")

    def _give_up(self, reason: str) -> None:
        if not self.over:
            self.over = True
            self.shadow.give_up(reason[: limits.MAX_DETAIL_LENGTH])

    def _clear(self) -> None:
        self._latencies: list[int] = []
        self._shadow_latencies: list[int] = []
        self._errors = self._shadow_errors = self._skipped = self._unmatched = 0
        if self._agreement is not None:
            self._agreement.clear()


def percentiles_us(latencies_ns: Sequence[int], ranks: tuple[float, ...]) -> tuple[int, ...]:
    """Nearest-rank percentiles in microseconds; zeros when there are none."""
    if not latencies_ns:
        return tuple(0 for _ in ranks)
    ordered = sorted(latencies_ns)
    return tuple(ordered[max(0, ceil(rank * len(ordered)) - 1)] // 1000 for rank in ranks)
