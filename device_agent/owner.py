"""What the owner asks on the command line: answered in the control's thread, carried out by the main one.

It changes nothing itself: what is asked for becomes an event of the agent's queue.
"""

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from device_agent.config import StateFolder
from device_agent.sources.stream import StreamSource
from edgeops.errors import MessageError

_TAKEN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Configured:
    """The owner changed a deployment's configuration, and perhaps wants its live source to end."""

    deployment: str
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Instructed:
    """The owner changed what concerns the device as a whole: holds, labels."""


@dataclass(frozen=True, slots=True)
class Feeding:
    """The owner feeds a deployment from a stream; whoever waits hears whether a model is there."""

    deployment: str
    source: StreamSource
    run: str
    taken: Future[bool]


class Owner:
    """Answers requests of `device_agent.control`."""

    def __init__(
        self,
        state: StateFolder,
        *,
        status: Callable[[], Mapping[str, Any]],
        tell: Callable[[Configured | Instructed | Feeding], None],
    ) -> None:
        """`status` is what the agent says of itself; `tell` puts an event into its queue."""
        self._state = state
        self._status = status
        self._tell = tell

    def answer(self, request: Mapping[str, Any], connection: socket.socket) -> Mapping[str, Any]:
        """The answer to one request, which may keep the connection.

        Raises:
            MessageError: nobody knows such a request.
        """
        match request:
            case {"do": "status"}:
                return self._status()
            case {"do": "reload" | "stop" as what, "deployment": str(name)}:
                self._state.deployment(name)
                self._tell(Configured(name, stopped=what == "stop"))
                return {"ok": True}
            case {"do": "instructed"}:
                self._tell(Instructed())
                return {"ok": True}
            case {"do": "feed", "deployment": str(name), "header": list() | None as header, "line": int(line)}:
                self._state.deployment(name)
                return {"waiting": not self._take_stream(name, connection, header, line)}
            case _:
                raise MessageError(
                    f"unknown request {str(request)[:200]}; known: status, reload, stop, instructed, feed"
                )

    def _take_stream(self, name: str, connection: socket.socket, header: Sequence[object] | None, line: int) -> bool:
        """Hand a stream to its deployment; whether a model is there to answer it."""
        run = secrets.token_hex(4)
        names = None if header is None else [str(name) for name in header]
        stream = connection.dup()
        feeding = Feeding(name, StreamSource(stream, run=run, header=names, line=line), run, Future())
        self._tell(feeding)
        try:
            return feeding.taken.result(_TAKEN_TIMEOUT_S)
        except BaseException:
            stream.close()
            raise
