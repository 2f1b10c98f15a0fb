"""Lets a model answer labelled rows through `Model.predict` alone: the way a device answers.

What the answers are worth, `edgeops.learning.metrics` says; whether that is good enough, `promotion`.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError
from edgeops.learning.metrics import REFUSED, Answers
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import Rows

_WARM_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """What a model did on labelled rows (n)."""

    answers: Answers
    #: How sure it was of each, float32; NaN where it refused.
    confidence: NDArray[np.float32]
    #: Milliseconds of each `predict` after the warm-up.
    latencies_ms: NDArray[np.float64]

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return round(float(np.percentile(self.latencies_ms, percent)), 4)


def judge(model: Model, rows: Rows, *, classes: int) -> Judgement:
    """Answer every row once; a row that the model refuses is a wrong answer."""
    for values in rows.values[:_WARM_UP]:
        _answer(model, values)
    answers = np.full(len(rows), REFUSED, dtype=np.int64)
    confidence = np.full(len(rows), np.nan, dtype=np.float32)
    latencies = np.zeros(len(rows))
    for place, values in enumerate(rows.values):
        started = time.perf_counter()
        answers[place], confidence[place] = _answer(model, values)
        latencies[place] = (time.perf_counter() - started) * 1000
    return Judgement(
        answers=Answers(truths=rows.classes, answers=answers, classes=classes),
        confidence=confidence,
        latencies_ms=latencies,
    )


def channels_of(model: Model, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Channel values (m, channels) of those rows (n, columns) that the model answers, and which those are (n)."""
    values, is_answered = [], np.zeros(len(rows), dtype=np.bool_)
    for place, row in enumerate(rows):
        try:
            values.append(model.predict(row[np.newaxis]).channels)
        except InputError:  # a row that a device would refuse is no part of what is normal
            continue
        is_answered[place] = True
    return np.array(values, dtype=np.float32).reshape(len(values), len(model.manifest.channels)), is_answered


def _answer(model: Model, values: NDArray[np.float32]) -> tuple[int, float]:
    """Class index and confidence."""
    try:
        prediction = model.predict(values[np.newaxis])
    except InputError:
        return REFUSED, np.nan
    return int(prediction.answer), prediction.confidence
