"""Windows of many streams side by side, added up from the newest backwards.

All streams and channels are worked on at once. Nothing is compared with a reference here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.statistics import lag1
from edgeops.errors import MessageError
from edgeops.sketch.window import Sketch, empty_sketch

Floats = NDArray[np.float64]
#: Ages of windows: 0 = the newest.
Ages = NDArray[np.intp]

#: Of the age of something that does not exist.
NEVER = -1


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over rows, (..., streams, channels), in double: streams may report more together than 63 bits hold."""

    present: Floats
    missing: Floats
    total: Floats
    squares: Floats
    pairs: Floats
    steps: Floats

    def lag1(self, *, least_variance: Floats | float = 0.0) -> Floats:
        """Lag-1 autocorrelation of the rows behind the sums, of a process of so much variance at least."""
        return lag1(
            self.present,
            self.total,
            self.squares,
            pairs=self.pairs,
            steps=self.steps,
            least_variance=least_variance,
        )

    def minus(self, other: "Moments") -> "Moments":
        """What is left without the rows of `other`."""
        return Moments(*(getattr(self, name.name) - getattr(other, name.name) for name in fields(self)))


class History:
    """The last windows of each stream: those of one age belong together.

    Attributes:
        length: windows of the longest stream, at most `most`.
        streams: how many.
        running: (length, streams, channels) sums over the windows of each age and all newer ones.
    """

    def __init__(self, streams: Sequence[Sequence[Sketch]], *, channels: int, most: int) -> None:
        """`streams`, one at least, hold their windows oldest first.

        Raises:
            MessageError: a window has other channels.
        """
        strangers = {window.channels for windows in streams for window in windows} - {channels}
        if strangers:
            raise MessageError(f"windows of {sorted(strangers)} channels, the reference has {channels}")
        # No window at all is one without rows.
        self.length = max(min(most, max(len(windows) for windows in streams)), 1)
        self.streams = len(streams)
        nothing = empty_sketch(channels)
        self._windows = [
            [windows[-1 - age] if age < len(windows) else nothing for windows in streams] for age in range(self.length)
        ]
        self._shape = (self.length, self.streams, channels)
        present = self._stacked([[window.present for window in row] for row in self._windows])
        rows = np.array([[window.rows for window in row] for row in self._windows], np.float64)
        others = ("total", "squares", "pairs", "steps")
        sums = [
            present,
            rows.reshape(*self._shape[:2], 1) - present,
            *(self._stacked([[getattr(window, name) for window in row] for row in self._windows]) for name in others),
        ]
        self._sums = np.cumsum(sums, axis=1)
        self.running = Moments(*self._sums)

    def sums(self) -> Moments:
        """(streams, channels): over all windows."""
        return Moments(*self._sums[:, -1])

    def rows(self) -> Floats:
        """(streams,): rows of all windows."""
        return np.asarray((self.running.present + self.running.missing)[-1, :, 0])

    @property
    def speaking(self) -> int:
        """Streams that sent rows at all."""
        return int(np.count_nonzero(self.rows()))

    def lengths(self) -> NDArray[np.intp]:
        """(streams,): windows up to the oldest one with rows; 1 at least."""
        rows = (self.running.present + self.running.missing)[..., 0]
        has_rows = np.diff(rows, axis=0, prepend=0) > 0
        return np.asarray(np.where(has_rows.any(axis=0), self.length - has_rows[::-1].argmax(axis=0), 1))

    def whole(self) -> Floats:
        """Histograms (streams, channels, 32) of all windows."""
        return np.asarray(self.counts(np.full((1, *self._shape[1:]), self.length - 1))[0])

    def moments(self, ages: Ages) -> Moments:
        """Sums over the windows of `ages` (streams or 1 for all, channels) and all newer; 0 where it is NEVER."""
        _, streams, channels = self._shape
        picked = self._sums[:, np.maximum(ages, 0), np.arange(streams)[:, np.newaxis], np.arange(channels)]
        return Moments(*np.where(ages == NEVER, 0.0, picked))

    def counts(self, ages: Ages) -> Floats:
        """Histograms (n, streams, channels, 32) over the windows of `ages` (n, streams, channels) and all newer."""
        taken = np.zeros((*ages.shape, 32))
        running = np.zeros((*self._shape[1:], 32))
        wanted = set(np.unique(ages).tolist())
        for age, row in enumerate(self._windows):
            running += np.array([window.counts for window in row])
            if age in wanted:
                place, stream, channel = np.nonzero(ages == age)
                taken[place, stream, channel] = running[stream, channel]
        return taken

    def _stacked(self, parts: list[list[NDArray[np.int64]]]) -> Floats:
        return np.array(parts, np.float64).reshape(self._shape)
