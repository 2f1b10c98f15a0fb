"""The writing end of a live source: what comes through a file descriptor goes to a running agent, line by line.

It reads no faster than the agent takes, says what the agent says about bad lines, and ends with the descriptor. What
a line means is `device_agent.sources.stream`'s business; only a header is read here.
"""

import csv
import json
import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from device_agent.control import ask_and_stay
from edgeops.errors import ConflictError, DatasetError, UnreachableError
from edgeops.limits import MAX_FEED_LINE_BYTES

_CHUNK_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Fed:
    """What became of a stream."""

    rows: int
    #: Lines that were no rows.
    refused: int


class Lines:
    """A file descriptor whose first line can be taken off."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._ahead = b""

    def header(self) -> list[str]:
        """The names in the first line.

        Raises:
            DatasetError: there is none, or it is no line of CSV.
        """
        while b"\n" not in self._ahead and len(self._ahead) <= MAX_FEED_LINE_BYTES:
            part = os.read(self.descriptor, _CHUNK_BYTES)
            if not part:
                break
            self._ahead += part
        line, _, self._ahead = self._ahead.partition(b"\n")
        try:
            names = [name.strip() for name in next(csv.reader([line.decode("utf-8-sig")], strict=True), [])]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"the first line is no CSV header: {error}") from error
        if not any(names):
            raise DatasetError("the first line names no columns; a header comes first, or name them with --columns")
        return names

    def read(self) -> bytes:
        """What there is, after waiting for it; nothing at the end."""
        ahead, self._ahead = self._ahead, b""
        return ahead or os.read(self.descriptor, _CHUNK_BYTES)

    @property
    def waits(self) -> bool:
        """Whether something was read that nobody has had."""
        return bool(self._ahead)


def feed(
    path: Path,
    deployment: str,
    lines: Lines,
    *,
    header: Sequence[str] | None,
    first_line: int,
    say: Callable[[str], None],
) -> Fed:
    """Pass lines on to the agent that listens at `path` until they end or it wants no more.

    Args:
        path: the agent's control socket.
        deployment: whose rows they are.
        lines: what comes behind the header.
        header: names the cells of CSV; None = JSON lines.
        first_line: the number of the next line, for messages about it.
        say: tells a person.

    Raises:
        UnreachableError: no agent runs, or it died before it had taken all rows.
        MessageError: it does not take this stream.
        ConflictError: it ended the stream.
    """
    request = {
        "do": "feed",
        "deployment": deployment,
        "header": None if header is None else list(header),
        "line": first_line,
    }
    connection, answer = ask_and_stay(path, request)
    say(f"feeding {deployment}" + ("; it waits for a model" if answer.get("waiting") else ""))
    with connection:
        return _Stream(connection, deployment, say).pass_on(lines)


class _Stream:
    def __init__(self, connection: socket.socket, deployment: str, say: Callable[[str], None]) -> None:
        self._connection = connection
        self._deployment = deployment
        self._say = say
        self._heard = b""
        self._fed: Fed | None = None

    def pass_on(self, lines: Lines) -> Fed:
        try:
            self._write(lines)
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
        except KeyboardInterrupt:
            # What the agent has read counts; it says how much that was.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
        while self._fed is None:
            self._listen()
        return self._fed

    def _write(self, lines: Lines) -> None:
        """Until the lines end, or the agent has ended the stream."""
        while self._fed is None:
            own = self._connection.fileno()
            ready = [] if lines.waits else select.select([lines.descriptor, own], [], [])[0]
            if own in ready:
                self._listen()
            elif data := lines.read():
                try:
                    self._connection.sendall(data)
                except OSError:  # why is still to be heard
                    return
            else:
                return

    def _listen(self) -> None:
        """Take in what the agent says."""
        try:
            data = self._connection.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            raise UnreachableError("the agent died; what it had not answered yet is lost")
        *messages, self._heard = (self._heard + data).split(b"\n")
        for message in map(json.loads, messages):
            if "refused" in message and "ended" not in message:
                self._say(str(message["refused"]))
            elif message.get("ended"):
                raise ConflictError(f"{self._deployment} took {message['rows']} rows and no more: {message['ended']}")
            else:
                self._fed = Fed(int(message["rows"]), int(message["refused"]))
