"""Reads a stream of server-sent events (WHATWG HTML, 9.2.6), as far as this API speaks it.

Pure: lines in, messages out. Connecting, and connecting again, is `edgeops.api.client`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """What one block of lines says."""

    #: The id to begin behind after a lost connection.
    last_id: str
    #: Empty = no event, only a sign of life.
    data: str


def read_messages(lines: Iterable[str]) -> Iterator[Message]:
    """The messages of a stream; one that is cut off at the end is none."""
    last_id = ""
    data: list[str] = []
    for line in lines:
        if not line:
            yield Message(last_id, "\n".join(data))
            data = []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "id":
            last_id = value
