"""Recordings as readings: what a WAV file holds, at the rate and of the length that a model reads.

Training and devices decode, resample and cut by the same lines. What is heard in a recording is not known here.
"""

import struct
from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import DatasetError

Floats = NDArray[np.float32]

#: How files of recordings end, in lower case.
SUFFIXES = (".wav",)
#: What a file must have: the kind of its values, and the values.
_CHUNKS = (b"fmt ", b"data")
#: Of the kind: format, channels, readings a second, (bytes of a second and of a reading,) bits.
_KIND = struct.Struct("<HHI6xH")
_PCM, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE
#: Where an extensible one says the format (RFC 2361, 4, WAVE_FORMAT_EXTENSIBLE).
_SUBFORMAT_AT = 24
#: Zero crossings of the low-pass on either side.
_CROSSINGS = 16


class Facts(NamedTuple):
    """What a file says of itself."""

    #: Readings, each of one value per channel.
    readings: int
    #: Readings a second.
    rate_hz: int


class _Frames(NamedTuple):
    """A file whose values are not decoded yet."""

    facts: Facts
    channels: int
    #: Bytes of one value.
    width: int
    data: bytes

    def first(self, readings: int) -> Floats:
        """The mean of the channels of so many readings, or of all."""
        data = self.data[: readings * self.channels * self.width]
        means: Floats = _values(data, self.width).reshape(-1, self.channels).mean(axis=1).astype(np.float32)
        return means


def facts_of(content: bytes) -> Facts:
    """Length and rate of a WAV file.

    Raises:
        DatasetError: it is none, of another kind than PCM, cut off, empty, or of a rate beyond all hearing.
    """
    return _opened(content).facts


def read_recording(content: bytes, *, readings: int, rate_hz: int) -> Floats:
    """The mean of a WAV file's channels (readings,), full scale = 1.

    What is longer is cut at its end, what is shorter padded with silence there; what is of another rate is resampled.

    Raises:
        DatasetError: as of `facts_of`.
    """
    file = _opened(content)
    before_hz = file.facts.rate_hz
    values = file.first(readings_at(readings, rate_hz, before_hz))
    if before_hz != rate_hz:
        values = resampled(values, before_hz, rate_hz)
    found = np.zeros(readings, dtype=np.float32)
    found[: len(values)] = values[:readings]
    return found


def resampled(values: Floats, before_hz: int, after_hz: int) -> Floats:
    """Readings at another rate, by a low-pass at half the lower of both rates.

    Bandlimited interpolation (J. O. Smith, "Digital Audio Resampling Home Page"): a sinc of 32 zero crossings under a
    Hann window, its values at each phase that occurs; there is silence before and behind.

    Args:
        values: (readings,) at `before_hz`.
        before_hz: readings a second.
        after_hz: readings a second.

    Returns:
        (readings * after_hz / before_hz,), rounded up.
    """
    common = gcd(before_hz, after_hz)
    up, down = after_hz // common, before_hz // common
    weights = _low_pass(up, down)
    reach = weights.shape[1] // 2
    padded = np.pad(values.astype(np.float32), reach)
    steps = np.arange(readings_at(len(values), before_hz, after_hz), dtype=np.int64) * down
    near = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[1])[steps // up]
    found: Floats = np.einsum("ij,ij->i", near, weights[steps % up])
    return found


def readings_at(readings: int, before_hz: int, after_hz: int) -> int:
    """How many readings they are at another rate."""
    return -(-readings * after_hz // before_hz)


@lru_cache(maxsize=4)
def _low_pass(up: int, down: int) -> Floats:
    """(up, taps): what each of the readings around a moment counts, by how far it is behind one, in parts of `up`."""
    cutoff = min(1.0, up / down)
    reach = int(np.ceil(_CROSSINGS / cutoff))
    behind = np.arange(up)[:, np.newaxis] / up
    distances = (np.arange(-reach, reach + 1) - behind) * cutoff
    hann = np.where(np.abs(distances) < _CROSSINGS, np.cos(np.pi * distances / (2 * _CROSSINGS)) ** 2, 0.0)
    weights = np.sinc(distances) * hann
    shares: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _opened(content: bytes) -> _Frames:
    """What a file holds, before a value is decoded (RIFF, Microsoft and IBM, 1991).

    Not by `wave`: what many programs write of 24 bits (WAVE_FORMAT_EXTENSIBLE) it reads from Python 3.12 on only, and a
    device may have another Python than the server.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DatasetError("no WAV recording")
    chunks = _chunks(content)
    if len(chunks) < len(_CHUNKS):
        raise DatasetError("no WAV recording, or one that is cut off: it has no readings")
    (kind_at, kind_bytes), (data_at, data_bytes) = (chunks[name] for name in _CHUNKS)
    channels, rate_hz, width = _kind_of(content[kind_at : kind_at + kind_bytes])
    readings, there = data_bytes // (channels * width), (len(content) - data_at) // (channels * width)
    if there < readings:
        raise DatasetError(f"cut off: {there} readings of {readings}")
    if not readings:
        raise DatasetError("a recording without a reading")
    data = content[data_at : data_at + readings * channels * width]
    return _Frames(facts=Facts(readings, rate_hz), channels=channels, width=width, data=data)


def _kind_of(kind: bytes) -> tuple[int, int, int]:
    """Channels, readings a second, and bytes of a value."""
    if len(kind) < _KIND.size:
        raise DatasetError("a damaged recording: it does not say what its values are")
    tag, channels, rate_hz, bits = _KIND.unpack_from(kind)
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(kind[_SUBFORMAT_AT : _SUBFORMAT_AT + 2], "little")
    if tag != _PCM:
        what = "floating point numbers" if tag == _FLOATS else f"compressed, of the format {tag}"
        raise DatasetError(f"its values are {what}; save it as PCM with 8, 16, 24 or 32 bits")
    if not 0 < bits <= 32:
        raise DatasetError(f"values of {bits} bits; save them with 8, 16, 24 or 32")
    if not channels:
        raise DatasetError("a damaged recording: it has no channel")
    if not 0 < rate_hz <= limits.MAX_RECORDING_HZ:
        raise DatasetError(f"{rate_hz} readings a second, the most is {limits.MAX_RECORDING_HZ}")
    return channels, rate_hz, (bits + 7) // 8


def _chunks(content: bytes) -> dict[bytes, tuple[int, int]]:
    """Where the first of each kind in `_CHUNKS` begins, and of how many bytes it says that it is."""
    found: dict[bytes, tuple[int, int]] = {}
    place = 12
    for _ in range(limits.MAX_RECORDING_CHUNKS):
        if place + 8 > len(content) or len(found) == len(_CHUNKS):
            break
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if name in _CHUNKS:
            found.setdefault(name, (place + 8, size))
        place += 8 + size + size % 2  # padded to an even number
    return found


def _values(data: bytes, width: int) -> NDArray[np.float64]:
    """Values of `width` bytes each, full scale = 1 (RIFF: of one byte they are unsigned)."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        width, data = 4, wide.tobytes()
    values: NDArray[np.float64] = np.frombuffer(data, f"<i{width}").astype(np.float64) / 2 ** (8 * width - 1)
    return values
