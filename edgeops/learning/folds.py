"""Deals training rows to folds, so that each is judged by a model that was not shown it; and what came of that.

Rows are dealt as the snapshot was split: by chance, by whole groups, or by time, where what is judged always comes
after what was learnt from. Evaluation rows are in no fold. Nothing is trained here.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.data.rules import SplitBy
from edgeops.data.splits import fold_of_groups, fold_of_times
from edgeops.errors import DatasetError
from edgeops.learning.splits import fold_of

Integers = NDArray[np.int64]


class Folds(msgspec.Struct, frozen=True, kw_only=True):
    """What int8 files answered that were each trained without the fold they answer."""

    by: SplitBy
    #: Share of right answers, or mean error in units, of each fold.
    figures: tuple[float, ...]
    #: Rows of each fold.
    rows: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Over the folds."""
        return float(np.mean(self.figures))

    @property
    def spread(self) -> float:
        """Standard deviation over the folds: how much another set of rows would change the figure."""
        return float(np.std(self.figures, ddof=1))


def deal(by: SplitBy, strata: Integers, *, groups: Integers, times: Integers, count: int, seed: int) -> Integers:
    """The fold (n,) of each row, 0 to `count` - 1; -1 = in none, for it comes before all that is judged.

    Args:
        by: as the snapshot was split.
        strata: (n,) class of each row, or bin of its number.
        groups: (n,) any number per group.
        times: (n,) nanoseconds since 1970.
        count: how many, two at least.
        seed: of chance.

    Raises:
        DatasetError: there are too few rows, groups or moments.
    """
    random = np.random.default_rng(seed)
    match by:
        case SplitBy.ROW:
            _require(len(strata), count, "rows")
            return fold_of(strata, folds=count, random=random)
        case SplitBy.GROUP:
            _require(len(np.unique(groups)), count, "groups")
            return fold_of_groups(groups, folds=count, random=random)
        case SplitBy.TIME:
            _require(len(np.unique(times)), count + 1, "moments")
            return fold_of_times(times, folds=count + 1) - 1


def _require(there: int, wanted: int, what: str) -> None:
    if there < wanted:
        raise DatasetError(f"the rows to learn from have {there} {what}, so many folds want {wanted}; ask for fewer")
