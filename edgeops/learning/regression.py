"""What a regression did on labelled rows, in figures, and whether two models' errors differ by more than luck.

All figures are in the units of what is estimated, but for R2 and the skill. Pure functions of answers: luck is drawn
from a fixed seed, so that the same answers give the same bounds. Who answered, and whether a figure is good enough, is
decided elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Chance that a mean lies outside a bound, on one side.
ONE_SIDED = 0.05
_SEED = 20_250_101
#: Draws that one bound is worth, in how many resamples at least and at most, and how many are made at a time.
_DRAWS = 20_000_000
_RESAMPLES = (200, 2_000)
_DRAWS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """A regression's answers to labelled rows (n); `estimates_of` makes one."""

    truths: Floats
    #: NaN where the model refused.
    answers: Floats
    #: |answer - truth|; of a refused row see `estimates_of`.
    errors: Floats
    #: What always answering the median of the training rows errs by.
    baseline_errors: Floats

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def costs(self) -> Floats:
        """What each row costs (n): its error."""
        return self.errors

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(self.errors.mean())

    @property
    def baseline(self) -> float:
        """Mean absolute error of always answering the median of the training rows."""
        return float(self.baseline_errors.mean())

    @property
    def skill(self) -> float:
        """Share of the baseline's error that the model does away with; 0 where there is none to do away with."""
        return 1 - self.mae / self.baseline if self.baseline > 0 else 0.0

    @property
    def median_error(self) -> float:
        """Half of the rows are answered better than this."""
        return float(np.median(self.errors))

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt(np.mean(np.square(self.errors))))

    @property
    def r2(self) -> float:
        """Share of the truths' variance that is explained; 0 where they do not vary."""
        variance = float(self.truths.var())
        return 1 - self.rmse**2 / variance if variance > 0 else 0.0

    @property
    def bias(self) -> float:
        """Mean of answer - truth over the answered rows; 0 of none."""
        answered = np.isfinite(self.answers)
        return float((self.answers - self.truths)[answered].mean()) if answered.any() else 0.0

    @property
    def refused(self) -> int:
        """Rows that the model refused."""
        return int(np.isnan(self.answers).sum())

    def only(self, rows: NDArray[np.bool_] | Integers) -> "Estimates":
        """The answers to some of the rows; an error stays what it is among all of them."""
        return Estimates(
            truths=self.truths[rows],
            answers=self.answers[rows],
            errors=self.errors[rows],
            baseline_errors=self.baseline_errors[rows],
        )

    def figures(self) -> dict[str, float]:
        """What goes into a manifest."""
        figures = {
            "mae": self.mae,
            "median-error": self.median_error,
            "rmse": self.rmse,
            "r2": self.r2,
            "bias": self.bias,
            "baseline-mae": self.baseline,
            "rows": float(len(self)),
            "refused": float(self.refused),
        }
        return {name: float(f"{value:.6g}") for name, value in figures.items()}


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same rows: what the new one errs by beyond the old one, in units."""

    rows: int
    #: Mean absolute error of the new one minus that of the old one.
    loss: float
    #: Where the loss lies: below and above are 5 % each.
    low: float
    high: float

    @property
    def is_worse(self) -> bool:
        """Whether the new one errs more, with 95 % certainty."""
        return self.low > 0

    @property
    def is_better(self) -> bool:
        """Whether the new one errs less, with 95 % certainty."""
        return self.high < 0


def estimates_of(truths: Floats, answers: Floats, *, median: float) -> Estimates:
    """Answers held against truths.

    A refused row counts as the worst error: the largest that the model makes on an answered row, or that always
    answering the median makes on any row, whichever is larger. So no model gains by refusing what is hard.

    Args:
        truths: (n,), at least one.
        answers: (n,), NaN = refused.
        median: of what was learnt from.
    """
    assert len(truths) == len(answers) > 0, f"{len(truths)} truths, {len(answers)} answers"
    errors, baseline = np.abs(answers - truths), np.abs(median - truths)
    refused = np.isnan(answers)
    worst = max(float(errors[~refused].max(initial=0.0)), float(baseline.max()))
    return Estimates(truths=truths, answers=answers, errors=np.where(refused, worst, errors), baseline_errors=baseline)


def compare(old: Estimates, new: Estimates) -> Paired:
    """The answers of two models to the same rows."""
    assert np.array_equal(old.truths, new.truths), "the rows are the same"
    return _paired(old.errors, new.errors)


def against_baseline(estimates: Estimates) -> Paired:
    """A model against always answering the median."""
    return _paired(estimates.baseline_errors, estimates.errors)


def mean_bounds(values: Floats, *, outside: float) -> tuple[float, float]:
    """Below and above which the mean of what the values (n,) were drawn from lies with a chance of `outside` each.

    Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) around the mean of the values, stretched by
    sqrt(n / (n - 1)), for resamples of n values spread too little by that much.
    """
    rows = len(values)
    random = np.random.default_rng(_SEED)
    count = int(np.clip(_DRAWS // rows, *_RESAMPLES))
    portion = max(1, _DRAWS_AT_ONCE // rows)
    means = np.concatenate(
        [
            values[random.integers(0, rows, size=(min(portion, count - start), rows))].mean(axis=1)
            for start in range(0, count, portion)
        ]
    )
    mean = values.mean()
    stretched = mean + (means - mean) * np.sqrt(rows / max(rows - 1, 1))
    low, high = np.quantile(stretched, (outside, 1 - outside))
    return float(low), float(high)


def slices(truths: Floats, count: int) -> Integers:
    """The slice (n,) of each row, 0 to `count` - 1: between quantiles of the truths; equal truths share a slice.

    A slice that equal truths leave empty stays empty.
    """
    inner = np.quantile(truths, np.arange(1, count) / count)
    return np.searchsorted(inner, truths, side="left").astype(np.int64)


def _paired(old: Floats, new: Floats) -> Paired:
    more = new - old
    low, high = mean_bounds(more, outside=ONE_SIDED)
    return Paired(rows=len(more), loss=float(more.mean()), low=low, high=high)
