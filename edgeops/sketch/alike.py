"""Packed sketches of one shape, read side by side: a tenth of the time that each takes alone.

Of one shape are sketches of as many channels and rows of which no channel misses a value, which is what a fleet of
equal devices sends. The layout and its bounds are `edgeops.sketch.packing`'s; whatever breaks one of them is left to
the reading one by one there, which says what is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.sketch.histogram import packed_length, unpack_counts
from edgeops.sketch.window import LIMIT, Integers, Sketch

#: Of more rows the square of a sum would not fit into 64 bits.
MAX_ALIKE_ROWS = 1 << 15
#: Behind the histogram: total, squares, steps, low, high; a window of one row has no steps.
_NUMBERS = 5
#: Of a number, 7 bits each: more than so many rows need, and few enough for sums of two to fit into 64 bits.
_MAX_BYTES = 8
_ENDS_BELOW = 0x80


@dataclass(frozen=True, slots=True)
class Shape:
    """What sketches must have in common."""

    channels: int
    #: 2..MAX_ALIKE_ROWS.
    rows: int
    #: Bytes before the first channel.
    head: int


def unpack_alike(packed: Sequence[bytes], shape: Shape) -> list[Sketch | None]:
    """The sketches of one shape; None for one that has to be read alone."""
    channels, length = shape.channels, packed_length(shape.rows)
    # Room behind the last one, so that one that claims too much finds its wrong end inside the buffer.
    room = bytes(channels * (length + _NUMBERS))
    data = np.frombuffer(b"".join([*packed, room]), np.uint8)
    ends = np.cumsum([len(each) for each in packed])
    starts = ends - [len(each) for each in packed] + shape.head
    places, first, last, at = _places(data, starts, channels=channels, length=length)
    good = (at == ends) & (last - first < _MAX_BYTES).all(axis=(1, 2))
    moments, possible = _moments(_numbers(data, first, last), shape.rows)
    good &= possible
    histograms = data[places.ravel()[:, np.newaxis] + np.arange(length)]
    counts, are_counts = unpack_counts(histograms, shape.rows)
    counts = counts.reshape(len(packed), channels, -1)
    good &= are_counts.reshape(len(packed), channels).all(axis=1)
    return [
        # Copies, so that one sketch that is kept keeps no others.
        Sketch(shape.rows, counts[number].copy(), *moments[number].copy()) if is_good else None
        for number, is_good in enumerate(good.tolist())
    ]


def _places(
    data: NDArray[np.uint8], starts: Integers, *, channels: int, length: int
) -> tuple[Integers, Integers, Integers, Integers]:
    """Where histograms (n, channels) and the first and last byte of numbers (n, channels, 5) are, and the end (n,)."""
    is_end = data < _ENDS_BELOW
    ends = np.flatnonzero(is_end)
    before: Integers = np.cumsum(is_end) - is_end
    places = np.empty((len(starts), channels), np.int64)
    last = np.empty((len(starts), channels, _NUMBERS), np.int64)
    first = np.empty_like(last)
    at = starts
    for channel in range(channels):
        places[:, channel] = at
        at = at + length
        own = ends[before[at][:, np.newaxis] + np.arange(_NUMBERS)]
        last[:, channel] = own
        first[:, channel, 0] = at
        first[:, channel, 1:] = own[:, :-1] + 1
        at = own[:, -1] + 1
    return places, first, last, at


def _numbers(data: NDArray[np.uint8], first: Integers, last: Integers) -> Integers:
    """LEB128 numbers (n, channels, 5); -1 where one is not in its shortest form."""
    size = last - first
    numbers = np.zeros(first.shape, np.int64)
    for byte in range(min(_MAX_BYTES, int(size.max()) + 1)):
        part = data[np.minimum(first + byte, last)].astype(np.int64) & 0x7F
        part <<= 7 * byte
        numbers += np.where(byte <= size, part, 0)
    numbers[(size > 0) & (data[last] == 0)] = -1
    return numbers


def _moments(numbers: Integers, rows: int) -> tuple[Integers, NDArray[np.bool_]]:
    """Total, squares, pairs, steps, low, high (n, 6, channels), and which sketches have possible ones."""
    packed_total, excess, steps, below, above = np.moveaxis(numbers, 2, 0)
    pairs = rows - 1
    total = np.where(packed_total & 1, ~(packed_total >> 1), packed_total >> 1)
    mean = total // rows
    squares = -(-total * total // rows) + excess
    low, high = mean - below, mean + above
    # Together they bound the total, whose square then fits.
    possible = (low >= -LIMIT) & (high <= LIMIT) & (high * rows >= total)
    possible &= (squares <= rows * LIMIT**2) & (steps <= pairs * (2 * LIMIT) ** 2)
    moments = np.stack((total, squares, np.full_like(total, pairs), steps, low, high), axis=1)
    return moments, ((numbers >= 0).all(axis=2) & possible).all(axis=1)
