"""A sketch in the channels' own units, for people."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.errors import MessageError
from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch


class ChannelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A sketch of one channel in the channel's own units; None where nothing was present."""

    name: str
    count: int
    missing: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    lag1: float | None
    #: Values per reference bin.
    histogram: tuple[int, ...]


def autocorrelation(sketch: Sketch) -> NDArray[np.float64]:
    """Lag-1 autocorrelation per channel, by von Neumann's ratio; 0 where it cannot be told."""
    variance = _variance(sketch)
    known = (sketch.pairs > 0) & (variance > 0)
    ratio = np.divide(sketch.steps, sketch.pairs, out=np.zeros(sketch.channels), where=known)
    halves = np.divide(ratio, 2 * variance, out=np.ones(sketch.channels), where=known)
    return np.asarray(np.maximum(1 - halves, -1))


def summarize(sketch: Sketch, profile: ReferenceProfile) -> tuple[ChannelSummary, ...]:
    """The sketch in the channels' own units.

    Raises:
        MessageError: the sketch has other channels than the profile.
    """
    if sketch.channels != len(profile.channels):
        raise MessageError(f"a sketch of {sketch.channels} channels, the profile has {len(profile.channels)}")
    deviations = np.sqrt(_variance(sketch))
    lags = autocorrelation(sketch)
    summaries = []
    for index, channel in enumerate(profile.channels):
        count = int(sketch.present[index])
        summary = ChannelSummary(
            name=channel.name,
            count=count,
            missing=sketch.rows - count,
            mean=channel.centre + channel.step * int(sketch.total[index]) / count if count else None,
            std=channel.step * float(deviations[index]) if count else None,
            min=channel.centre + channel.step * int(sketch.low[index]) if count else None,
            max=channel.centre + channel.step * int(sketch.high[index]) if count else None,
            lag1=float(lags[index]) if sketch.pairs[index] else None,
            histogram=tuple(sketch.counts[index].tolist()),
        )
        summaries.append(summary)
    return tuple(summaries)


def _variance(sketch: Sketch) -> NDArray[np.float64]:
    """Of z, exact until the last division: (n * squares - total^2) / n^2 in Python's integers."""
    present = sketch.present.tolist()
    columns = zip(present, sketch.total.tolist(), sketch.squares.tolist(), strict=True)
    return np.array([(n * squares - total**2) / n**2 if n else 0.0 for n, total, squares in columns])
