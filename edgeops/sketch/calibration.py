"""What a confidence is worth: the share of right answers per confidence bin, fitted on answers with known classes.

The accuracy of rows without labels is then estimated from their confidence histogram alone (confidence-based
performance estimation, CBPE). Fitted on the file that ships: quantizing moves confidences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.limits import HISTOGRAM_BINS

#: Answers that the confidence itself is trusted for, per bin: a bin with few answers stays near its confidence.
_PRIOR_ANSWERS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Answers of the model on rows that it has not learnt from."""

    #: Name of the channel that holds the confidence.
    channel: str
    #: (n,)
    confidence: NDArray[np.float32]
    #: (n,)
    correct: NDArray[np.bool_]


def fit_calibration(
    confidence: NDArray[np.float32], correct: NDArray[np.bool_], edges: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Expected accuracy per bin (32,), never falling with the confidence.

    Pool-adjacent-violators (Ayer et al. 1955) over the bins under `edges` (31,), each with a few answers' worth of
    belief that its mean confidence is right.
    """
    bins = edges.searchsorted(confidence, side="right")
    known = np.isfinite(confidence)
    answers = np.bincount(bins[known], minlength=HISTOGRAM_BINS).astype(np.float64)
    right = np.bincount(bins[known], weights=correct[known], minlength=HISTOGRAM_BINS)
    ends = np.clip(np.concatenate((edges[:1], edges, edges[-1:])).astype(np.float64), 0, 1)
    middle = (ends[:-1] + ends[1:]) / 2
    weights = answers + _PRIOR_ANSWERS
    return _never_falling((right + _PRIOR_ANSWERS * middle) / weights, weights).astype(np.float32)


def _never_falling(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted least-squares fit that never falls."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while pools and pools[-1][0] > mean:
            before, its_mass, its_size = pools.pop()
            mean = (before * its_mass + mean * mass) / (its_mass + mass)
            mass, size = mass + its_mass, size + its_size
        pools.append((mean, mass, size))
    return np.concatenate([np.full(size, mean) for mean, _, size in pools])
