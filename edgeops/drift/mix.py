"""Tells a changed mix of classes from a changed world.

More of one class moves every channel that knows the classes apart. If the reference's histograms per answered class,
mixed as the window's answers are, look like the window, nothing has changed but the mix: the answers moved, the inputs
given the answer did not. Sketches hold marginal histograms only, so this is evidence, not proof: a change that happens
to look like another mix on every channel passes for one.
"""

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.baseline import Baseline
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import holm, ks_distance, ks_p_value
from edgeops.sketch.by_class import ClassSketches

Floats = NDArray[np.float64]

#: Of what moved, what may be left when the mix is taken into account: over all channels, and on one of them beyond
#: what chance shows so rarely.
_LEFT_OVER = 0.5
_LEFT_ALPHA = 0.01


def explaining_mix(
    by_class: ClassSketches,
    cumulative: Floats,
    *,
    drifted: NDArray[np.bool_],
    n: Floats,
    m: Floats,
    baseline: Baseline,
    policy: DriftPolicy,
) -> float | None:
    """The share of answers that went to other classes, if that explains all that moved; None if it does not.

    Args:
        by_class: what the reference knows of its classes.
        cumulative: (channels, 32) shares of the window.
        drifted: (channels,)
        n: (channels,) independent rows of the window; 0 = not judged.
        m: (channels,) independent rows of the reference.
        baseline: the reference.
        policy: the levels.
    """
    mixed, worth = remixed(by_class, np.diff(cumulative[by_class.answer], prepend=0))
    left = ks_distance(cumulative, mixed)
    p_values = ks_p_value(left, n, m * worth)
    others = np.arange(len(n)) != by_class.answer
    differs = (holm(p_values[others]) <= policy.alpha) & (left[others] >= policy.floor)
    moved = ks_distance(cumulative, baseline.cumulative)
    is_left = (left > np.maximum(policy.floor, _LEFT_OVER * moved)) & (p_values <= _LEFT_ALPHA)
    tested = drifted & others
    is_explained = left[tested].sum() <= _LEFT_OVER * moved[tested].sum()
    swapped = _swapped(cumulative[by_class.answer], baseline.cumulative[by_class.answer])
    # What was not judged in this span is not explained by what its answers were.
    is_unknown = drifted & (n == 0)
    if swapped < policy.floor or (is_unknown | (is_left & tested)).any() or differs.any() or not is_explained:
        return None
    return swapped


def remixed(by_class: ClassSketches, answers: Floats) -> tuple[Floats, float]:
    """The reference as if its answers came in these shares (32,).

    Returns:
        Its cumulative shares (channels, 32), and what its rows are worth then, 0..1: rows of a rare class that
        becomes frequent count often (Kish 1965).
    """
    counts = by_class.counts().astype(np.float64)
    owner = np.frombuffer(by_class.owner, np.uint8)
    rows = counts[:, by_class.answer].sum(axis=-1)
    wanted = np.where(rows > 0, np.bincount(owner, weights=answers, minlength=len(counts)), 0.0)
    weights = np.divide(wanted, rows, out=np.zeros(len(counts)), where=rows > 0)
    mixed = np.cumsum(np.tensordot(weights, counts, axes=1), axis=-1)
    of_squares = rows.sum() * (weights * wanted).sum()
    worth = float(wanted.sum() ** 2 / of_squares) if of_squares > 0 else 0.0
    return np.asarray(mixed / np.maximum(mixed[:, -1:], np.finfo(np.float64).tiny)), worth


def _swapped(first: Floats, second: Floats) -> float:
    """The share of one histogram that lies in other bins than in the other; both cumulative (32,)."""
    return float(np.abs(np.diff(first - second, prepend=0)).sum() / 2)
