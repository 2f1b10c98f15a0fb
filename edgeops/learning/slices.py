"""What answers cost in each group of rows: a device, a person, a site.

A group of few rows is told as too small to be judged, never as healthy. What to do about a group is not decided here.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.learning.intervals import cost_bounds
from edgeops.learning.promotion import Ruling, points

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A group of fewer rows is not judged.
FEWEST_ROWS = 20
#: Of many groups, so many are told of, those that cost most.
_MOST_SLICES = 100


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one group, or of one value of another column."""

    name: str
    #: The column that names it; empty = that of groups, or nobody said which.
    by: str = ""
    rows: int
    #: Mean cost: the share of wrong answers, or the mean error in units; and where it lies with 95 % certainty.
    cost: float
    low: float
    high: float
    #: Whether there are enough rows to say anything.
    is_judged: bool


def by_group(costs: Floats, groups: Integers, names: Sequence[str], *, by: str = "") -> tuple[Slice, ...]:
    """The slices of all rows, those that cost most first, those too small to be judged last; of a single one none.

    Args:
        costs: (n,) what each answer costs.
        groups: (n,) index into `names`; of a row without group -1, and such rows are no slice.
        names: of the groups.
        by: the column that names them.
    """
    found = []
    for group in np.unique(groups[groups >= 0]):
        own = costs[groups == group]
        low, high = cost_bounds(own)
        found.append(
            Slice(
                name=names[group],
                by=by,
                rows=len(own),
                cost=_short(float(own.mean())),
                low=_short(low),
                high=_short(high),
                is_judged=len(own) >= FEWEST_ROWS,
            )
        )
    if len(found) < 2:
        return ()
    return tuple(sorted(found, key=lambda one: (not one.is_judged, -one.cost, one.name))[:_MOST_SLICES])


def serves_every_group(slices: Sequence[Slice], *, cost: float, scale: float = 1.0, most: float | None) -> Ruling:
    """No group of rows certainly costs much more than all rows do.

    Groups may be persons, and a descriptor is for everybody, so none is named: the run does.

    Args:
        slices: of `by_group`.
        cost: mean of all rows.
        scale: what a share of the limit is counted of.
        most: what a group may cost beyond that; None = it is told only.
    """
    judged = [one for one in slices if one.is_judged]
    if not judged:
        why = (
            f"no group of the evaluation set has {FEWEST_ROWS} rows" if slices else "the rows are not of several groups"
        )
        return Ruling(passed=True, reason=f"{why}, so none is judged by itself")
    worst = max(judged, key=lambda one: one.low)
    loss = (worst.low - cost) / scale if scale > 0 else 0.0
    small = len(slices) - len(judged)
    unknown = f"; {small} of fewer than {FEWEST_ROWS} rows are not judged" if small else ""
    columns = ", ".join(dict.fromkeys(one.by for one in slices if one.by))
    by = f" by {columns}" if columns else ""
    return Ruling(
        most is None or loss <= most,
        f"of {len(judged)} groups{by} the worst, which the run names, costs {worst.cost:.4g} in {worst.rows} rows, "
        f"with 95 % certainty at least {worst.low:.4g}; all rows cost {cost:.4g} "
        f"({'nobody set what' if most is None else points(most)} may be lost){unknown}",
        measured={"loss": loss, "groups": len(judged), "too-small": small},
        limits={} if most is None else {"group-loss": most},
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")
