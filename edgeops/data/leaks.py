"""Tells what rows that judge give away: a model that has met them before looks better than it is."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.data.cells import NO_MOMENT, NO_NAME
from edgeops.data.seen import Fingerprints
from edgeops.data.splits import Split

Integers = NDArray[np.int64]


class Leaks(msgspec.Struct, frozen=True, kw_only=True):
    """Evaluation rows that should not be believed, counted; 0 = none."""

    #: Rows whose values equal those of a training row, as 32-bit floats.
    same_rows: int = 0
    #: Groups with rows on both sides.
    shared_groups: int = 0
    #: Rows that are earlier than the last training row.
    earlier_rows: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """One sentence for each kind that there is."""
        told = (
            (self.same_rows, "evaluation rows are equal to a training row; refuse duplicates, or split by group"),
            (self.shared_groups, "groups have rows that train and rows that judge; split by group to judge new ones"),
            (self.earlier_rows, "evaluation rows are earlier than the last training row; split by time to judge later"),
        )
        return tuple(f"{count} {words}" for count, words in told if count)


def find_leaks(splits: NDArray[np.uint8], rows: Fingerprints, *, groups: Integers, times: Integers) -> Leaks:
    """Compare evaluation with training rows.

    Args:
        splits: (rows,) of each row.
        rows: (rows,) fingerprints of the values, without labels.
        groups: (rows,) NO_NAME = none.
        times: (rows,) NO_MOMENT = none.
    """
    train, judges = splits == Split.TRAIN, splits == Split.EVALUATION
    shared = np.intersect1d(groups[train], groups[judges])
    return Leaks(
        same_rows=int(np.isin(rows[judges], rows[train]).sum()),
        shared_groups=int((shared != NO_NAME).sum()),
        earlier_rows=int(((times[judges] != NO_MOMENT) & (times[judges] < times[train].max())).sum()),
    )
