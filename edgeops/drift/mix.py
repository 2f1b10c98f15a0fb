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

#: Of a channel that moved, what may be left when the mix is taken into account.
_LEFT_OVER = 0.5


def is_class_mix_only(
    by_class: ClassSketches | None,
    cumulative: Floats,
    *,
    drifted: NDArray[np.bool_],
    n: Floats,
    m: Floats,
    baseline: Baseline,
    policy: DriftPolicy,
) -> bool:
    """Whether the answers moved and their mix explains all that moved.

    Args:
        by_class: what the reference knows of its classes; None = nothing can be said.
        cumulative: (channels, 32) shares of the window.
        drifted: (channels,)
        n: (channels,) independent rows of the window.
        m: (channels,) independent rows of the reference.
        baseline: the reference.
        policy: the levels.
    """
    if by_class is None or not drifted[by_class.answer]:
        return False
    mixed = remixed(by_class, np.diff(cumulative[by_class.answer], prepend=0))
    left = np.where(n > 0, ks_distance(cumulative, mixed), 0.0)
    p_values = np.where(n > 0, ks_p_value(left, n, m), 1.0)
    others = np.arange(len(n)) != by_class.answer
    differs = (holm(p_values[others]) <= policy.alpha) & (left[others] >= policy.floor)
    moved = ks_distance(cumulative, baseline.cumulative)
    is_left = drifted & (left > np.maximum(policy.floor, _LEFT_OVER * moved))
    return not differs.any() and not is_left[others].any()


def remixed(by_class: ClassSketches, answers: Floats) -> Floats:
    """The reference's cumulative shares (channels, 32) if its answers came in these shares (32,)."""
    counts = by_class.counts().astype(np.float64)
    owner = np.frombuffer(by_class.owner, np.uint8)
    wanted = np.bincount(owner, weights=answers, minlength=len(counts))
    rows = counts[:, by_class.answer].sum(axis=-1)
    weights = np.divide(wanted, rows, out=np.zeros(len(counts)), where=rows > 0)
    mixed = np.cumsum(np.tensordot(weights, counts, axes=1), axis=-1)
    return np.asarray(mixed / np.maximum(mixed[:, -1:], np.finfo(np.float64).tiny))
