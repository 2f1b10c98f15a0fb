"""Text in blocks of whole lines, unpacked on the way (gzip), with how much of the file was read."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from edgeops import limits
from edgeops.errors import DatasetError

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextFile:
    """The bytes of one file."""

    def __init__(self, path: Path, *, file_name: str) -> None:
        self._path = path
        self._file_name = file_name
        self._size = max(1, path.stat().st_size)
        self._raw: BinaryIO | None = None
        self._share = 0.0

    @property
    def share(self) -> float:
        """How much of the file's bytes was read, 0 to 1."""
        return self._share

    def blocks(self, *, quotes: bool) -> Iterator[bytes]:
        """Blocks that end with a line, but for the last; `quotes` = a line break between quotes ends none (RFC 4180).

        Raises:
            DatasetError: damaged, or no line ends where one must.
        """
        try:
            with self._path.open("rb") as self._raw:
                packed = self._raw.read(2) == _GZIP_MAGIC
                self._raw.seek(0)
                with gzip.GzipFile(fileobj=self._raw) if packed else nullcontext(self._raw) as stream:
                    yield from self._cut(stream, quotes=quotes)  # type: ignore[arg-type]  # typeshed: GzipFile
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DatasetError(f"{self._file_name}: the gzip file is damaged or cut off: {error}") from error

    def _cut(self, stream: BinaryIO, *, quotes: bool) -> Iterator[bytes]:
        rest, lines, begins = b"", 1, True
        while read := stream.read(_BLOCK_BYTES):
            assert self._raw is not None
            self._share = min(1.0, self._raw.tell() / self._size)
            block = rest + (read.removeprefix(_BYTE_ORDER_MARK) if begins else read)
            begins = False
            end = _end_of_lines(block, quotes=quotes)
            if end == 0 and len(block) > limits.MAX_LINE_BYTES:
                raise DatasetError(f"{self._file_name}, line {lines}: {self._endless(block, quotes=quotes)}")
            if end:
                yield block[:end]
                lines += block.count(b"\n", 0, end)
            rest = block[end:]
        if quotes and rest.count(b'"') % 2:
            line = lines + rest.count(b"\n", 0, _last_open_quote(rest))
            raise DatasetError(f"{self._file_name}, line {line}: a quote is opened and never closed")
        if rest:
            yield rest

    @staticmethod
    def _endless(block: bytes, *, quotes: bool) -> str:
        what = "a quote is opened and not closed" if quotes and b'"' in block else "the line does not end"
        return f"{what} within {limits.MAX_LINE_BYTES} bytes"


def _end_of_lines(block: bytes, *, quotes: bool) -> int:
    """After the last line break that is not between quotes; 0 = there is none."""
    end = block.rfind(b"\n") + 1
    if not quotes:
        return end
    odd = block.count(b'"', 0, end) % 2
    while end and odd:
        start = block.rfind(b"\n", 0, end - 1) + 1
        odd = (odd + block.count(b'"', start, end)) % 2
        end = start
    return end


def _last_open_quote(text: bytes) -> int:
    """Where the last line begins before which all quotes are closed."""
    place, opened = 0, False
    for line in _lines_at(text):
        if not opened:
            place = line
        end = text.find(b"\n", line)
        opened ^= bool(text.count(b'"', line, len(text) if end < 0 else end) % 2)
    return place


def _lines_at(text: bytes) -> Iterator[int]:
    start = 0
    while start < len(text):
        yield start
        end = text.find(b"\n", start)
        start = len(text) if end < 0 else end + 1
