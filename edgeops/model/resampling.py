"""Rows on the grid of a model: a faster, slower or unsteady source becomes one of the rate that was learnt from.

The grid begins with the first row, and anew behind a gap or where time goes back. `Resampler` takes rows as they come
and never looks ahead, `resample` finds the same rows, bit for bit, in a table. Times are whole nanoseconds of any one
clock. A value that is missing makes missing what is computed of it. Which rows make a window is decided in `windowing`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import InputWindow, Resampling
from edgeops.errors import InputError
from edgeops.model.windowing import WindowBuffer

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


class Resampler:
    """The rows of one source, put on the grid of a window that is resampled."""

    def __init__(self, window: InputWindow) -> None:
        self._method, self._step_ns, self._max_gap_ns = _pace(window)
        self._last_ns: int | None = None
        self._last: Rows = np.empty(0, np.float32)
        #: The grid point, or the beginning of the step, that comes next.
        self._next_ns = 0
        self._sum: Doubles = np.empty(0)
        self._count = 0
        self._mean: Rows = self._last
        #: Whether the last row began a grid.
        self.is_new = False
        #: Rows that were no later than the one before.
        self.disordered = 0

    def push(self, row: Rows, at_ns: int) -> list[Rows]:
        """Take a row (columns,) of a moment; the rows that are known now, one per step of the grid, oldest first.

        A row of the same moment as the one before is passed over, one that is earlier begins a grid.
        """
        last_ns, self.is_new = self._last_ns, False
        self.disordered += last_ns is not None and at_ns <= last_ns
        if at_ns == last_ns:
            return []
        if last_ns is None or not 0 < at_ns - last_ns <= self._max_gap_ns:
            self._begin(at_ns)
        found = self._average(row, at_ns) if self._method is Resampling.MEAN else self._between(row, at_ns)
        self._last, self._last_ns = row.copy(), at_ns
        return found

    def _begin(self, at_ns: int) -> None:
        self.is_new = True
        self._next_ns = at_ns
        self._count = 0

    def _between(self, row: Rows, at_ns: int) -> list[Rows]:
        found = []
        while self._next_ns <= at_ns:
            if self._next_ns == at_ns:
                found.append(row.copy())
            elif self._method is Resampling.HOLD:
                found.append(self._last)
            else:
                assert self._last_ns is not None, "a grid begins with a row"
                found.append(_line(self._last, row, (self._next_ns - self._last_ns) / (at_ns - self._last_ns)))
            self._next_ns += self._step_ns
        return found

    def _average(self, row: Rows, at_ns: int) -> list[Rows]:
        found = []
        while at_ns >= self._next_ns + self._step_ns:
            # A step without a row is as the one before it.
            if self._count:
                self._mean = (self._sum / self._count).astype(np.float32)
            found.append(self._mean)
            self._next_ns += self._step_ns
            self._count = 0
        self._sum = (0.0 if self._count == 0 else self._sum) + row.astype(np.float64)
        self._count += 1
        return found


class GridBuffer:
    """A `WindowBuffer` of resampled rows, pushed as one."""

    def __init__(self, window: InputWindow) -> None:
        self._resampler = Resampler(window)
        self._buffer = WindowBuffer(window)

    @property
    def disordered(self) -> int:
        """Rows that were no later than the one before."""
        return self._resampler.disordered

    def push(self, row: Rows, at_ns: int | None) -> Rows | None:
        """Take one row (columns,) of the source; the window (rows, columns) that it completes, or None.

        Of several that it completes, the latest: the others are late already.

        Raises:
            InputError: the row has another shape, or no time.
        """
        if at_ns is None:
            raise InputError("a row without a time cannot be put on the model's grid; give the source a time column")
        rows = self._resampler.push(row, at_ns)
        if self._resampler.is_new:
            self._buffer.clear()
        found = None
        for each in rows:
            window = self._buffer.push(each, None)
            found = found if window is None else window
        return found


def buffer_of(window: InputWindow) -> WindowBuffer | GridBuffer:
    """What cuts the rows of a source into the windows of a model."""
    return WindowBuffer(window) if window.resampling is None else GridBuffer(window)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """Rows on grids (n), stretch by stretch."""

    values: Rows
    #: Of its grid point, or of the beginning of its step.
    times: Integers
    #: Place of the last row of the source that each depends on without looking ahead.
    sources: Integers


def resample(window: InputWindow, values: Rows, times: Integers, *, groups: Integers) -> Resampled:
    """What a `Resampler` per group gives.

    Args:
        window: the grid.
        values: (rows, columns) of the source.
        times: (rows,) nanoseconds, all known.
        groups: (rows,) the source of each; results are sorted by it.
    """
    method, step_ns, max_gap_ns = _pace(window)
    order = np.argsort(groups, kind="stable")
    is_repeated = (np.diff(groups[order]) == 0) & (np.diff(times[order]) == 0)
    order = order[np.concatenate([[True], ~is_repeated])] if len(order) else order
    steps = np.diff(times[order])
    begins = (np.diff(groups[order]) != 0) | (steps < 0) | (steps > max_gap_ns)
    parts = [
        _stretch(method, step_ns, values, times, places)
        for places in np.split(order, np.flatnonzero(begins) + 1)
        if len(places)
    ]
    if not parts:
        empty = np.empty(0, np.int64)
        return Resampled(values=np.empty((0, values.shape[1]), np.float32), times=empty, sources=empty)
    return Resampled(
        values=np.concatenate([part.values for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
    )


def _stretch(method: Resampling, step_ns: int, values: Rows, times: Integers, places: Integers) -> Resampled:
    """Of rows at `places` that follow each other."""
    own, at = values[places], times[places]
    if method is Resampling.MEAN:
        steps = (at - at[0]) // step_ns
        grid = at[0] + step_ns * np.arange(steps[-1])
        sums = np.zeros((int(steps[-1]) + 1, own.shape[1]))
        np.add.at(sums, steps, own)
        counts = np.bincount(steps)
        filled = np.maximum.accumulate(np.where(counts > 0, np.arange(len(counts)), 0))[:-1]
        found = (sums[filled] / counts[filled, np.newaxis]).astype(np.float32)
        before = np.searchsorted(at, grid + step_ns, side="left") - 1
    else:
        grid = np.arange(at[0], at[-1] + 1, step_ns, dtype=np.int64)
        before = np.searchsorted(at, grid, side="right") - 1
        found = own[before]
        if method is Resampling.LINEAR:
            between = np.flatnonzero(at[before] < grid)
            first, then = before[between], before[between] + 1
            shares = (grid[between] - at[first]) / (at[then] - at[first])
            found[between] = _line(own[first], own[then], shares[:, np.newaxis])
    return Resampled(values=found, times=grid, sources=places[before])


def _line(first: Rows, then: Rows, share: "float | Doubles") -> Rows:
    """Values that far on the way from the first to the last."""
    wide = first.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(wide + (then - wide) * share, dtype=np.float32)


def _pace(window: InputWindow) -> tuple[Resampling, int, int]:
    """Method, step and longest gap in nanoseconds."""
    assert window.resampling is not None, "rows are taken as they come"
    assert window.rate_hz is not None, "a manifest is checked before"
    assert window.max_gap_s is not None, "a manifest is checked before"
    return window.resampling, round(1e9 / window.rate_hz), round(1e9 * window.max_gap_s)
