"""Numbers of few bytes for packed sketches: LEB128, shortest form only, and a reader that trusts nothing."""

from edgeops.errors import MessageError

#: Of the ninth byte.
_LAST_SHIFT = 7 * 8


def zigzag(value: int) -> int:
    """0, -1, 1, -2 ... as 0, 1, 2, 3 ..."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return value >> 1 if value & 1 == 0 else ~(value >> 1)


def put(out: bytearray, value: int) -> None:
    """Append a number of 0 or more."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


class Reader:
    """A cursor over hostile bytes."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @property
    def at(self) -> int:
        """The place of the next byte."""
        return self._at

    def take(self, length: int) -> bytes:
        """The next `length` bytes.

        Raises:
            MessageError: there are fewer.
        """
        piece = self._data[self._at : self._at + length]
        if len(piece) != length:
            raise MessageError(f"a sketch ends at byte {len(self._data)} where {length} more were expected")
        self._at += length
        return piece

    def varint(self, most: int | None = None) -> int:
        """The next number, in its shortest form.

        Raises:
            MessageError: it is cut off, longer than needed, or more than `most`.
        """
        data, at = self._data, self._at
        try:
            byte = data[at]
            value, shift = byte & 0x7F, 0
            while byte >= 0x80:
                at, shift = at + 1, shift + 7
                byte = data[at]
                value |= (byte & 0x7F) << shift
                if shift == _LAST_SHIFT and byte >= 0x80:
                    raise MessageError("a sketch with a number of more than 63 bits")
        except IndexError:
            raise MessageError(f"a sketch ends at byte {len(data)} inside a number") from None
        if byte == 0 and shift:
            raise MessageError(f"a sketch with {value} in a longer form than needed")
        if most is not None and value > most:
            raise MessageError(f"a sketch with {value} where at most {most} is possible")
        self._at = at + 1
        return value

    def finish(self) -> None:
        """Assert the end.

        Raises:
            MessageError: there are bytes left.
        """
        if self._at != len(self._data):
            raise MessageError(f"a sketch with {len(self._data) - self._at} bytes behind its end")
