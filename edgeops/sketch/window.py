"""What a window of rows looked like, exactly mergeable.

A sketch is measured against one reference profile: counts in its 32 bins per channel, and moments as integers on its
grid, `z = round((x - centre) / step)`, saturated at +-65,536. All of it are sums, minima and maxima of integers, so
merging is exact in any order. Per channel, over present values:

    counts[32]   values per bin                     low, high  smallest and largest z
    total        sum of z                           pairs      rows whose predecessor in the sketch was present too
    squares      sum of z * z                       steps      sum of (z[t+1] - z[t])^2 over those pairs

`steps` gives the lag-1 autocorrelation (von Neumann 1941: r = 1 - mean step / (2 variance)) and, unlike a sum of
products, does not grow with the mean. Pairs never span two sketches, so the sketch of a whole stream has a few more
pairs than the merge of its parts, and both are exact.

How it is packed for the wire is in `edgeops.sketch.packing`. This module does not judge drift.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.sketch.histogram import bin_counts

if TYPE_CHECKING:
    from edgeops.sketch.reference import ReferenceProfile


#: z saturates here: 2,048 standard deviations of the reference.
LIMIT = 1 << 16
#: Rows of one sketch: keeps every sum below 2^63.
MAX_ROWS = 1 << 28
_BUFFER_ROWS = 100
#: Sums of one piece are exact in double up to 2^53 / (2 LIMIT)^2 rows.
_PIECE_ROWS = 1 << 16
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """Exact sums over `rows` rows; arrays have one entry per channel. Two are equal if their packed forms are."""

    rows: int
    #: (channels, 32)
    counts: Integers
    total: Integers
    squares: Integers
    pairs: Integers
    steps: Integers
    #: LIMIT and -LIMIT where nothing is present.
    low: Integers
    high: Integers

    @property
    def channels(self) -> int:
        """How many channels."""
        return len(self.counts)

    @property
    def present(self) -> Integers:
        """Values per channel that were not missing."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def missing(self) -> Integers:
        """Values per channel that were."""
        return self.rows - self.present


def empty_sketch(channels: int) -> Sketch:
    """The sketch of no rows: merging it changes nothing."""
    zeros = np.zeros(channels, np.int64)
    return Sketch(
        rows=0,
        counts=np.zeros((channels, limits.HISTOGRAM_BINS), np.int64),
        total=zeros,
        squares=zeros,
        pairs=zeros,
        steps=zeros,
        low=np.full(channels, LIMIT, np.int64),
        high=np.full(channels, -LIMIT, np.int64),
    )


def merge(first: Sketch, second: Sketch) -> Sketch:
    """The sketch of both; exact, in any order.

    Raises:
        MessageError: they have different channels, or too many rows together.
    """
    if first.channels != second.channels:
        raise MessageError(f"sketches of {first.channels} and {second.channels} channels do not merge")
    if first.rows + second.rows > MAX_ROWS:
        raise MessageError(f"a sketch of {first.rows + second.rows} rows, at most {MAX_ROWS} are exact")
    return Sketch(
        rows=first.rows + second.rows,
        counts=first.counts + second.counts,
        total=first.total + second.total,
        squares=first.squares + second.squares,
        pairs=first.pairs + second.pairs,
        steps=first.steps + second.steps,
        low=np.minimum(first.low, second.low),
        high=np.maximum(first.high, second.high),
    )


def merge_all(sketches: Iterable[Sketch], *, channels: int) -> Sketch:
    """The sketch of all of them.

    Raises:
        MessageError: as `merge`.
    """
    return reduce(merge, sketches, empty_sketch(channels))


class Sketcher:
    """Sketches a stream of rows against one reference, in batches of 100 rows."""

    def __init__(self, reference: "ReferenceProfile") -> None:
        grid = reference.grid
        self._edges = grid.edges
        self._centre = grid.centre
        self._per_unit = 1 / grid.step
        channels = len(grid.edges)
        self._buffer = np.empty((_BUFFER_ROWS, channels), np.float32)
        self.clear()

    @property
    def rows(self) -> int:
        """Rows since the start or the last `clear`."""
        return self._sketch.rows + self._filled

    def push(self, row: NDArray[np.float32]) -> None:
        """Take one row (channels,) of `Prediction.channels`; NaN = missing."""
        self._buffer[self._filled] = row
        self._filled += 1
        if self._filled == _BUFFER_ROWS:
            self._flush()

    def add(self, values: NDArray[np.float32]) -> None:
        """Take rows (n, channels) in time order.

        Raises:
            MessageError: the sketch would exceed MAX_ROWS.
        """
        self._flush()
        for start in range(0, len(values), _PIECE_ROWS):
            self._add(values[start : start + _PIECE_ROWS])

    def sketch(self) -> Sketch:
        """Everything since the start or the last `clear`."""
        self._flush()
        return self._sketch

    def clear(self) -> None:
        """Begin a new window; its first row has no predecessor."""
        channels = self._buffer.shape[1]
        self._sketch = empty_sketch(channels)
        self._filled = 0
        self._last = np.zeros((1, channels))
        self._last_present = np.zeros((1, channels), np.bool_)

    def _flush(self) -> None:
        if self._filled:
            rows, self._filled = self._filled, 0
            self._add(self._buffer[:rows])

    def _add(self, values: NDArray[np.float32]) -> None:
        rows, channels = values.shape
        finite = np.isfinite(values)
        whole = bool(np.logical_and.reduce(finite, axis=None))
        z = self._on_grid(values, None if whole else finite)
        steps = np.diff(z, axis=0, prepend=self._last)
        if whole and self._last_present.all():
            pairs = np.full(channels, rows)
        else:
            follows = finite & np.concatenate((self._last_present, finite[:-1]))
            steps *= follows
            pairs = follows.sum(axis=0)
        columns = np.ascontiguousarray(values.T)
        part = Sketch(
            rows=rows,
            counts=bin_counts(columns, self._edges, None if whole else finite.T),
            total=z.sum(axis=0).astype(np.int64),
            squares=np.einsum("ij,ij->j", z, z).astype(np.int64),
            pairs=pairs,
            steps=np.einsum("ij,ij->j", steps, steps).astype(np.int64),
            low=z.min(axis=0, where=finite, initial=LIMIT).astype(np.int64),
            high=z.max(axis=0, where=finite, initial=-LIMIT).astype(np.int64),
        )
        self._sketch = merge(self._sketch, part)
        self._last, self._last_present = z[-1:], finite[-1:]

    def _on_grid(self, values: NDArray[np.float32], finite: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """Whole numbers in double; 0 where missing."""
        z = values.astype(np.float64)
        z -= self._centre
        z *= self._per_unit
        np.rint(z, out=z)
        np.maximum(z, -LIMIT, out=z)
        np.minimum(z, LIMIT, out=z)
        if finite is not None:
            z[~finite] = 0
        return z
