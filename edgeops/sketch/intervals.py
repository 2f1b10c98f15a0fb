"""How far off a number may be: half-widths that hold nine truths of ten, per bin of the answer.

Split conformal prediction (Papadopoulos et al. 2002; Vovk 2012 for one quantile per category). It is honest for rows
like those it is fitted on if neither model nor bins learnt from them, so it is fitted on the evaluation set, while the
bins are quantiles of the answers to the training rows. A coverage on the rows that it was fitted on would say nothing:
`measured_coverage` fits on one half of them what it holds against the other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.limits import HISTOGRAM_BINS

Floats = NDArray[np.float64]

#: Share of truths that lie within.
COVERAGE = 0.9
#: Neighbouring bins are taken together until so many rows come to each group, in at most so many groups.
_GROUP_ROWS = 30
_MOST_GROUPS = 8
#: A group that got fewer rows than this has the half-width of all rows together.
_FEWEST_ROWS = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Answers of the model to rows that it has not learnt from, held against their truths."""

    #: (n,); NaN = refused.
    answers: Floats
    #: |answer - truth|, in units (n,).
    errors: Floats


def fit_half_widths(held: Held, edges: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Per bin of the answer channel under `edges` (31,), in units (32,); None of too few rows (fewer than 9)."""
    answered = np.isfinite(held.answers)
    errors = held.errors[answered]
    whole = _half_width(errors)
    if whole is None:
        return None
    groups = _groups(len(errors))
    group = _bins(held.answers[answered], edges) * groups // HISTOGRAM_BINS
    widths = []
    for number in range(groups):
        own = errors[group == number]
        width = _half_width(own) if len(own) >= _FEWEST_ROWS else whole
        assert width is not None, "so many rows have one"
        widths.append(width)
    return np.repeat(np.array(widths, np.float32), HISTOGRAM_BINS // groups)


def measured_coverage(held: Held, edges: NDArray[np.float32]) -> tuple[float, float] | None:
    """Share of truths within intervals that were fitted without them, and their mean half-width in units.

    Every second row is in the other half. A refused row is not covered. None of too few rows.
    """
    first = np.arange(len(held.answers)) % 2 == 0
    covered, widths = 0, list[Floats]()
    for half in (first, ~first):
        fitted = fit_half_widths(Held(answers=held.answers[~half], errors=held.errors[~half]), edges)
        if fitted is None:
            return None
        answered = half & np.isfinite(held.answers)
        own = fitted[_bins(held.answers[answered], edges)].astype(np.float64)
        covered += int((held.errors[answered] <= own).sum())
        widths.append(own)
    own = np.concatenate(widths)
    return covered / len(held.answers), float(own.mean()) if len(own) else 0.0


def _half_width(errors: Floats) -> float | None:
    """The ceil(.9 (n + 1))-th smallest error: a further one is larger with a chance of .1 at most."""
    rank = int(np.ceil(COVERAGE * (len(errors) + 1)))
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else None


def _groups(rows: int) -> int:
    """A power of two, so that all have as many bins; it depends on nothing but how many rows there are."""
    groups = 1
    while groups < _MOST_GROUPS and rows >= 2 * groups * _GROUP_ROWS:
        groups *= 2
    return groups


def _bins(answers: Floats, edges: NDArray[np.float32]) -> NDArray[np.intp]:
    return edges.searchsorted(answers.astype(np.float32), side="right")
