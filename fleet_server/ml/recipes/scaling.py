"""Columns of different units made alike."""

import numpy as np
from numpy.typing import NDArray

from fleet_server.ml.recipes.rounding import rounded

#: After standardizing; beyond it a reading says no more than "far out".
CLIP = 8.0


def standardizing(values: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What to multiply each column of (rows, columns) with and to add then, for mean 0 and deviation 1.

    NaN does not count.
    """
    mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    # A constant column says nothing: it becomes 0 whatever it reads.
    multiply = np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-9 * np.maximum(np.abs(mean), 1e-30))
    return tuple(rounded(value) for value in multiply), tuple(rounded(value) for value in -mean * multiply)
