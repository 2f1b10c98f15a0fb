"""Estimates accuracy from confidences alone (confidence-based performance estimation, CBPE).

Each confidence bin is worth the share of right answers it had on rows that the model never learnt from. Under drift a
confidence can mislead, so an estimate supports a verdict and never makes one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A fall that matters, and that chance does not explain, in standard errors.
_LEAST_FALL = 0.05
_LEAST_ERRORS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the confidences of a window are worth."""

    accuracy: float
    #: The same of the reference's confidences.
    reference: float
    has_fallen: bool


def estimate(worth: Floats, window: Floats, reference: Floats, *, effective_rows: float) -> Estimate | None:
    """The expected accuracy of a window.

    Args:
        worth: (32,) expected accuracy per bin.
        window: (32,) counts or shares of the window's confidences.
        reference: (32,) of the reference's.
        effective_rows: independent rows of the window.

    Returns:
        None where there is no confidence to go by.
    """
    if window.sum() <= 0 or reference.sum() <= 0:
        return None
    shares = window / window.sum()
    accuracy = float(shares @ worth)
    before = float(reference @ worth / reference.sum())
    spread = float(shares @ np.square(worth - accuracy))
    error = np.sqrt(spread / max(effective_rows, 1.0))
    fall = before - accuracy
    return Estimate(
        accuracy=accuracy, reference=before, has_fallen=bool(fall >= _LEAST_FALL and fall >= _LEAST_ERRORS * error)
    )
