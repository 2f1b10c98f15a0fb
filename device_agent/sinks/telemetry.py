"""Publishes answers through the spool: all of them in batches, the newest one at most once a second, or none.

What is handed on is durable before the telemetry window that counts the same rows closes, so no
answer of a counted row is lost by a crash; rows that run again are published again under the same id.
"""

from collections.abc import Callable

from device_agent.config import PredictionMode
from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.model.postprocess import Prediction
from edgeops.protocol import messages
from edgeops.protocol.messages import Phase

_BATCH = limits.PREDICTION_BATCH
_BATCH_AGE_NS = int(limits.PREDICTION_BATCH_AGE.total_seconds() * 1e9)


class TelemetrySink:
    """Batches of answers of one deployment."""

    actuating = False
    dropped = 0

    def __init__(self, deployment: str, mode: PredictionMode, hand_on: Callable[[bytes], object]) -> None:
        self._deployment = deployment
        self._mode = mode
        #: Takes one encoded `Predictions` body and makes it durable.
        self._hand_on = hand_on
        self._raw_digest = b""
        self._phase = Phase.LIVE
        #: (input id, time, answer, confidence), oldest first.
        self._batch: list[tuple[str, int, float, float]] = []
        self._since_ns = 0
        #: When answers left last; None = none has.
        self._left_ns: int | None = None

    def begin(self, digest: str, phase: Phase) -> None:
        """Name the artifact of the answers that follow."""
        self._raw_digest, self._phase = digest_raw(digest), phase

    def take(self, input_id: str, prediction: Prediction, now_ns: int) -> None:
        """Keep one answer; a full batch leaves."""
        mode = self._mode
        if mode is PredictionMode.OFF:
            return
        batch = self._batch
        if not batch:
            self._since_ns = now_ns
        elif mode is PredictionMode.LATEST:
            batch.clear()
        batch.append((input_id, now_ns, prediction.answer, prediction.confidence))
        if self._is_due(now_ns):
            self._leave(now_ns)

    def rest(self, now_ns: int) -> None:
        """The server knows it from the reported state."""

    def tick(self, now_ns: int) -> None:
        """A batch that waited for a second leaves, the latest answer a second after the one before."""
        if self._batch and self._is_due(now_ns):
            self._leave(now_ns)

    def flush(self, now_ns: int) -> None:
        """What is left leaves."""
        if self._batch:
            self._leave(now_ns)

    def close(self) -> None:
        """What waited has left with the last window."""

    def _is_due(self, now_ns: int) -> bool:
        if self._mode is PredictionMode.LATEST:
            return self._left_ns is None or now_ns - self._left_ns >= _BATCH_AGE_NS
        return len(self._batch) >= _BATCH or now_ns - self._since_ns >= _BATCH_AGE_NS

    def _leave(self, now_ns: int) -> None:
        while self._batch:
            predictions = tuple(
                messages.Prediction(
                    input_id=input_id, age_ms=max(0, now_ns - at_ns) // 1_000_000, answer=answer, confidence=confidence
                )
                for input_id, at_ns, answer, confidence in self._batch[:_BATCH]
            )
            body = messages.Predictions(
                deployment=self._deployment, digest=self._raw_digest, phase=self._phase, predictions=predictions
            )
            self._hand_on(messages.encode(body))
            del self._batch[:_BATCH]
            self._left_ns = now_ns
