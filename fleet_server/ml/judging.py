"""Judges a model on rows it never saw, through `Model.predict` alone: the way a device answers.

A row that the model refuses counts as a wrong answer. Whether the result is good enough, `promotion`
decides.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import Rows

_REFUSED = -1
_WARM_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a model did on labelled rows."""

    #: confusion[truth, answer]; the last column counts refused rows.
    confusion: NDArray[np.int64]
    #: Milliseconds of each `predict` after the warm-up.
    latencies_ms: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Rows judged."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(np.trace(self.confusion)) / self.rows

    @property
    def majority(self) -> float:
        """What always answering the most frequent class would score."""
        return float(self.confusion.sum(axis=1).max()) / self.rows

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, share of its rows that were found."""
        right = np.diagonal(self.confusion)
        return np.asarray(right / np.maximum(self.confusion.sum(axis=1), 1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, share of its answers that were right."""
        right = np.diagonal(self.confusion)
        return np.asarray(right / np.maximum(self.confusion[:, : len(right)].sum(axis=0), 1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Per class, harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / np.where(total > 0, total, 1.0)

    def metrics(self, classes: tuple[str, ...]) -> dict[str, float]:
        """The figures that go into the manifest."""
        figures = {
            "accuracy": self.accuracy,
            "macro-f1": float(self.f1.mean()),
            "majority": self.majority,
            "rows": float(self.rows),
        }
        figures |= {f"recall.{name}": float(value) for name, value in zip(classes, self.recall, strict=True)}
        return {name: round(value, 6) for name, value in figures.items()}


def judge(model: Model, rows: Rows, *, classes: int) -> Judgement:
    """Answer every row once and count."""
    for values in rows.values[:_WARM_UP]:
        _answer(model, values)
    confusion = np.zeros((classes, classes + 1), dtype=np.int64)
    latencies = np.empty(len(rows))
    for place, (values, truth) in enumerate(zip(rows.values, rows.classes, strict=True)):
        started = time.perf_counter()
        answer = _answer(model, values)
        latencies[place] = (time.perf_counter() - started) * 1000
        confusion[truth, answer] += 1
    return Judgement(confusion=confusion, latencies_ms=latencies)


def _answer(model: Model, values: NDArray[np.float32]) -> int:
    """The class index; the last column of the confusion when the model refuses the row."""
    try:
        return int(model.predict(values[np.newaxis]).answer)
    except InputError:
        return _REFUSED
