"""Counts the different values of a column up to a bound, and tells whether all differ, in memory that does not grow."""

import numpy as np

from edgeops.data.seen import Fingerprints

#: So many or more are not told apart.
MOST = 1_024


class Distinct:
    """The smallest fingerprints that were met (bottom-k; Bar-Yossef et al., RANDOM 2002), and which came twice.

    A fingerprint that is among the smallest at the end was so when it came first, so none of its repetitions is missed.
    """

    def __init__(self) -> None:
        #: Sorted.
        self._kept: Fingerprints = np.empty(0, dtype=np.uint64)
        self._again = np.empty(0, dtype=np.bool_)

    @property
    def count(self) -> int:
        """How many different values there are; MOST = or more."""
        return len(self._kept)

    @property
    def all_differ(self) -> bool:
        """Whether no value came twice; beyond MOST values, whether none of a random choice of MOST did."""
        return not self._again.any()

    def add(self, new: Fingerprints) -> None:
        """Take in the values of some rows (rows,)."""
        if len(self._kept) == MOST:
            new = new[new <= self._kept[-1]]
        found, place, counts = np.unique(np.concatenate([self._kept, new]), return_inverse=True, return_counts=True)
        again = counts > 1
        again[place[: len(self._kept)]] |= self._again
        self._kept, self._again = found[:MOST], again[:MOST]
