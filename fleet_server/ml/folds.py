"""Answers to bought labels by models that never saw them: folds, and folds without one device's labels.

Every fold holds out a part of the fresh labels; what it learns from beside that is what the shipped model learns from.
Fold models are converted to int8 and answer through `Model.predict`, as the shipped file does. Whether a device's
labels harm the others is told by two trainings that differ in nothing else, so there the float networks answer, which
saves the conversions. What follows from the answers, `edgeops.learning.promotion` decides.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.learning.metrics import Answers
from edgeops.learning.promotion import LeftOut
from edgeops.learning.splits import fold_of
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import IMPORTED, Rows
from fleet_server.ml.judging import Judgement, judge
from fleet_server.ml.training import Fitted

Integers = NDArray[np.int64]

#: A training and a conversion each.
FOLDS = 3
#: Fewer devices cannot be told from one another.
_FEWEST_DEVICES = 3
#: Devices that are left out in turn: those with the most labels, for they can do the most harm. A training each, per
#: fold.
_MOST_DEVICES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainings:
    """How folds are trained and asked."""

    #: A training without these of the training rows (n).
    fit_without: Callable[[NDArray[np.bool_]], Fitted]
    #: What its float network answers to training rows by their indexes (m): class indexes (m).
    answers: Callable[[Fitted, Integers], Integers]
    #: Its int8 file, loaded.
    quantize: Callable[[Fitted], Model]
    #: Tells the share done.
    report: Callable[[float], None]


def cross_judge(
    trainings: Trainings, rows: Rows, *, fresh: int, devices: tuple[str, ...], classes: int, seed: int
) -> tuple[Judgement | None, tuple[LeftOut, ...]]:
    """Answers to the last `fresh` training rows, and what each device's labels do to the others'.

    Args:
        trainings: how.
        rows: all training rows (n), bought ones last and fresh ones last of these.
        fresh: how many; of fewer than two none can be held out, and there are no answers.
        devices: what the rows' origins point into.
        classes: how many.
        seed: of the folds.
    """
    places = np.arange(len(rows) - fresh, len(rows))
    bought = rows.only(places)
    folds = min(FOLDS, fresh)
    if folds < 2:
        return None, ()
    fold = fold_of(bought.classes, folds=folds, random=np.random.default_rng(seed))
    suspects = _suspects(rows)
    answers, float_answers = np.empty((2, fresh), dtype=np.int64)
    without = np.empty((len(suspects), fresh), dtype=np.int64)
    confidence, latencies = np.empty(fresh, dtype=np.float32), np.empty(fresh)
    total, done = folds * (1 + len(suspects)), 0
    for number in range(folds):
        held = np.flatnonzero(fold == number)
        is_held = np.isin(np.arange(len(rows)), places[held])
        fitted = trainings.fit_without(is_held)
        float_answers[held] = trainings.answers(fitted, places[held])
        model = trainings.quantize(fitted)
        judgement = judge(model, bought.only(held), classes=classes)
        model.close()
        answers[held], confidence[held] = judgement.answers.answers, judgement.confidence
        latencies[held] = judgement.latencies_ms
        trainings.report((done := done + 1) / total)
        for place, suspect in enumerate(suspects):
            fitted = trainings.fit_without(is_held | (rows.origins == suspect))
            without[place, held] = trainings.answers(fitted, places[held])
            trainings.report((done := done + 1) / total)
    judged = Judgement(
        answers=Answers(truths=bought.classes, answers=answers, classes=classes),
        confidence=confidence,
        latencies_ms=latencies,
    )
    return judged, tuple(
        _left_out(
            devices[suspect],
            labels=int((rows.origins == suspect).sum()),
            others=bought.origins != suspect,
            kept=Answers(truths=bought.classes, answers=float_answers, classes=classes),
            without=Answers(truths=bought.classes, answers=without[place], classes=classes),
        )
        for place, suspect in enumerate(suspects)
    )


def _suspects(rows: Rows) -> list[int]:
    """Devices that gave labels, those with the most first; none when they are too few."""
    counts = np.bincount(rows.origins[rows.origins != IMPORTED])
    giving = [int(device) for device in np.argsort(-counts, kind="stable") if counts[device]]
    return giving[:_MOST_DEVICES] if len(giving) >= _FEWEST_DEVICES else []


def _left_out(device: str, *, labels: int, others: NDArray[np.bool_], kept: Answers, without: Answers) -> LeftOut:
    return LeftOut(device=device, labels=labels, kept=kept.only(others), without=without.only(others))
