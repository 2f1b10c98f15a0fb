"""Which records of one spool the database holds: everything up to a number, and ranges above it.

Pure. Backlog flows newest first, so ranges are normal; a device that leaves endless gaps is held to
MAX_SPOOL_RANGES, and what does not fit is neither counted nor acknowledged, so it comes again.
"""

from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter

from edgeops import limits


@dataclass(frozen=True, slots=True)
class Ledger:
    """Committed sequence numbers: 0..`through` and the inclusive, ordered, separate `ranges` above."""

    through: int = -1
    ranges: tuple[tuple[int, int], ...] = ()

    def holds(self, seq: int) -> bool:
        """Whether `seq` is committed."""
        if seq <= self.through:
            return True
        place = bisect_right(self.ranges, seq, key=itemgetter(0)) - 1
        return place >= 0 and seq <= self.ranges[place][1]

    def add(self, *seqs: int) -> "Ledger":
        """The ledger with one record's number and those it absorbed; unchanged when they do not fit."""
        if not self.ranges and len(seqs) == 1 and seqs[0] == self.through + 1:
            return Ledger(seqs[0])
        added = [(seq, seq) for seq in set(seqs) if seq > self.through]
        (_, through), *ranges = _merged([(-1, self.through), *self.ranges, *added])
        return Ledger(through, tuple(ranges)) if len(ranges) <= limits.MAX_SPOOL_RANGES else self


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers in order, with ranges that touch or overlap made one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
