"""How two models' answers to the same inputs agree, as counts that add up: the cells of `Paired` on the wire.

What a cell means follows from the task and from how many there are:

    classification   k * k cells: class of the shadow * k + class of the model in charge; or two cells, (agree,
                     disagree), where the models know other classes or k * k exceeds `MAX_AGREEMENT_CELLS`
    anomaly          2 * 2 cells of the same layout, where class 1 is an alarm: a score above the model's own threshold
    regression       |new - old| in units of the old model's usual error, one cell per half octave (`EDGES`)

A device counts one pair in about a microsecond, without arrays. What the counts prove is `edgeops.rollout.health`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import isqrt
from typing import Protocol

from edgeops import limits
from edgeops.artifact.manifest import Manifest, Task

#: Distances between the cells of a regression: 1/64 to 32 old errors, two cells per octave.
EDGES = tuple(2.0 ** (half / 2 - 6) for half in range(23))
#: Regression answers disagree from this cell on: they differ by more than the old model usually errs.
_FAR = EDGES.index(1.0) + 1
#: What a regression model usually errs by, in `Manifest.metrics`.
USUAL_ERROR = "mae"
_COARSE = 2


class Agreement(Protocol):
    """Counts pairs of answers."""

    def take(self, shadow: float, charge: float) -> bool:
        """Count one pair; whether the two disagree."""

    def cells(self) -> tuple[int, ...]:
        """Counts since the start or the last `clear`."""

    def clear(self) -> None:
        """Begin a new window."""


def agreement_of(shadow: Manifest, charge: Manifest) -> Agreement | None:
    """What counts the pairs of these two models; None where their answers cannot be compared.

    That is so where the tasks differ, an anomaly model has no threshold, or the old regression model does not say what
    it usually errs by.
    """
    if shadow.task is not charge.task:
        return None
    match charge.task:
        case Task.CLASSIFICATION:
            labels = charge.output.labels
            if labels == shadow.output.labels and len(labels) ** 2 <= limits.MAX_AGREEMENT_CELLS:
                return _Classes(len(labels))
            return _Names(shadow.output.labels, labels)
        case Task.ANOMALY:
            thresholds = shadow.output.threshold, charge.output.threshold
            return None if thresholds[0] is None or thresholds[1] is None else _Alarms(thresholds[0], thresholds[1])
        case Task.REGRESSION:
            error = shadow.metrics.get(USUAL_ERROR, 0.0)
            return _Distances(error) if error > 0 else None


def disagreements(task: Task, cells: Sequence[int]) -> int:
    """Pairs in which the two models disagree."""
    return sum(count for cell, count in enumerate(cells) if disagrees(task, cell, len(cells)))


def disagrees(task: Task, cell: int, cells: int) -> bool:
    """Whether the answers of a pair that is counted in this one of so many cells disagree."""
    if task is Task.REGRESSION:
        return cell >= _FAR
    if cells == _COARSE:
        return cell == 1
    old, new = divmod(cell, isqrt(cells))
    return old != new


def distance_cell(shadow: float, charge: float, error: float) -> int:
    """The cell of two values whose old model usually errs by `error`."""
    return bisect_right(EDGES, abs(charge - shadow) / error)


class _Counts:
    """Counts by cell."""

    __slots__ = ("_cells",)

    def __init__(self, cells: int) -> None:
        self._cells = [0] * cells

    def cells(self) -> tuple[int, ...]:
        return tuple(self._cells)

    def clear(self) -> None:
        self._cells = [0] * len(self._cells)


class _Classes(_Counts):
    """Two classifiers of the same classes."""

    __slots__ = ("_classes",)

    def __init__(self, classes: int) -> None:
        super().__init__(classes * classes)
        self._classes = classes

    def take(self, shadow: float, charge: float) -> bool:
        self._cells[int(shadow) * self._classes + int(charge)] += 1
        return shadow != charge


class _Names(_Counts):
    """Two classifiers of other or of many classes: equal are the classes that have the same name."""

    __slots__ = ("_charge", "_shadow")

    def __init__(self, shadow: tuple[str, ...], charge: tuple[str, ...]) -> None:
        super().__init__(_COARSE)
        self._shadow, self._charge = shadow, charge

    def take(self, shadow: float, charge: float) -> bool:
        differs = self._shadow[int(shadow)] != self._charge[int(charge)]
        self._cells[differs] += 1
        return differs


class _Alarms(_Counts):
    """Two anomaly models, each with its own threshold."""

    __slots__ = ("_charge", "_shadow")

    def __init__(self, shadow: float, charge: float) -> None:
        super().__init__(4)
        self._shadow, self._charge = shadow, charge

    def take(self, shadow: float, charge: float) -> bool:
        old, new = shadow > self._shadow, charge > self._charge
        self._cells[2 * old + new] += 1
        return old != new


class _Distances(_Counts):
    """Two regression models of the same quantity."""

    __slots__ = ("_error",)

    def __init__(self, error: float) -> None:
        super().__init__(len(EDGES) + 1)
        self._error = error

    def take(self, shadow: float, charge: float) -> bool:
        cell = distance_cell(shadow, charge, self._error)
        self._cells[cell] += 1
        return cell >= _FAR
