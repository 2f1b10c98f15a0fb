"""What a classifier did on labelled rows, in figures, and whether two models' answers differ by more than luck.

Pure functions of answers. Who answered them, and whether a figure is good enough, is decided elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: The answer to a row that the model refused; it counts as wrong.
REFUSED = -1
#: A difference with a smaller chance than this is not put down to luck.
ALPHA = 0.05
#: Of the normal distribution: one-sided 95 %.
_Z_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """A classifier's answers to labelled rows (n)."""

    #: Class indexes.
    truths: Integers
    #: Class indexes, or REFUSED.
    answers: Integers
    #: How many classes there are.
    classes: int

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def right(self) -> Booleans:
        """Which rows were answered rightly (n)."""
        return np.asarray(self.truths == self.answers)

    @property
    def costs(self) -> NDArray[np.float64]:
        """What each row costs (n): 1 of a wrong answer."""
        return np.asarray(~self.right, np.float64)

    @property
    def accuracy(self) -> float:
        """Share of right answers; 0 of no rows."""
        return float(self.right.mean()) if len(self) else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that occur: what guessing scores does not grow with the most frequent one."""
        occurs = np.bincount(self.truths, minlength=self.classes) > 0
        return float(self.recall[occurs].mean()) if len(self) else 0.0

    @property
    def confusion(self) -> Integers:
        """confusion[truth, answer]; the last column counts refused rows."""
        counts = np.zeros((self.classes, self.classes + 1), dtype=np.int64)
        np.add.at(counts, (self.truths, self.answers), 1)
        return counts

    @property
    def majority(self) -> float:
        """What always answering the most frequent class would score."""
        return float(np.bincount(self.truths).max()) / len(self)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, share of its rows that were found."""
        confusion = self.confusion
        return np.asarray(np.diagonal(confusion) / np.maximum(confusion.sum(axis=1), 1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, share of its answers that were right."""
        confusion = self.confusion[:, : self.classes]
        return np.asarray(np.diagonal(confusion) / np.maximum(confusion.sum(axis=0), 1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Per class, harmonic mean of precision and recall."""
        precision, recall = self.precision, self.recall
        total = precision + recall
        return 2 * precision * recall / np.where(total > 0, total, 1.0)

    def only(self, rows: Booleans) -> "Answers":
        """The answers to some of the rows."""
        return Answers(truths=self.truths[rows], answers=self.answers[rows], classes=self.classes)

    def figures(self, names: Sequence[str]) -> dict[str, float]:
        """What goes into a manifest; `names` are those of the classes."""
        figures = {
            "accuracy": self.accuracy,
            "balanced-accuracy": self.balanced_accuracy,
            "macro-f1": float(self.f1.mean()),
            "majority": self.majority,
            "rows": float(len(self)),
        }
        figures |= {f"recall.{name}": float(value) for name, value in zip(names, self.recall, strict=True)}
        return {name: round(value, 6) for name, value in figures.items()}


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same rows: how often one was right where the other was wrong."""

    rows: int
    #: The old one was right, the new one wrong; and the other way round.
    lost: int
    won: int

    @property
    def loss(self) -> float:
        """Accuracy of the old one minus that of the new one."""
        return (self.lost - self.won) / self.rows if self.rows else 0.0

    @property
    def p_worse(self) -> float:
        """Chance of losing at least so many rows if the new model were as good (see `mcnemar_p`)."""
        return mcnemar_p(self.lost, self.won)

    @property
    def p_better(self) -> float:
        """Chance of winning at least so many rows if the new model were only as good."""
        return mcnemar_p(self.won, self.lost)

    def loses_for_certain(self, most: float) -> bool:
        """More than a share `most` of the rows is lost, and that is not put down to luck."""
        return self.loss > most and self.p_worse < ALPHA


def compare(old: Answers, new: Answers) -> Paired:
    """The answers of two models to the same rows."""
    assert np.array_equal(old.truths, new.truths), "the rows are the same"
    return Paired(
        rows=len(old),
        lost=int((old.right & ~new.right).sum()),
        won=int((new.right & ~old.right).sum()),
    )


def mcnemar_p(lost: int, won: int) -> float:
    """One-sided exact McNemar test: of `lost + won` rows on which two models differ, at least `lost` by luck.

    McNemar 1947, in its exact form: rows on which both are right or both are wrong say nothing, and of the others
    each model would win half if both were equally good, so the count is binomial with p = 1/2.
    """
    differing = lost + won
    halves = differing * math.log(2)
    terms = (math.exp(_log_binomial(differing, count) - halves) for count in range(lost, differing + 1))
    return min(math.fsum(terms), 1.0)


def fisher_p(first: Answers, second: Answers) -> float:
    """One-sided exact test: the chance that the first rows have so few right answers if both were as easy.

    Fisher 1922: given how many of all rows are right, those among the first are hypergeometric.
    """
    right, rows = int(first.right.sum()) + int(second.right.sum()), len(first) + len(second)

    def ways(chosen: int) -> float:
        return _log_binomial(len(first), chosen) + _log_binomial(len(second), right - chosen)

    fewest = max(0, right - len(second))
    whole = _log_binomial(rows, right)
    return min(math.fsum(math.exp(ways(one) - whole) for one in range(fewest, int(first.right.sum()) + 1)), 1.0)


def loss_bound(pair: Paired) -> float:
    """What the new model loses against the old one at most, with 95 % certainty (one-sided).

    The paired difference of Agresti & Min 2005: half a row is added to each of the four cells, which keeps the
    bound honest where the models hardly ever differ.
    """
    rows, lost, won = pair.rows + 2, pair.lost + 0.5, pair.won + 0.5
    difference = (lost - won) / rows
    variance = (lost + won - (lost - won) ** 2 / rows) / rows**2
    return difference + _Z_95 * math.sqrt(variance)


def _log_binomial(rows: int, chosen: int) -> float:
    return math.lgamma(rows + 1) - math.lgamma(chosen + 1) - math.lgamma(rows - chosen + 1)
