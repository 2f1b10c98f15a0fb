"""The watched scalars of one inference: the input side of a sketch.

At most 64 channels, computed in groups (a group is one or two numpy calls, whatever its size) and handed out in the
manifest's order. Sums run in double so that a float32 result does not depend on the machine's order of adding. A
channel whose readings are missing is NaN. This module keeps no history.
"""

import hashlib
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel, ChannelKind, Manifest
from edgeops.errors import ArtifactError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def _mean(rows: Doubles) -> Doubles:
    return np.asarray(np.add.reduce(rows) / len(rows))


_WINDOW_FEATURES: dict[ChannelKind, Callable[[Doubles], Doubles]] = {
    ChannelKind.MEAN: _mean,
    ChannelKind.STD: lambda rows: np.sqrt(_mean(np.square(rows - _mean(rows)))),
    ChannelKind.RMS: lambda rows: np.sqrt(_mean(np.square(rows))),
    ChannelKind.PEAK: lambda rows: np.asarray(np.maximum.reduce(np.abs(rows))),
}
_IMAGE_STATISTICS = (ChannelKind.BRIGHTNESS, ChannelKind.CONTRAST, ChannelKind.SHARPNESS, ChannelKind.CLIPPED)
_ANSWERS = (ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN)

_PROJECTION_DOMAIN = b"edgeops-projection-1"
_SIGNS_PER_HASH = 256

#: Fills one group's part of the buffer from (window, embedding).
_Fill = Callable[[Floats, Floats | None, Floats], None]


class Channels:
    """The channels of one model: `channels(window, embedding, answer, confidence, margin)`."""

    def __init__(self, manifest: Manifest, *, embedding_size: int) -> None:
        """Group the manifest's channels.

        Raises:
            ArtifactError: a channel asks for a column, an embedding or an image that the model does not have.
        """
        groups = _grouped(manifest, embedding_size)
        positions = [position for members, _ in groups for position in members]
        self._answers = len(positions)
        self._values = np.empty(self._answers + len(_ANSWERS), np.float32)
        parts = np.split(self._values, np.cumsum([len(members) for members, _ in groups], dtype=int))
        self._groups = [(fill, part) for (_, fill), part in zip(groups, parts[:-1], strict=True)]
        #: Where each of the manifest's channels stands in the buffer.
        self._order = np.empty(len(manifest.channels), np.intp)
        self._order[positions] = np.arange(len(positions))
        for position, channel in enumerate(manifest.channels):
            if channel.kind in _ANSWERS:
                self._order[position] = self._answers + _ANSWERS.index(channel.kind)

    def __call__(
        self, window: Floats, embedding: Floats | None, *, answer: float, confidence: float, margin: float
    ) -> Floats:
        """A new array with one value per channel, in the manifest's order.

        Without an embedding, what is projected from it is missing.
        """
        for fill, part in self._groups:
            fill(window, embedding, part)
        values, first = self._values, self._answers
        values[first] = answer
        values[first + 1] = confidence
        values[first + 2] = margin
        return values.take(self._order)


def projection_signs(count: int, size: int) -> NDArray[np.int8]:
    """Rows 0..count-1 of the fixed +-1 matrix (count, size), the same on every machine for ever.

    Signs are the bits of SHA-256 over a row and block counter (Achlioptas 2003: random signs keep distances).
    """
    rows = []
    for row in range(count):
        blocks = [
            hashlib.sha256(_PROJECTION_DOMAIN + row.to_bytes(4, "little") + block.to_bytes(4, "little")).digest()
            for block in range(-(-size // _SIGNS_PER_HASH))
        ]
        bits = np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8), bitorder="little")[:size]
        rows.append(bits.astype(np.int8) * 2 - 1)
    return np.array(rows, np.int8).reshape(count, size)


def _grouped(manifest: Manifest, embedding_size: int) -> list[tuple[list[int], _Fill]]:
    """(positions in the manifest, how to fill them) of every group except the answers."""
    groups: list[tuple[list[int], _Fill]] = []
    by_kind: dict[ChannelKind, list[int]] = {}
    for position, channel in enumerate(manifest.channels):
        by_kind.setdefault(channel.kind, []).append(position)
    for kind, members in by_kind.items():
        chosen = [manifest.channels[position] for position in members]
        if kind is ChannelKind.COLUMN:
            groups.append((members, _column_fill(_columns(chosen, manifest))))
        elif kind in _WINDOW_FEATURES:
            groups.append((members, _feature_fill(_WINDOW_FEATURES[kind], _columns(chosen, manifest))))
        elif kind is ChannelKind.PROJECTION:
            groups.append((members, _projection_fill(chosen, embedding_size)))
    image = [position for kind in by_kind if kind in _IMAGE_STATISTICS for position in by_kind[kind]]
    if image:
        groups.append((image, _image_fill([manifest.channels[position].kind for position in image], manifest)))
    return groups


def _columns(channels: list[Channel], manifest: Manifest) -> NDArray[np.intp]:
    for channel in channels:
        if not 0 <= channel.index < len(manifest.window.columns):
            raise ArtifactError(
                f"channel {channel.name!r} reads column {channel.index} of {len(manifest.window.columns)}"
            )
    return np.array([channel.index for channel in channels], np.intp)


def _column_fill(columns: NDArray[np.intp]) -> _Fill:
    def fill(window: Floats, _embedding: Floats | None, out: Floats) -> None:
        window[-1].take(columns, out=out, mode="clip")

    return fill


def _feature_fill(feature: Callable[[Doubles], Doubles], columns: NDArray[np.intp]) -> _Fill:
    def fill(window: Floats, _embedding: Floats | None, out: Floats) -> None:
        out[:] = feature(window.take(columns, axis=1).astype(np.float64))

    return fill


def _projection_fill(channels: list[Channel], embedding_size: int) -> _Fill:
    if embedding_size == 0:
        raise ArtifactError(f"channel {channels[0].name!r} projects an embedding, but output.embedding is not set")
    if not all(0 <= channel.index < 1 << 16 for channel in channels):
        raise ArtifactError("the index of a projection must lie between 0 and 65535")
    indexes = [channel.index for channel in channels]
    signs = projection_signs(max(indexes) + 1, embedding_size)[indexes]
    matrix = signs.astype(np.float64)
    scale = np.full(len(channels), 1 / np.sqrt(embedding_size))
    wide, sums = np.empty(embedding_size), np.empty(len(channels))

    def fill(_window: Floats, embedding: Floats | None, out: Floats) -> None:
        if embedding is None:
            out[:] = np.nan
            return
        wide[:] = embedding
        np.dot(matrix, wide, out=sums)
        np.multiply(sums, scale, out=sums)
        out[:] = sums

    return fill


def _image_fill(kinds: list[ChannelKind], manifest: Manifest) -> _Fill:
    image = _Image(manifest)
    picks = [_IMAGE_STATISTICS.index(kind) for kind in kinds]

    def fill(window: Floats, _embedding: Floats | None, out: Floats) -> None:
        statistics = image.statistics(window)
        out[:] = [statistics[pick] for pick in picks]

    return fill


class _Image:
    """Statistics of raw pixels, with buffers and their views made once."""

    def __init__(self, manifest: Manifest) -> None:
        shape = manifest.inputs[0].shape
        if len(shape) not in (3, 4) or min(shape[1:3]) < 2:
            raise ArtifactError(f"image channels need an input (1, height, width[, colours]), this one has {shape}")
        preprocess = manifest.preprocess
        if len(preprocess.multiply) != 1 or len(preprocess.add) != 1 or preprocess.multiply[0] <= 0:
            raise ArtifactError("image channels need one multiply above 0 and one add for all pixels")
        # A pixel is clipped where it preprocesses to the ends of 0..1.
        size, row, colours = math.prod(shape[1:]), math.prod(shape[2:]), math.prod(shape[3:])
        self._black, self._white = (
            np.full(size, np.float32((end - preprocess.add[0]) / preprocess.multiply[0]), np.float64) for end in (0, 1)
        )
        self._pixels, self._deviations = np.empty((2, size), np.float64)
        self._is_clipped = np.empty(size, np.bool_)
        down, across = size - row, size - shape[1] * colours
        rows = self._pixels.reshape(shape[1], row)
        self._steps = np.empty(down + across, np.float64)
        #: (pixels, their neighbours before, where the differences go): one row up, one colour tuple to the left.
        self._neighbours = (
            (self._pixels[row:], self._pixels[:-row], self._steps[:down]),
            (rows[:, colours:], rows[:, :-colours], self._steps[down:].reshape(shape[1], row - colours)),
        )

    def statistics(self, window: Floats) -> tuple[float, float, float, float]:
        """Mean, standard deviation, mean absolute difference of neighbours, share of clipped pixels."""
        pixels, steps, is_clipped = self._pixels, self._steps, self._is_clipped
        pixels[:] = window.reshape(-1)
        size = pixels.size
        mean = np.add.reduce(pixels) / size
        np.subtract(pixels, mean, out=self._deviations)
        variance = self._deviations.dot(self._deviations) / size
        for after, before, difference in self._neighbours:
            np.subtract(after, before, out=difference)
        np.abs(steps, out=steps)
        clipped = np.count_nonzero(np.less_equal(pixels, self._black, out=is_clipped))
        clipped += np.count_nonzero(np.greater_equal(pixels, self._white, out=is_clipped))
        return mean, math.sqrt(variance), np.add.reduce(steps) / steps.size, clipped / size
