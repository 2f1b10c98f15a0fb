"""A sketch as bytes: the wire format, which is also how it is stored.

Packed form, version 1. `varint` is LEB128, 7 bits a byte, low first, shortest form only; `zigzag` maps 0, -1, 1, -2
to 0, 1, 2, 3 before the varint. Division rounds down. `present` = rows - missing.

    byte      1
    varint    channels, 1..64
    varint    rows, 0..2^28
    bits      ceil(channels / 8) bytes, bit i (low first) set = channel i is not whole; unused bits 0
    then per channel, in the reference's order:
      varint  missing rows, 0..rows                           } only if not whole; else
      varint  max(present - 1, 0) - pairs                     } both are 0
      bytes   counts: Elias-Fano code (edgeops.sketch.histogram), length follows from `present`
      zigzag  total                                           } this and the rest
      varint  squares - ceil(total^2 / present)               } only if present > 0
      varint  steps                                             only if pairs > 0
      varint  total / present - low
      varint  high - total / present

For 16 channels and 500 rows that is about 550 bytes, whether the channels are stable or not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.sketch.alike import MAX_ALIKE_ROWS, Shape, unpack_alike
from edgeops.sketch.histogram import pack_counts, packed_length, unpack_counts
from edgeops.sketch.varint import Reader, put, unzigzag, zigzag
from edgeops.sketch.window import LIMIT, MAX_ROWS, Integers, Sketch

VERSION = 1
#: Sketches that are unpacked together: as many as stay in the processor's cache.
_PORTION = 128
#: Fewer of one shape are read one by one in less time.
_WORTH_IT = 8
#: Of a channel without a value: total, squares, pairs, steps, low, high.
_NO_MOMENTS = (0, 0, 0, 0, LIMIT, -LIMIT)


def pack(sketch: Sketch) -> bytes:
    """The bytes of a sketch (the layout is in the module's docstring)."""
    present = sketch.present
    missing = sketch.rows - present
    gaps = np.maximum(present - 1, 0) - sketch.pairs
    broken = (missing > 0) | (gaps != 0)
    out = bytearray([VERSION])
    put(out, sketch.channels)
    put(out, sketch.rows)
    out += np.packbits(broken, bitorder="little").tobytes()
    columns = zip(
        broken.tolist(),
        missing.tolist(),
        gaps.tolist(),
        _packed_counts(sketch.counts, present),
        zip(
            *(values.tolist() for values in (sketch.total, sketch.squares, sketch.steps, sketch.low, sketch.high)),
            strict=True,
        ),
        strict=True,
    )
    for is_broken, absent, without, counts, moments in columns:
        if is_broken:
            put(out, absent)
            put(out, without)
        out += counts
        count = sketch.rows - absent
        if count:
            _put_moments(out, count, count - 1 - without, moments)
    return bytes(out)


def unpack(data: bytes) -> Sketch:
    """Read what `pack` wrote; the bytes may come from anybody.

    Raises:
        MessageError: version, a length, a count or a moment that no rows can have.
    """
    (sketch,) = unpack_all([data])
    if isinstance(sketch, MessageError):
        raise sketch
    return sketch


def unpack_all(packed: Sequence[bytes]) -> list[Sketch | MessageError]:
    """Read many at once, which takes a fraction of the time for each; one that is damaged is its error."""
    read: dict[int, Sketch | MessageError] = {}
    for shape, places in _alike(packed).items():
        for start in range(0, len(places), _PORTION):
            portion = places[start : start + _PORTION]
            sketches = unpack_alike([packed[place] for place in portion], shape)
            read.update((place, one) for place, one in zip(portion, sketches, strict=True) if one is not None)
    others = [place for place in range(len(packed)) if place not in read]
    for start in range(0, len(others), _PORTION):
        portion = others[start : start + _PORTION]
        read.update(zip(portion, _unpack_portion([packed[place] for place in portion]), strict=True))
    return [read[place] for place in range(len(packed))]


def _alike(packed: Sequence[bytes]) -> dict[Shape, list[int]]:
    """The places of those that can be read side by side, where there are enough of a shape."""
    if len(packed) < _WORTH_IT:
        return {}
    shapes: dict[Shape, list[int]] = {}
    for place, data in enumerate(packed):
        shape = _shape(data)
        if shape is not None:
            shapes.setdefault(shape, []).append(place)
    return {shape: places for shape, places in shapes.items() if len(places) >= _WORTH_IT}


def _shape(data: bytes) -> Shape | None:
    """By the head of a packed sketch; None for one that is read alone."""
    try:
        reader, channels, rows, flags = _read_head(data)
    except MessageError:
        return None
    return Shape(channels, rows, reader.at) if not flags and 1 < rows <= MAX_ALIKE_ROWS else None


def _unpack_portion(packed: Sequence[bytes]) -> Iterator[Sketch | MessageError]:
    read = [_read(data) for data in packed]
    good = [parts for parts in read if isinstance(parts, _Parts)]
    moments = np.array([number for parts in good for number in parts.moments], np.int64).reshape(-1, 6).T
    counts, are_counts = _unpacked_counts(
        [data for parts in good for data in parts.counts], [present for parts in good for present in parts.present]
    )
    first = 0
    for parts in read:
        if isinstance(parts, MessageError):
            yield parts
            continue
        own = slice(first, first + len(parts.counts))
        first = own.stop
        if are_counts[own].all():
            # Copies, so that one sketch that is kept keeps no others.
            total, squares, pairs, steps, low, high = moments[:, own].copy()
            yield Sketch(parts.rows, counts[own].copy(), total, squares, pairs, steps, low, high)
        else:
            yield MessageError(f"a sketch with bin counts that {parts.rows} rows cannot have")


@dataclass(frozen=True, slots=True)
class _Parts:
    """A packed sketch taken apart; entries per channel."""

    rows: int
    present: list[int]
    #: As packed.
    counts: list[bytes]
    #: total, squares, pairs, steps, low, high of each, in one list.
    moments: list[int]


def _read(data: bytes) -> "_Parts | MessageError":
    try:
        return _taken_apart(data)
    except MessageError as error:
        return error


def _taken_apart(data: bytes) -> _Parts:
    reader, channels, rows, flags = _read_head(data)
    parts = _Parts(rows, [], [], [])
    whole_pairs, length = rows - 1, packed_length(rows)
    for channel in range(channels):
        if flags >> channel & 1:
            present, pairs = _read_broken(reader, rows)
            parts.counts.append(reader.take(packed_length(present)))
        else:
            present, pairs = rows, whole_pairs
            parts.counts.append(reader.take(length))
        parts.present.append(present)
        parts.moments.extend(_read_moments(reader, present, pairs) if present else _NO_MOMENTS)
    reader.finish()
    return parts


def _read_head(data: bytes) -> tuple[Reader, int, int, int]:
    """What stands before the channels: how many there are, the rows, and which are broken."""
    if not data or data[0] != VERSION:
        raise MessageError(f"a sketch of version {data[:1].hex() or 'nothing'}, this side reads {VERSION:02x}")
    reader = Reader(data, 1)
    channels = reader.varint(limits.MAX_CHANNELS)
    rows = reader.varint(MAX_ROWS)
    if channels == 0:
        raise MessageError("a sketch without channels")
    flags = int.from_bytes(reader.take(-(-channels // 8)), "little")
    if flags >> channels:
        raise MessageError(f"a sketch of {channels} channels marks more than those")
    return reader, channels, rows, flags


def _packed_counts(counts: Integers, present: Integers) -> list[bytes]:
    """Each channel's histogram; those of equal sum are packed together."""
    packed = [b""] * len(counts)
    for total in set(present.tolist()):
        places = np.flatnonzero(present == total)
        for place, row in zip(places.tolist(), pack_counts(counts[places], total), strict=True):
            packed[place] = row.tobytes()
    return packed


def _unpacked_counts(packed: Sequence[bytes], present: Sequence[int]) -> tuple[Integers, NDArray[np.bool_]]:
    """The histogram behind each, and whether it is one; those of equal sum are unpacked together."""
    counts = np.zeros((len(packed), limits.HISTOGRAM_BINS), np.int64)
    are_counts = np.zeros(len(packed), np.bool_)
    sums = np.array(present, np.int64)
    for total in set(present):
        places = np.flatnonzero(sums == total)
        data = np.frombuffer(b"".join(packed[place] for place in places.tolist()), np.uint8)
        counts[places], are_counts[places] = unpack_counts(data.reshape(len(places), -1), total)
    return counts, are_counts


def _put_moments(out: bytearray, present: int, pairs: int, moments: tuple[int, ...]) -> None:
    total, squares, steps, low, high = moments
    mean = total // present
    put(out, zigzag(total))
    put(out, squares - _least_squares(total, present))
    if pairs:
        put(out, steps)
    put(out, mean - low)
    put(out, high - mean)


def _read_broken(reader: Reader, rows: int) -> tuple[int, int]:
    """Values that are present, and pairs of them, of a channel that is not whole."""
    missing = reader.varint(rows)
    present = rows - missing
    most_pairs = max(present - 1, 0)
    gaps = reader.varint(most_pairs)
    if missing == gaps == 0:
        raise MessageError("a sketch marks a whole channel as broken")
    return present, most_pairs - gaps


def _read_moments(reader: Reader, present: int, pairs: int) -> tuple[int, ...]:
    """Total, squares, pairs, steps, low, high."""
    varint = reader.varint
    total = unzigzag(varint())
    squares = _least_squares(total, present) + varint()
    steps = varint(pairs * (2 * LIMIT) ** 2) if pairs else 0
    mean = total // present
    low = mean - varint()
    high = mean + varint()
    # Together they bound the total.
    if not (low >= -LIMIT and high <= LIMIT and squares <= present * LIMIT**2 and high * present >= total):
        raise MessageError(f"a sketch with moments that {present} rows cannot have")
    return total, squares, pairs, steps, low, high


def _least_squares(total: int, present: int) -> int:
    """The least sum of squares that `present` numbers of this sum can have (Cauchy-Schwarz)."""
    return -(-total * total // present)
