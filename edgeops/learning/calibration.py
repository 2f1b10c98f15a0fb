"""How far a classifier's confidence is from the share of right answers.

The root of the mean squared difference over bins of equally many rows, without the part that is due to few rows: the
debiased estimator of Kumar, Liang & Ma 2019 ("Verified uncertainty calibration"). The usual expected calibration error
(Naeini et al. 2015) of a perfect model grows as rows get fewer; this one does not.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Of the normal distribution: one-sided 95 %.
_Z_95 = 1.6448536269514722
_BINS = 10
_FEWEST_IN_A_BIN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """How far confidences are off, as a share of 1."""

    error: float
    #: Below and above which it lies with a chance of 5 % each.
    low: float
    high: float
    #: How many answers say so.
    rows: int


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> CalibrationError | None:
    """Of answers (n,); those without a confidence (NaN) do not count. None = too few to fill one bin.

    The bounds are of a sum of squares of independent, nearly normal differences, with half a row added to the right
    and to the wrong answers of each bin, so that a bin without mistakes is not taken for certain.
    """
    known = np.isfinite(confidence)
    confidences, answers = confidence[known].astype(np.float64), right[known]
    bins = min(_BINS, len(answers) // _FEWEST_IN_A_BIN)
    if not bins:
        return None
    squared = variance = 0.0
    for rows in np.array_split(np.argsort(confidences, kind="stable"), bins):
        weight, count = len(rows) / len(answers), len(rows)
        share = float(answers[rows].mean())
        noise = share * (1 - share) / (count - 1)
        gap = (float(confidences[rows].mean()) - share) ** 2 - noise
        smoothed = (share * count + 0.5) / (count + 1)
        spread = smoothed * (1 - smoothed) / count
        squared += weight * gap
        variance += weight**2 * (4 * max(gap, 0.0) * spread + 2 * spread**2)
    half = _Z_95 * math.sqrt(variance)
    return CalibrationError(
        error=_root(squared), low=_root(squared - half), high=_root(squared + half), rows=len(answers)
    )


def _root(squared: float) -> float:
    return math.sqrt(max(squared, 0.0))
