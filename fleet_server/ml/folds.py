"""Answers to bought labels by models that never saw them: folds, and folds without one device's labels.

Every fold holds out a part of the fresh labels; what it learns from beside that is what the shipped model learns from.
Fold models are converted to int8 and answer through `Model.predict`, as the shipped file does. Whether a device's
labels harm the others is told by two trainings that differ in nothing else, so there the float networks answer, which
saves the conversions. What follows from the answers, `edgeops.learning.classification_promotion` decides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeops.learning.classification import REFUSED, Answers
from edgeops.learning.classification_promotion import LeftOut, may_be_suspect
from edgeops.learning.splits import fold_of
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import IMPORTED
from fleet_server.ml.judging import Judgement, judge_classes
from fleet_server.ml.training import Fitted
from fleet_server.ml.windows import Windows

Integers = NDArray[np.int64]

#: A training and a conversion each.
FOLDS = 3
#: Of fewer fresh rows none can be held out.
_FEWEST_ROWS = 2
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
    trainings: Trainings, rows: Windows, *, fresh: int, devices: tuple[str, ...], classes: int, seed: int
) -> tuple[Judgement[Answers] | None, tuple[LeftOut, ...]]:
    """Answers to the last `fresh` training rows, and what each device's labels do to the others'.

    A device is left out only if that could speak against it, which saves most trainings in an honest fleet.

    Args:
        trainings: how.
        rows: all training rows (n), bought ones last and fresh ones last of these.
        fresh: how many; of fewer than two there are no answers.
        devices: what the rows' origins point into.
        classes: how many.
        seed: of the folds.
    """
    if fresh < _FEWEST_ROWS:
        return None, ()
    places = np.arange(len(rows) - fresh, len(rows))
    bought = rows.only(places)
    fold = fold_of(bought.classes, folds=min(FOLDS, fresh), random=np.random.default_rng(seed))
    folds = _Folds(trainings=trainings, rows=rows, places=places, bought=bought, fold=fold, classes=classes)
    judgement, answers = folds.judge()
    suspects, left_out = _suspects(rows), list[LeftOut]()
    for suspect in suspects:
        others = bought.origins != suspect
        own, kept = answers.only(~others), answers.only(others)
        without = folds.answers_without(suspect).only(others) if may_be_suspect(own, kept) else None
        labels = int((rows.origins == suspect).sum())
        left_out.append(LeftOut(device=devices[suspect], labels=labels, own=own, kept=kept, without=without))
        trainings.report(0.5 + 0.5 * len(left_out) / len(suspects))
    return judgement, tuple(left_out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Folds:
    """The fresh rows, dealt to folds."""

    trainings: Trainings
    #: All training rows; which of them are fresh, and these.
    rows: Windows
    places: Integers
    bought: Windows
    #: Per fresh row.
    fold: Integers
    classes: int

    def judge(self) -> tuple[Judgement[Answers], Answers]:
        """What int8 files answer, and what their float networks do."""
        whole = self._answers()
        given, confidence = np.empty(len(self.bought), dtype=np.int64), np.empty(len(self.bought), dtype=np.float32)
        latencies = np.empty(len(self.bought))
        parts = self._held()
        for number, held in enumerate(parts):
            fitted = self.trainings.fit_without(self._is_among(held))
            whole.answers[held] = self.trainings.answers(fitted, self.places[held])
            model = self.trainings.quantize(fitted)
            judgement = judge_classes(model, self.bought.only(held), classes=self.classes)
            model.close()
            given[held], confidence[held] = judgement.answers.answers, judgement.confidence
            latencies[held] = judgement.latencies_ms
            self.trainings.report(0.5 * (number + 1) / len(parts))
        return Judgement(answers=replace(whole, answers=given), confidence=confidence, latencies_ms=latencies), whole

    def answers_without(self, device: int) -> Answers:
        """What float networks answer that learnt nothing from a device."""
        whole = self._answers()
        for held in self._held():
            fitted = self.trainings.fit_without(self._is_among(held) | (self.rows.origins == device))
            whole.answers[held] = self.trainings.answers(fitted, self.places[held])
        return whole

    def _held(self) -> list[NDArray[np.bool_]]:
        """Per fold, which of the fresh rows it holds out."""
        return [self.fold == number for number in range(self.fold.max() + 1)]

    def _is_among(self, held: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of all rows these are."""
        return np.isin(np.arange(len(self.rows)), self.places[held])

    def _answers(self) -> Answers:
        """Room for answers to the fresh rows."""
        nothing = np.full(len(self.bought), REFUSED, dtype=np.int64)
        return Answers(truths=self.bought.classes, answers=nothing, classes=self.classes)


def _suspects(rows: Windows) -> list[int]:
    """Devices that gave labels, those with the most first; none when they are too few."""
    counts = np.bincount(rows.origins[rows.origins != IMPORTED])
    giving = [int(device) for device in np.argsort(-counts, kind="stable") if counts[device]]
    return giving[:_MOST_DEVICES] if len(giving) >= _FEWEST_DEVICES else []
