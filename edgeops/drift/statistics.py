"""The statistics that verdicts stand on; no policy here.

Distances are between histograms over the reference's bins, so D is at most that of the raw values and p-values err on
the safe side.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Terms of Kolmogorov's series; the next one is below 1e-16 wherever the series is used.
_TERMS = np.arange(1, 11)
#: Below this the probability is 1 to seven digits and the series converges slowly.
_SMALLEST = 0.3
_ERRORS = 2.0
#: Keeps logarithms finite.
_LEAST_P = 1e-300


def lag1(
    present: Floats,
    total: Floats,
    squares: Floats,
    *,
    pairs: Floats,
    steps: Floats,
    least_variance: Floats | float = 0.0,
) -> Floats:
    """Lag-1 autocorrelation from sums of values, of their squares, and of squared steps over `pairs` steps.

    von Neumann's ratio (1941): r = 1 - mean squared step / (2 variance), where the variance is known to be
    `least_variance` at least. 0 where it cannot be told.
    """
    count = np.maximum(present, 1)
    variance = np.maximum(squares / count - np.square(total / count), least_variance)
    known = (pairs > 0) & (variance > 0)
    mean_step = steps / np.maximum(pairs, 1)
    halves = np.divide(mean_step, 2 * variance, out=np.ones(np.shape(known)), where=known)
    return np.asarray(np.maximum(1 - halves, -1))


def effective_rows(rows: Floats, autocorrelation: Floats) -> Floats:
    """How many independent rows are worth as much as `rows` of an AR(1) process: n (1 - r) / (1 + r).

    r below 0 counts as 0: a process that alternates is not credited with more rows than it sent (Bartlett 1946).
    """
    r = np.maximum(autocorrelation, 0)
    return np.asarray(rows * (1 - r) / (1 + r))


def beyond_chance(lag1: Floats, rows: Floats) -> Floats:
    """Autocorrelations of so many rows, 0 where rows without any would show as much (two standard errors)."""
    return np.asarray(np.where(np.square(lag1) * rows >= _ERRORS**2, lag1, 0.0))


def cumulative(counts: Floats) -> Floats:
    """Histograms (..., 32) as cumulative shares; 0 everywhere for an empty one."""
    totals = counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.cumsum(counts, axis=-1) / np.where(totals > 0, totals, 1))


def ks_distance(first: Floats, second: Floats) -> Floats:
    """D, the largest distance of two cumulative histograms (..., 32)."""
    return np.asarray(np.abs(first - second).max(axis=-1))


def ks_p_value(distance: Floats, n: Floats, m: Floats) -> Floats:
    """Probability of such a distance between samples of n and m independent rows of one distribution.

    Kolmogorov's series at D sqrt(nm / (n + m)) (Smirnov 1948); 1 where a sample is empty.
    """
    total = n + m
    size = np.divide(n * m, total, out=np.zeros(np.shape(total)), where=total > 0)
    x = np.asarray(distance * np.sqrt(size))
    exponents = -2 * np.square(np.multiply.outer(np.maximum(x, _SMALLEST), _TERMS))
    series = 2 * ((-1.0) ** (_TERMS - 1) * np.exp(exponents)).sum(axis=-1)
    return np.asarray(np.where(x <= _SMALLEST, 1.0, np.clip(series, 0, 1)))


def rank_shift(cumulative_of: Floats, reference: Floats) -> Floats:
    """How far the mean rank under the reference moved, -1/2 (all below) .. 1/2 (all above).

    That is the chance that a value exceeds one of the reference, less the reverse, halved (Mann and Whitney 1947).

    Args:
        cumulative_of: (..., 32) shares.
        reference: the reference's, of a shape that broadcasts.
    """
    shares = np.diff(cumulative_of, axis=-1, prepend=0)
    middle = reference - np.diff(reference, axis=-1, prepend=0) / 2
    total = shares.sum(axis=-1)
    return np.asarray((shares * middle).sum(axis=-1) - total / 2)


def rank_p_value(shift: Floats, n: Floats, m: Floats) -> Floats:
    """Probability of such a shift of the mean rank between n and m independent rows of one distribution.

    Normal with variance (1/n + 1/m) / 12; ties make the true one smaller. An upper bound of the tail (Sampford 1953).
    """
    total = n + m
    size = np.divide(n * m, total, out=np.zeros(np.shape(total)), where=total > 0)
    z = np.abs(shift) * np.sqrt(12 * size)
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(np.minimum(8 * density / (3 * z + np.sqrt(np.square(z) + 8)), 1))


def p_values(shares: Floats, reference: Floats, n: Floats, m: Floats) -> Floats:
    """(..., 2) of cumulative histograms (..., 32): by their distance, and by the shift of the mean rank; 1 if empty."""
    distance, shift = ks_distance(shares, reference), rank_shift(shares, reference)
    return np.stack((ks_p_value(distance, n, m), rank_p_value(shift, n, m)), axis=-1)


def without_the_strongest(p_values: Floats, correlation: Floats) -> Floats:
    """The evidence of several voices (voices, ...) that does not rest on any single one, as one p-value (...).

    The smallest p-value is left out and the others are combined (partial conjunction: Benjamini and Heller 2008, with
    Fisher's sum of logarithms). So it holds although one voice lies, and a voice that lies to hide something takes away
    no more than its own part and the strongest. All are compared with the same reference, hence correlated; the sum
    counts as one of so many fewer voices (Brown 1975, rounded to the safe side).
    """
    others = np.sort(p_values, axis=0)[1:]
    number = len(others)
    evidence = -np.log(np.maximum(others, _LEAST_P)).sum(axis=0)
    independent = number / (1 + (number - 1) * correlation)
    x = evidence * independent / max(number, 1)
    # The tail of a gamma distribution with whole shape: e^-x (1 + x + x^2/2 + ...).
    terms = np.arange(number).reshape(-1, *[1] * x.ndim)
    factorials = np.cumprod(np.maximum(terms, 1), axis=0)
    series = np.where(terms < np.ceil(independent), x**terms / factorials, 0.0).sum(axis=0)
    return np.asarray(np.minimum(np.exp(-x) * series, 1))


def harmonic_mean(p_values: Floats) -> Floats:
    """One p-value for all tests (..., tests) together: that something is there, not where (Wilson 2019).

    Many small ones weigh more than with `holm`, and it holds although tests depend on each other. Good for small
    p-values only.
    """
    return np.asarray(np.minimum(p_values.shape[-1] / (1 / np.maximum(p_values, _LEAST_P)).sum(axis=-1), 1))


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values (..., tests) that hold for all tests together (Holm 1979)."""
    order = np.argsort(p_values, axis=-1)
    tests = p_values.shape[-1]
    raised = np.take_along_axis(p_values, order, axis=-1) * np.arange(tests, 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(raised, axis=-1), 1)
    out = np.empty_like(adjusted)
    np.put_along_axis(out, order, adjusted, axis=-1)
    return out
