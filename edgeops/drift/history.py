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
        rounds = [
            [windows[-1 - age] if age < len(windows) else nothing for windows in streams] for age in range(self.length)
        ]
        counts = _stacked(rounds, "counts")
        present = counts.sum(axis=-1)
        rows = _stacked(rounds, "rows")
        others = (_stacked(rounds, name) for name in ("total", "squares", "pairs", "steps"))
        sums = [present, rows[..., np.newaxis] - present, *others]
        self._counts = np.cumsum(counts, axis=0, out=counts)
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
        return np.asarray(self._counts[-1])

    def moments(self, ages: Ages) -> Moments:
        """Sums over the windows of `ages` (streams or 1 for all, channels) and all newer; 0 where it is NEVER."""
        age, stream, channel = self._places(ages)
        return Moments(*np.where(ages == NEVER, 0.0, self._sums[:, age, stream, channel]))

    def counts(self, ages: Ages) -> Floats:
        """Histograms (n, streams, channels, 32) over the windows of `ages` (n, streams, channels) and all newer."""
        picked = self._counts[self._places(ages)]
        picked[ages == NEVER] = 0
        return np.asarray(picked)

    def _places(self, ages: Ages) -> tuple[Ages, Ages, Ages]:
        _, streams, channels = self.running.present.shape
        return np.maximum(ages, 0), np.arange(streams)[:, np.newaxis], np.arange(channels)


def _stacked(rounds: list[list[Sketch]], name: str) -> Floats:
    """(length, streams, ...): one field of all windows."""
    return np.array([[getattr(window, name) for window in windows] for windows in rounds]).astype(np.float64)
