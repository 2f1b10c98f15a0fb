"""Lets a model answer labelled windows through `Model.predict` alone: the way a device answers.

What the answers are worth, `edgeops.learning.classification`, `.regression` and `.anomaly` say; whether that is good
enough, the promotion gates.
"""

import time
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError
from edgeops.learning.anomaly import Alarms
from edgeops.learning.classification import REFUSED, Answers
from edgeops.learning.regression import Estimates, estimates_of
from edgeops.model.model import Model
from fleet_server.ml.windows import Windows

_WARM_UP = 20
#: Answers of a task, held against truths.
JudgedT = TypeVar("JudgedT", bound=Answers | Estimates | Alarms)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement(Generic[JudgedT]):
    """What a model did on labelled windows (n)."""

    answers: JudgedT
    #: How sure it was of each, float32; NaN where it refused.
    confidence: NDArray[np.float32]
    #: Milliseconds of each `predict` after the warm-up.
    latencies_ms: NDArray[np.float64]

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return round(float(np.percentile(self.latencies_ms, percent)), 4)


def judge_classes(model: Model, windows: Windows, *, classes: int) -> Judgement[Answers]:
    """Let a classifier answer every window once; one that it refuses is a wrong answer."""
    said = _listen(model, windows)
    given = np.where(np.isnan(said.answers), REFUSED, said.answers).astype(np.int64)
    answers = Answers(truths=windows.classes, answers=given, classes=classes)
    return Judgement(answers=answers, confidence=said.confidence, latencies_ms=said.latencies_ms)


def judge_numbers(model: Model, windows: Windows, *, median: float) -> Judgement[Estimates]:
    """Let a regression answer every window once; `median` is what one would answer without it."""
    said = _listen(model, windows)
    answers = estimates_of(windows.targets.astype(np.float64), said.answers, median=median)
    return Judgement(answers=answers, confidence=said.confidence, latencies_ms=said.latencies_ms)


def judge_alarms(model: Model, windows: Windows, *, threshold: float) -> Judgement[Alarms]:
    """Let an anomaly detector score every window once."""
    said = _listen(model, windows)
    answers = Alarms(truths=windows.targets, scores=said.answers, threshold=threshold)
    return Judgement(answers=answers, confidence=said.confidence, latencies_ms=said.latencies_ms)


def channels_of(model: Model, windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Channel values (m, channels) of the windows (n, rows, columns) that are answered, and which those are (n)."""
    values, is_answered = [], np.zeros(len(windows), dtype=np.bool_)
    for place, window in enumerate(windows):
        try:
            values.append(model.predict(window).channels)
        except InputError:  # what a device would refuse is no part of what is normal
            continue
        is_answered[place] = True
    return np.array(values, dtype=np.float32).reshape(len(values), len(model.manifest.channels)), is_answered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Said:
    """Per window (n); NaN where the model refused it."""

    answers: NDArray[np.float64]
    confidence: NDArray[np.float32]
    latencies_ms: NDArray[np.float64]


def _listen(model: Model, windows: Windows) -> _Said:
    for values in windows.values[:_WARM_UP]:
        _answer(model, values)
    answers, latencies = np.empty(len(windows)), np.empty(len(windows))
    confidence = np.empty(len(windows), dtype=np.float32)
    for place, values in enumerate(windows.values):
        started = time.perf_counter()
        answers[place], confidence[place] = _answer(model, values)
        latencies[place] = (time.perf_counter() - started) * 1000
    return _Said(answers=answers, confidence=confidence, latencies_ms=latencies)


def _answer(model: Model, values: NDArray[np.float32]) -> tuple[float, float]:
    """Answer and confidence."""
    try:
        prediction = model.predict(values)
    except InputError:
        return np.nan, np.nan
    return prediction.answer, prediction.confidence
