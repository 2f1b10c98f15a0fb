"""Which rows one inference sees: a sliding window over a stream.

`WindowBuffer` takes rows as they come, `window_places` finds the same windows in rows that are all there. This module
does not look at values.
"""

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import InputWindow
from edgeops.data.cells import NO_MOMENT
from edgeops.errors import InputError

Rows = NDArray[np.float32]
Integers = NDArray[np.int64]


class WindowBuffer:
    """The last rows of one source."""

    __slots__ = (
        "_buffer",
        "_due",
        "_end",
        "_last_ns",
        "_max_gap_ns",
        "_rows",
        "_shape",
        "_single",
        "_stride",
        "_window",
    )

    def __init__(self, window: InputWindow) -> None:
        self._window = window
        self._rows = window.rows
        self._stride = window.stride
        self._max_gap_ns = None if window.max_gap_s is None else round(1e9 * window.max_gap_s)
        self._shape = (len(window.columns),)
        self._single = window.rows == 1 and window.stride == 1
        # Rows are written behind each other and moved to the front when the end is reached: a window is one slice.
        self._buffer = np.empty((2 * window.rows, len(window.columns)), np.float32)
        self._last_ns: int | None = None
        self._end = 0
        self._due = window.rows

    def push(self, row: Rows, at_ns: int | None) -> Rows | None:
        """Take one row; the window (rows, columns) it completes, or None.

        `row` is float32 (columns,), `at_ns` its time in nanoseconds on any one clock, None when unknown. A gap above
        `max_gap_s`, or a clock that went back, starts a new window.

        Raises:
            InputError: the row has another shape.
        """
        if row.shape != self._shape:
            raise InputError(
                f"a row of shape {row.shape}, the model reads {self._shape[0]} columns: "
                f"{', '.join(self._window.columns[:8])}"
            )
        if self._single:
            return row[np.newaxis]
        if self._max_gap_ns is not None and at_ns is not None:
            if self._last_ns is not None and not 0 <= at_ns - self._last_ns <= self._max_gap_ns:
                self.clear()
            self._last_ns = at_ns
        if self._end == len(self._buffer):
            self._buffer[: self._rows] = self._buffer[-self._rows :]
            self._end = self._rows
        self._buffer[self._end] = row
        self._end += 1
        self._due -= 1
        if self._due:
            return None
        self._due = self._stride
        return self._buffer[self._end - self._rows : self._end].copy()

    def clear(self) -> None:
        """Forget all rows: the next window begins with the next row."""
        self._end = 0
        self._due = self._rows
        self._last_ns = None


def window_places(
    window: InputWindow, rows: int, *, times: Integers | None = None, groups: Integers | None = None
) -> Integers:
    """The windows in rows that are all there: those that a fresh `WindowBuffer` per group gives, in its order.

    Args:
        window: which rows make a window.
        rows: how many there are.
        times: (rows,) nanoseconds of each on any one clock, NO_MOMENT = unknown; None = of none is known.
        groups: (rows,) the source of each; None = all are of one.

    Returns:
        (windows, window.rows): places of the rows of each window, oldest first; the last column is the row that
        completes it, and grows.
    """
    if window.rows == window.stride == 1:
        return np.arange(rows, dtype=np.int64)[:, np.newaxis]
    sources = np.zeros(rows, np.int64) if groups is None else groups
    order = np.argsort(sources, kind="stable")
    begins = np.diff(sources[order], prepend=sources[order][:1]) != 0
    if times is not None and window.max_gap_s is not None:
        begins |= _after_gaps(times[order], sources[order], round(1e9 * window.max_gap_s))
    numbers = np.arange(rows)
    beyond = numbers - np.maximum.accumulate(np.where(begins, numbers, 0)) - (window.rows - 1)
    ends = np.flatnonzero((beyond >= 0) & (beyond % window.stride == 0))
    ends = ends[np.argsort(order[ends])]
    places: Integers = order[ends[:, np.newaxis] + np.arange(1 - window.rows, 1)]
    return places


def _after_gaps(times: Integers, sources: Integers, max_gap_ns: int) -> NDArray[np.bool_]:
    """Which rows (rows,), sorted by source, come too late or too early after the row before whose time is known."""
    known = np.flatnonzero(times != NO_MOMENT)
    steps = np.diff(times[known])
    is_gap = (np.diff(sources[known]) == 0) & ~((steps >= 0) & (steps <= max_gap_ns))
    found = np.zeros(len(times), np.bool_)
    found[known[1:][is_gap]] = True
    return found
