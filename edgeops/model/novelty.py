"""How new a reading is: an anomaly score that learns from the stream itself.

Of every channel two ranges are kept, that of its readings and that of the mean of its latest readings: a spike leaves
the first, a lasting change the second. Together they span a box, and the score of a reading is the share of the box
that it added, 0 within it and below 1 outside. Four things make this fit for sensors that run for years:

- Means are halves of sums of two, taken again and again (the Haar scaling function without decimation, Holschneider
  et al. 1989). They keep no growing sum that loses digits, and the mean of equal readings is exactly that reading.
- Ranges forget: they are those of this generation of rows and the one before. A lasting change becomes usual, and
  one wild reading blinds nobody for good.
- A score is what a reading adds to how new the latest ones were; that memory halves every few rows. So one event is
  told once, and a second, worse one is still told.
- What lies below single precision is no change: it is the rounding of a mean, not a reading.

Records of a stream become rare by themselves (2/n at row n of exchangeable rows, Rényi 1962), so one threshold serves
channels of any unit and distribution. The plainest such score, the excess over the running minimum and maximum, is
known from the Numenta Anomaly Benchmark; bench/nab.py measures this one there, and ADR 0024 says what each part adds.
What is odd from the first row on, or in its order alone, is not seen.

A missing reading (NaN, or beyond single precision) has no score, NaN, and changes nothing. This module judges no score
but names a threshold that served many streams, and knows no time: everything is in rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError

Doubles = NDArray[np.float64]
#: In single or double precision; all is computed in double.
Rows = NDArray[np.float32] | NDArray[np.float64]

#: An alarm: a reading made the box wider by this share of it.
THRESHOLD = 0.01
#: The step of single precision, relative to the value.
_RESOLUTION = 2.0**-24
#: The most that single precision can say: what is beyond is no reading, and its differences might not be finite.
_MOST = float(np.finfo(np.float32).max)
_NOTHING = (math.inf, -math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things last, in rows of one channel; within a factor of two none of them matters much.

    Raises:
        InputError: a length that cannot be.
    """

    #: What is averaged, a power of two; as many numbers are kept.
    mean_rows: int = 64
    #: A generation of the ranges: what happened is forgotten after one to two of them. Longer than the longest cycle.
    memory_rows: int = 4096
    #: After so many rows an event has half of its weight against later ones.
    quiet_rows: int = 32
    #: Nothing is scored before so many rows were seen.
    warm_up_rows: int = 128

    def __post_init__(self) -> None:
        if self.mean_rows < 1 or self.mean_rows & (self.mean_rows - 1):
            raise InputError(f"mean_rows is {self.mean_rows}; it must be a power of two, as 64")
        if self.memory_rows < self.mean_rows:
            raise InputError(f"memory_rows is {self.memory_rows}; it must be at least mean_rows, {self.mean_rows}")
        if self.quiet_rows < 1 or self.warm_up_rows < 0:
            raise InputError(
                f"quiet_rows is {self.quiet_rows} and warm_up_rows {self.warm_up_rows}; they must be at least 1 and 0"
            )


class Range(msgspec.Struct, frozen=True, array_like=True):
    """The least and the most of this generation, and of the one before; infinite while there is none."""

    low: float = math.inf
    high: float = -math.inf
    low_before: float = math.inf
    high_before: float = -math.inf


class ChannelMemory(msgspec.Struct, frozen=True, kw_only=True):
    """All that one channel has learnt: what a restart goes on with.

    Ranges begin infinite, which MessagePack can say and JSON cannot.
    """

    #: The latest means of 1, 2, 4, ... readings: those of n stand at n to 2n - 1; the first place is not used.
    means: tuple[float, ...]
    #: Readings, without missing ones.
    seen: int = 0
    values: Range = Range()
    averages: Range = Range()
    #: How new the latest event was, and which reading that was.
    echo: float = 0.0
    echo_row: int = 0


class ChannelNovelty:
    """Scores the readings of one channel, one at a time."""

    __slots__ = ("_averages", "_echo", "_means", "_pace", "_seen", "_sizes", "_values")

    def __init__(self, pace: Pace | None = None, memory: ChannelMemory | None = None) -> None:
        """Begin, or go on with the memory of a channel that had the same pace.

        Raises:
            InputError: the memory is that of another pace.
        """
        self._pace = pace or Pace()
        self._sizes = _sizes(self._pace)
        memory = memory or ChannelMemory(means=(0.0,) * self._pace.mean_rows)
        if len(memory.means) != self._pace.mean_rows:
            raise InputError(
                f"the memory has means of {len(memory.means)} rows, the pace asks for {self._pace.mean_rows}; "
                "begin without a memory"
            )
        self._seen, self._means = memory.seen, list(memory.means)
        self._values, self._averages = _Extremes(memory.values), _Extremes(memory.averages)
        self._echo = _Echo(self._pace, memory.echo, memory.echo_row)

    def score(self, value: float) -> float:
        """How new this reading is, 0 to 1; NaN of a missing one."""
        value = float(value)  # a numpy scalar would compute in its own precision
        if not abs(value) <= _MOST:
            return math.nan
        seen, means, mean = self._seen, self._means, value
        self._seen = seen + 1
        for size in self._sizes:
            place = size + (seen & (size - 1))
            mean, means[place] = 0.5 * (mean + means[place]), mean
        if seen and seen % self._pace.memory_rows == 0:
            self._values.turn()
            self._averages.turn()
        kept = self._values.kept_by(value)
        if seen >= self._pace.mean_rows - 1:
            kept *= self._averages.kept_by(mean)
        if kept == 1 or seen < self._pace.warm_up_rows:
            return 0.0
        return self._echo.beyond(1 - kept, seen)

    def memory(self) -> ChannelMemory:
        """What to save; `ChannelNovelty(pace, memory)` goes on with the same scores."""
        return ChannelMemory(
            means=tuple(self._means),
            seen=self._seen,
            values=self._values.range(),
            averages=self._averages.range(),
            echo=self._echo.height,
            echo_row=self._echo.row,
        )


class RowNovelty:
    """Scores rows of several channels, which learn apart: a row is as new as the newest of its readings."""

    __slots__ = ("_channels",)

    def __init__(self, channels: int, pace: Pace | None = None, memory: Sequence[ChannelMemory] | None = None) -> None:
        """Begin, or go on with the memory of all channels.

        Raises:
            InputError: the memory is that of other channels or another pace.
        """
        if memory is not None and len(memory) != channels:
            raise InputError(f"the memory is of {len(memory)} channels, there are {channels}; begin without a memory")
        before: Sequence[ChannelMemory | None] = [None] * channels if memory is None else memory
        self._channels = [ChannelNovelty(pace, of) for of in before]

    def score(self, row: Sequence[float]) -> float:
        """The largest of `channel_scores`; NaN of a row that is all missing."""
        return max((score for score in self.channel_scores(row) if not math.isnan(score)), default=math.nan)

    def channel_scores(self, row: Sequence[float]) -> list[float]:
        """How new each reading of the row (channels,) is: which channel to name in an alarm.

        Raises:
            InputError: the row has another number of readings.
        """
        if len(row) != len(self._channels):
            raise InputError(f"a row of {len(row)} readings, this detector watches {len(self._channels)} channels")
        return [channel.score(value) for channel, value in zip(self._channels, row, strict=True)]

    def memory(self) -> tuple[ChannelMemory, ...]:
        """What to save, per channel."""
        return tuple(channel.memory() for channel in self._channels)


def novelty(rows: Rows, pace: Pace | None = None) -> Doubles:
    """The scores (n,) of rows (n, channels) from the first row on: bit for bit those of `RowNovelty.score`."""
    pace = pace or Pace()
    scores = np.full(rows.shape, np.nan)
    for channel, values in enumerate(rows.T):
        present = np.abs(values) <= _MOST
        scores[present, channel] = _series(values[present].astype(np.float64), pace)
    return np.asarray(np.fmax.reduce(scores, axis=1, initial=np.nan))


def _series(values: Doubles, pace: Pace) -> Doubles:
    kept = _kept(values, 0, pace.memory_rows)
    means = values
    for size in _sizes(pace):
        means = 0.5 * (means[size:] + means[:-size])
    first = pace.mean_rows - 1
    kept[first:] *= _kept(means, first, pace.memory_rows)
    kept[: pace.warm_up_rows] = 1
    scores, echo = np.zeros(len(values)), _Echo(pace)
    # New readings are rare, so only they are gone through one by one.
    for row in np.flatnonzero(kept != 1).tolist():
        scores[row] = echo.beyond(1 - float(kept[row]), row)
    return scores


def _kept(values: Doubles, first: int, memory_rows: int) -> Doubles:
    """`_Extremes.kept_by` of all values, of which the first was read at row `first`."""
    kept = np.ones(len(values))
    low_before, high_before = _NOTHING
    for turn in range(0, first + len(values), memory_rows):
        part = slice(max(turn - first, 0), max(turn + memory_rows - first, 0))
        now = values[part]
        low = np.minimum.accumulate(np.concatenate([[low_before], now]))
        high = np.maximum.accumulate(np.concatenate([[high_before], now]))
        new = np.flatnonzero(((low[1:] < low[:-1]) | (high[1:] > high[:-1])) & (low[:-1] <= high[:-1]))
        resolution = _RESOLUTION * np.maximum(np.abs(low[new + 1]), np.abs(high[new + 1]))
        kept[part.start + new] = (high[new] - low[new] + resolution) / (high[new + 1] - low[new + 1] + resolution)
        if len(now):
            low_before, high_before = now.min(), now.max()
    return kept


def _sizes(pace: Pace) -> tuple[int, ...]:
    return tuple(takewhile(lambda size: size < pace.mean_rows, (1 << power for power in range(63))))


class _Extremes:
    """A range that widens and, in generations, forgets."""

    __slots__ = ("_high", "_high_before", "_low", "_low_before")

    def __init__(self, of: Range) -> None:
        self._low, self._high, self._low_before, self._high_before = of.low, of.high, of.low_before, of.high_before

    def turn(self) -> None:
        """Begin a generation."""
        self._low_before, self._high_before = self._low, self._high
        self._low, self._high = _NOTHING

    def kept_by(self, value: float) -> float:
        """Widen by the value; which share of the range is what it was before: 1 if nothing is new."""
        low, high = min(self._low, self._low_before), max(self._high, self._high_before)
        self._low, self._high = min(self._low, value), max(self._high, value)
        if low <= value <= high or low > high:
            return 1.0
        lower, higher = min(low, value), max(high, value)
        resolution = _RESOLUTION * max(abs(lower), abs(higher))
        return (high - low + resolution) / (higher - lower + resolution)

    def range(self) -> Range:
        return Range(self._low, self._high, self._low_before, self._high_before)


class _Echo:
    """How new the latest readings were, fading."""

    __slots__ = ("_quiet_rows", "height", "row")

    def __init__(self, pace: Pace, height: float = 0.0, row: int = 0) -> None:
        self._quiet_rows = pace.quiet_rows
        self.height, self.row = height, row

    def beyond(self, novelty: float, row: int) -> float:
        """By how much this novelty, of that row, exceeds the echo; it becomes part of it."""
        echo = self.height * math.exp2((self.row - row) / self._quiet_rows)
        self.height, self.row = max(novelty, echo), row
        return max(novelty - echo, 0.0)
