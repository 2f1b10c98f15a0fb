"""Rows that are recordings: how many readings one holds, and how many of them there are a second.

All clips of a dataset are alike in this. What is shorter is padded, and what comes at another rate is resampled, before
it gets here.
"""

from typing import Annotated

import msgspec

from edgeops import limits
from edgeops.errors import DatasetError

#: What a recording of one channel is called; those of several are numbered from 0.
CHANNEL = "audio"


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording, which is one input window."""

    #: Readings, each of one value per channel.
    rows: Annotated[int, msgspec.Meta(ge=2, le=limits.MAX_CLIP_VALUES)]
    #: Readings a second.
    rate_hz: float


def clip_of(shape: tuple[int, ...], *, rate_hz: float, where: str) -> tuple[Clip, tuple[str, ...]]:
    """What a recording is, and the names of its channels.

    Args:
        shape: of one recording: (readings,) or (readings, channels).
        rate_hz: readings a second.
        where: what the recordings are, for people.

    Raises:
        DatasetError: it has another shape, or too few or too many readings.
    """
    rows, channels = (*shape, 1)[:2] if 0 < len(shape) <= 2 else (0, 0)
    if rows < 2 or not 0 < rows * channels <= limits.MAX_CLIP_VALUES:
        raise DatasetError(
            f"{where} has rows of shape {shape}, and a clip is (readings,) or (readings, channels) of two readings or "
            f"more and {limits.MAX_CLIP_VALUES} values at most; cut longer recordings into several clips"
        )
    names = (CHANNEL,) if channels == 1 else tuple(f"{CHANNEL}{place}" for place in range(channels))
    return Clip(rows=rows, rate_hz=rate_hz), names
