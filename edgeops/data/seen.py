"""Remembers which rows there were, in 8 bytes each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Fingerprints = NDArray[np.uint64]

#: Odd, and random (the fractional part of the golden ratio, as in Knuth, TAOCP 3, 6.4).
_STEP = np.uint64(0x9E3779B97F4A7C15)


def fingerprints(*columns: NDArray[Any]) -> Fingerprints:
    """One number for the content of each row; equal rows have equal ones.

    Two rows of ten million that differ share one with a probability of 3e-6 (64 bits).

    Args:
        columns: each (rows,) or (rows, width), of 4 or 8 bytes a value; minus zero equals zero.
    """
    found = np.zeros(len(columns[0]), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            plain = column + 0.0 if column.dtype.kind == "f" else column
            words = np.ascontiguousarray(plain).view(f"u{column.dtype.itemsize}")
            for word in words.T if words.ndim > 1 else (words,):
                found = _mixed(found + _STEP + word)
    return found


class Seen:
    """A set of fingerprints that grows batch by batch."""

    def __init__(self) -> None:
        #: Sorted, each at least twice as long as the next: so each fingerprint is merged a few times only.
        self._runs: list[Fingerprints] = []

    def add(self, new: Fingerprints) -> NDArray[np.bool_]:
        """(rows,) which of them were there before, in an earlier batch or earlier in this one."""
        _, first = np.unique(new, return_index=True)
        known = np.ones(len(new), dtype=bool)
        known[first] = False
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, new), len(run) - 1)
            known |= run[place] == new
        fresh = np.sort(new[~known])
        while self._runs and len(self._runs[-1]) < 2 * len(fresh):
            fresh = np.sort(np.concatenate([self._runs.pop(), fresh]))
        if len(fresh):
            self._runs.append(fresh)
        return known


def _mixed(words: Fingerprints) -> Fingerprints:
    """Every bit depends on every other (splitmix64; Steele, Lea, Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
