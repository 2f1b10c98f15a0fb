"""Counts on a logarithmic scale: latencies, and ratios of two, so that they add up exactly and no outlier counts twice.

A step is a hundredth of a natural logarithm, 1 %. One entry is one telemetry window (or one device), whatever its rows:
windows are what is independent of each other, rows of one host are not.
"""

from collections.abc import Iterable
from math import exp, log

import msgspec

#: Of a natural logarithm.
STEPS = 100


class Spread(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often each step was seen; steps in order, none that was seen never."""

    counts: tuple[tuple[int, int], ...] = ()

    @property
    def total(self) -> int:
        """Entries."""
        return sum(count for _, count in self.counts)

    @property
    def median(self) -> int | None:
        """The lower median step; None of nothing."""
        left = (self.total + 1) // 2
        for step, count in self.counts:
            left -= count
            if left <= 0:
                return step
        return None

    @property
    def typical(self) -> float | None:
        """What the median step stands for, in the unit that was counted."""
        median = self.median
        return None if median is None else exp(median / STEPS)


def sides_of(spread: Spread, value: float) -> tuple[int, int]:
    """How many entries are certainly below a value above 0, and how many above; those of its own step are neither."""
    place = STEPS * log(value)
    below = sum(count for step, count in spread.counts if step + 0.5 <= place)
    return below, sum(count for step, count in spread.counts if step - 0.5 >= place)


def step_of(value: float) -> int:
    """The step of a value above 0."""
    return round(STEPS * log(value))


def spread_of(steps: Iterable[int]) -> Spread:
    """One entry for each of these steps."""
    counts: dict[int, int] = {}
    for step in steps:
        counts[step] = counts.get(step, 0) + 1
    return Spread(counts=tuple(sorted(counts.items())))


def moved(spread: Spread, by: int) -> Spread:
    """All entries so many steps higher: multiplied by a constant."""
    return Spread(counts=tuple((step + by, count) for step, count in spread.counts))


def combined(first: Spread, second: Spread, *, sign: int = 1) -> Spread:
    """The entries of both; with sign -1 those of the first without the second's."""
    counts = dict(first.counts)
    for step, count in second.counts:
        counts[step] = counts.get(step, 0) + sign * count
    return Spread(counts=tuple(sorted((step, count) for step, count in counts.items() if count)))
