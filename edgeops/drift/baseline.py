"""The reference as verdicts use it: arrays, made once for many judgements.

What a reference does by itself raises the floor: a process with a cycle shows windows that differ significantly and
yet mean nothing. Blocks of an autocorrelated reference differ too, but no more than its few independent rows explain;
those leave the floor alone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.statistics import cumulative, effective_rows, ks_p_value
from edgeops.sketch.reference import ReferenceProfile

Floats = NDArray[np.float64]

#: A block distance that chance shows so rarely is the process's own doing (over all blocks of one length).
_WANDER_ALPHA = 0.01


#: References whose arrays are kept: of the models that a server watches at a time, about.
_KEPT = 32


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """One entry per channel."""

    names: tuple[str, ...]
    #: (channels, 32)
    counts: NDArray[np.int64]
    cumulative: Floats
    shares: Floats
    #: Values present, the share of missing ones, and range and variance on the reference's grid.
    present: Floats
    missing: Floats
    low: Floats
    high: Floats
    variance: Floats
    #: The grid: value = centre + step * z.
    centre: Floats
    step: Floats
    #: Rows that the counts are worth, before autocorrelation.
    rows: Floats
    #: Of rows in time order; 0 where unknown.
    lag1: Floats
    #: Whether rows came from a stream, so that its autocorrelation makes them worth less.
    is_stream: NDArray[np.bool_]
    #: Whether rows were in time order, so that `lag1` is known.
    is_ordered: bool
    #: Had one value only, on the reference's own grid.
    is_constant: NDArray[np.bool_]
    is_discrete: NDArray[np.bool_]
    #: (lengths,) rows of a block, ascending, and the floor for windows of that length, (lengths, channels).
    lengths: NDArray[np.int64]
    floors: Floats

    def effective(self, autocorrelation: Floats) -> Floats:
        """Independent rows of the reference (..., channels) if the stream behind it has this autocorrelation."""
        r = np.where(self.is_stream, np.maximum(self.lag1, autocorrelation), 0.0)
        return effective_rows(self.rows, r)

    @property
    def is_watchable(self) -> NDArray[np.bool_]:
        """Whether there is a distribution to compare with."""
        return np.asarray((self.present > 0) & ~self.is_constant)

    def range_of(self, channel: int) -> tuple[float, float]:
        """Smallest and largest value, in the channel's own units."""
        ends = self.centre + self.step * self.low, self.centre + self.step * self.high
        return float(ends[0][channel]), float(ends[1][channel])

    def floor(self, rows: Floats) -> Floats:
        """What windows of so many rows of one source (..., channels) may show without drift; 0 = nothing special.

        A window is at most as far away as the blocks it can be cut into, each by its share of the rows.
        """
        left, distance = rows.copy(), np.zeros(rows.shape)
        for length, floor in zip(self.lengths[::-1].tolist(), self.floors[::-1], strict=True):
            blocks = np.floor(left / length)
            distance += blocks * length * floor
            left -= blocks * length
        if len(self.lengths):
            distance += left * self.floors[0]
        return np.asarray(np.divide(distance, rows, out=np.zeros(rows.shape), where=rows > 0))


@lru_cache(maxsize=_KEPT)
def baseline_of(profile: ReferenceProfile) -> Baseline:
    """The arrays of a profile."""
    summary, grid = profile.summary(), profile.grid
    rows = np.array([channel.effective_rows for channel in profile.channels])
    lag = np.array([channel.lag1 for channel in profile.channels])
    lengths, present = np.array(profile.block_rows, np.int64), np.maximum(summary.present, 1)
    return Baseline(
        names=profile.names,
        counts=summary.counts,
        cumulative=cumulative(summary.counts.astype(np.float64)),
        shares=np.diff(cumulative(summary.counts.astype(np.float64)), prepend=0),
        present=summary.present.astype(np.float64),
        missing=summary.missing / max(summary.rows, 1),
        low=summary.low.astype(np.float64),
        high=summary.high.astype(np.float64),
        variance=summary.squares / present - np.square(summary.total / present),
        centre=grid.centre,
        step=grid.step,
        rows=rows,
        lag1=np.maximum(lag, 0),
        is_stream=summary.pairs > 0,
        is_ordered=profile.ordered,
        is_constant=summary.low == summary.high,
        is_discrete=np.array([channel.discrete for channel in profile.channels]),
        lengths=lengths,
        floors=_floors(profile.wander(), lengths.astype(np.float64), rows, lag),
    )


def _floors(wander: Floats, lengths: Floats, rows: Floats, lag: Floats) -> Floats:
    """(lengths, channels): the block distances that chance does not explain; shorter blocks wander at least as far."""
    lengths = lengths[:, np.newaxis]
    blocks = np.maximum(rows / lengths, 1)
    chance = ks_p_value(wander, effective_rows(lengths, lag), effective_rows(np.maximum(rows - lengths, 0), lag))
    proven = np.where(chance * blocks <= _WANDER_ALPHA, wander, 0.0)
    return np.asarray(np.maximum.accumulate(proven[::-1], axis=0)[::-1])
