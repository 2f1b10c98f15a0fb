"""Between which bounds a share or a mean lies with 95 % certainty, also where rows of one group are alike.

Pure functions of what each row costs: 1 for a wrong answer and 0 for a right one, or an error in units.
"""

import math

import numpy as np
from numpy.typing import NDArray

from edgeops.learning.regression import mean_bounds

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Of the normal distribution: two-sided 95 %; and of Student's t with one and two degrees of freedom.
_Z_95 = 1.959963984540054
_T_95 = {1: 12.706204736, 2: 4.302652730}
_ONE_SIDE = 0.025


def share_bounds(count: int, rows: int) -> tuple[float, float]:
    """Of a share of `count` in `rows`, at least one: the score interval of Wilson 1927."""
    share, spread = count / rows, _Z_95**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = _Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def cost_bounds(costs: Floats, clusters: Integers | None = None) -> tuple[float, float]:
    """Of the mean cost (n,), at least one.

    Rows by themselves: the score interval of a share, the bootstrap of anything else. Where rows of a cluster (n,) are
    alike, the clusters are what was drawn: the wider one of that and of the ratio estimator of cluster sampling
    (Cochran 1977, section 6.3: residuals summed by cluster, Student's t), which cannot see clusters that all cost the
    same.
    """
    is_share = bool(np.isin(costs, (0.0, 1.0)).all())
    low, high = share_bounds(int(costs.sum()), len(costs)) if is_share else mean_bounds(costs, outside=_ONE_SIDE)
    if clusters is None:
        return low, high
    half = _half_width(costs, clusters)
    mean = float(costs.mean())
    return min(low, max(mean - half, 0.0)), max(high, min(mean + half, 1.0) if is_share else mean + half)


def _half_width(costs: Floats, clusters: Integers) -> float:
    """Of the interval between clusters; 0 of a single one, which says nothing."""
    _, place = np.unique(clusters, return_inverse=True)
    sums = np.bincount(place, weights=costs - costs.mean())
    count = len(sums)
    if count < 2:
        return 0.0
    variance = count / (count - 1) * float(np.square(sums).sum()) / len(costs) ** 2
    return _student(count - 1) * math.sqrt(variance)


def _student(freedom: int) -> float:
    """Two-sided 95 % of Student's t: Abramowitz & Stegun 26.7.5, within 1 % from three degrees of freedom on."""
    if freedom in _T_95:
        return _T_95[freedom]
    z = _Z_95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))
