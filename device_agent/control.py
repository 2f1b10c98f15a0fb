"""The owner's line to a running agent: a Unix socket in the state folder, one JSON line each way.

Only the owner of the folder can reach it (mode 0600). A request is `{"do": "status"}`, or
`{"do": "reload", "deployment": NAME}`: what is asked for lies in files, so that nothing is lost when no
agent runs. Whoever answers `{"do": "feed", ...}` keeps the connection: rows follow on it.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from edgeops.errors import MessageError, PlatformError, UnreachableError

_log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_REST_S = 0.5
#: A feed names its columns.
_MAX_REQUEST_BYTES = 1 << 18
_MAX_ANSWER_BYTES = 1 << 20


class ControlServer:
    """Answers one request per connection, one at a time, on a thread of its own."""

    def __init__(self, path: Path, answer: Callable[[Mapping[str, Any], socket.socket], Mapping[str, Any]]) -> None:
        """`answer` turns a request into its answer; what it raises is told to the asker. It may keep the connection
        that it is given as a duplicate (`socket.dup`).

        Raises:
            PlatformError: the socket cannot be made.
        """  # noqa: D205 - one sentence
        self._path = path
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            with _Address(path) as address:
                self._socket.bind(address)
            path.chmod(0o600)
            self._socket.listen(4)
        except OSError as error:
            raise PlatformError(f"cannot listen on {path}: {error}") from error
        self._closing = Event()
        self._thread = Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        self._closing.set()
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # wakes accept(2)
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_TIMEOUT_S)
        self._socket.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closing, or too many open files for now (accept(2))
                self._closing.wait(_REST_S)
                continue
            with connection, suppress(OSError):
                connection.settimeout(_TIMEOUT_S)
                connection.sendall(json.dumps(self._reply(connection)).encode() + b"\n")

    def _reply(self, connection: socket.socket) -> Mapping[str, Any]:
        line = _read_line(connection, _MAX_REQUEST_BYTES)
        try:
            request = json.loads(line)
            return self._answer(request if isinstance(request, dict) else {}, connection)
        except Exception as error:  # noqa: BLE001 - the border to whoever asks
            _log.warning("control.refused", extra={"error": error})
            return {"error": str(error)}


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a running agent.

    Raises:
        UnreachableError: no agent runs in this folder, or it does not answer.
        MessageError: it refuses the request.
    """
    connection, answer = ask_and_stay(path, request)
    connection.close()
    return answer


def ask_and_stay(path: Path, request: Mapping[str, Any]) -> tuple[socket.socket, dict[str, Any]]:
    """As `ask`, and the connection, on which more may follow."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _Address(path) as address:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(address)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(_read_line(connection, _MAX_ANSWER_BYTES))
    except (OSError, ValueError) as error:
        connection.close()
        raise UnreachableError(
            f"no agent answers in {path.parent} ({error}); start it: edgeops-agent --state {path.parent} run"
        ) from error
    if "error" in answer:
        connection.close()
        raise MessageError(str(answer["error"]))
    connection.settimeout(None)
    return connection, dict(answer)


class _Address:
    """A socket's path, however long: sun_path holds 107 bytes, /proc/self/fd/<folder>/<name> always fits (unix(7))."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> str:
        self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_error: object) -> None:
        os.close(self._folder)


def _read_line(connection: socket.socket, limit: int) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < limit:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data
