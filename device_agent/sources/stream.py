"""Takes rows as they come through a socket: CSV or JSON lines that `edgeops-agent feed` passes on from its stdin.

A live source: what was not read yet waits in the socket, and whoever writes waits with it; what was read is gone when
the agent ends. A line that is no row is told to the writer with its number, counted, and passed over. Columns are
taken by name; a label is never read into a row. An input's id is its `id`, else `<run>-<line>`.
"""

import csv
import json
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from device_agent.sources.cells import ID, checked_id, json_object, number, positions
from device_agent.sources.source import Rows
from edgeops.artifact.manifest import InputWindow
from edgeops.errors import DatasetError
from edgeops.limits import MAX_FEED_LINE_BYTES

#: How long `read` waits for a row.
_WAIT_S = 0.25
_CHUNK_BYTES = 65536
#: Bad lines that the writer is told of; the others are counted.
_TOLD = 20
_FAREWELL_S = 1.0
_WHERE = "stdin"


class _Line(NamedTuple):
    number: int
    #: When it was read, on the monotonic clock.
    at_ns: int
    text: bytes


class StreamSource:
    """The agent's end of one stream."""

    live = True

    def __init__(
        self, connection: socket.socket, *, run: str, header: Sequence[str] | None = None, line: int = 1
    ) -> None:
        """`header` names the cells of CSV, None = JSON lines; `line` is the number of the first one to come."""
        self.header = header
        #: Lines that were no rows.
        self.refused = 0
        connection.settimeout(_WAIT_S)
        self._connection = connection
        self._run = run
        self._columns: tuple[str, ...] = ()
        self._picks: list[int] = []
        self._next = line
        self._tail = b""
        #: Inside a line that is too long.
        self._skipping = False
        self._at_end = False
        self._unread: deque[_Line] = deque()
        #: Delivered, and not returned to since: `seek` may want them back.
        self._delivered: list[_Line] = []
        self._position = 0

    def offers(self) -> tuple[str, ...] | None:
        """What the header names; JSON lines say it line by line."""
        return None if self.header is None else tuple(self.header)

    def select(self, columns: Sequence[str], window: InputWindow | None = None) -> None:  # noqa: ARG002 - rows are of now
        """From now on deliver these columns.

        Raises:
            DatasetError: the header lacks one; without a header, every line must have them.
        """
        if self.header is not None:
            try:
                self._picks = positions(_WHERE, self.header, columns)
            except DatasetError as error:
                self._tell({"refused": str(error)})
                raise
        self._columns = tuple(columns)

    def seek(self, position: int) -> None:
        """Deliver the rows behind `position` again, which were delivered last."""
        back = self._position - position
        assert 0 <= back <= len(self._delivered), "a stream goes back only over what it delivered last"
        self._unread.extendleft(reversed(self._delivered[len(self._delivered) - back :]))
        self._delivered.clear()
        self._position = position

    def read(self, limit: int) -> Rows | None:
        """Up to `limit` rows, none if none came for a moment; None after the last."""
        if not self._unread and not self._at_end:
            self._receive()
        lines: list[_Line] = []
        values: list[list[float]] = []
        ids: list[str] = []
        while self._unread and len(lines) < limit:
            line = self._unread.popleft()
            try:
                row_id, row = self._row(line)
            except DatasetError as error:
                self._refuse(str(error))
                continue
            lines.append(line)
            ids.append(row_id)
            values.append(row)
        if not lines and self._at_end and not self._unread:
            return None
        self._delivered += lines
        self._position += len(lines)
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which counts as missing
            table = np.array(values, np.float32).reshape(len(lines), len(self._columns))
        return Rows(table, ids, self._position, [line.at_ns for line in lines])

    def close(self, reason: str) -> None:
        """Tell the writer how it ended, and give back the connection; what was not read is lost. Harmless to repeat."""
        with suppress(OSError):
            self._connection.settimeout(_FAREWELL_S)
        self._tell({"ended": reason, "rows": self._position, "refused": self.refused})
        self._connection.close()

    # -- below ---------------------------------------------------------------------------

    def _receive(self) -> None:
        """Take in what is there; wait a moment for it."""
        try:
            data = self._connection.recv(_CHUNK_BYTES)
        except TimeoutError:
            return
        except OSError:  # the writer is gone
            data = b""
        if not data:
            self._at_end = True
            data = b"\n" if self._tail else b""
        *lines, self._tail = (self._tail + data).split(b"\n")
        now_ns = time.monotonic_ns()
        for text in lines:
            if self._skipping:
                self._skipping = False
            elif text.strip():
                self._unread.append(_Line(self._next, now_ns, text))
            self._next += 1
        if len(self._tail) > MAX_FEED_LINE_BYTES:
            if not self._skipping:
                self._refuse(f"{_WHERE}, line {self._next}: longer than {MAX_FEED_LINE_BYTES} bytes")
            self._tail, self._skipping = b"", True

    def _row(self, line: _Line) -> tuple[str, list[float]]:
        where = f"{_WHERE}, line {line.number}"
        columns = self._columns
        row_id: object = None
        if self.header is None:
            item = json_object(where, line.text)
            positions(where, item, columns)
            cells = [item[name] for name in columns]
            row_id = item.get(ID)
        else:
            found = _cells(where, line.text)
            if len(found) != len(self.header):
                raise DatasetError(f"{where}: {len(found)} cells, the header has {len(self.header)}")
            cells = [found[at] for at in self._picks]
            if ID in self.header:
                row_id = found[self.header.index(ID)]
        named = row_id is not None and ID not in columns
        identity = checked_id(str(row_id), where) if named else f"{self._run}-{line.number}"
        return identity, [number(cell, _WHERE, line.number, name) for cell, name in zip(cells, columns, strict=True)]

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if self.refused <= _TOLD:
            self._tell({"refused": reason})

    def _tell(self, message: dict[str, object]) -> None:
        """Whoever does not listen misses it; the counter has it."""
        with suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")


def _cells(where: str, text: bytes) -> list[str]:
    try:
        return next(csv.reader([text.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{where}: not CSV: {error}") from error
