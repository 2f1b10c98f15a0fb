"""Pulls the blocks of a blob over HTTP in ranges: one connection, one request at a time, deadlines on everything.

What comes is judged block by block as over MQTT (`device_agent.progress`), so the server is believed in nothing. It
follows no redirect, takes no encoding and no more than it asked for. When to come this way is not decided here.
"""

import http.client
import random
import ssl
import threading
import time
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

from device_agent.fetch import CancelledError, FetchError
from device_agent.progress import Progress
from device_agent.server_connection import ServerConnection
from edgeops import limits
from edgeops.artifact.blockplan import Acceptance
from edgeops.artifact.transport import first_run
from edgeops.digest import digest_hex
from edgeops.trust.transport import is_loopback

#: How often a pause looks whether it is still wanted.
_GLANCE_S = 0.2
_CLOSE_TIMEOUT_S = 2.0


class _BrokenError(Exception):
    """This request came to nothing; another one may do better."""


class RangeFetch:
    """Blobs of one server; any number of worker threads take turns."""

    def __init__(
        self,
        connect: Callable[[], ServerConnection],
        *,
        path: str,
        blob_pass: Callable[[str], str],
        pause: Callable[[float], None],
    ) -> None:
        """`connect` makes a connection that is not open yet; blobs are below `path`."""
        self._connect = connect
        self._path = path
        self._blob_pass = blob_pass
        self._pause = pause
        self._turn = threading.Lock()
        self._connection: ServerConnection | None = None

    @classmethod
    def at(
        cls,
        url: str,
        *,
        blob_pass: Callable[[str], str],
        context: ssl.SSLContext | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> Self | None:
        """For the server at `url`; None = it cannot be reached this way: beyond loopback only TLS is spoken.

        Args:
            url: as the device enrolled there.
            blob_pass: makes the Authorization header's value for a digest.
            context: whom to trust over https; None = whom the system trusts.
            pause: between requests; for tests.
        """
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname or "", parts.port
        except ValueError:
            return None
        if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
            return None

        def connect() -> ServerConnection:
            return ServerConnection(parts, context=context)

        return cls(connect, path=parts.path.rstrip("/") + "/blobs/", blob_pass=blob_pass, pause=pause)

    def pull(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        """Bring what is missing (`device_agent.fetch.Ranges`)."""
        tries = 0
        while missing := progress.blocks.missing(limits.RANGE_BLOCKS):
            before = progress.blocks.received
            try:
                with self._turn:
                    self._read_run(progress, first_run(missing), cancelled)
            except _BrokenError as error:
                tries = 0 if progress.blocks.received > before else tries + 1
                if tries >= limits.RANGE_TRIES:
                    raise FetchError(f"no block of {progress.digest} over HTTP in {tries} requests: {error}") from error
                self._rest(tries, cancelled)

    def close(self) -> None:
        """End the connection; a request under way breaks, one that still connects is left to its timeout."""
        connection = self._connection
        if connection is not None:
            connection.cut()
        if self._turn.acquire(timeout=_CLOSE_TIMEOUT_S):
            try:
                self._disconnect()
            finally:
                self._turn.release()

    # -- one request, in its turn

    def _read_run(self, progress: Progress, run: range, cancelled: Callable[[], bool]) -> None:
        if cancelled():
            raise CancelledError(f"{progress.digest} is not wanted any more")
        done = False
        try:
            response = self._ask(progress, run)
            for index in run:
                data = self._read_block(response, progress.blocks.length(index), cancelled)
                if progress.take(index, data) is Acceptance.MISMATCH:
                    raise _BrokenError(f"block {index} is not what the block list says")
            # Whole, but http.client does not see that by itself; now the connection takes the next request.
            response.close()
            done = True
        finally:
            if not done:
                self._disconnect()

    def _ask(self, progress: Progress, run: range) -> http.client.HTTPResponse:
        """Send the request; the head of the answer is what was asked for."""
        blocks = progress.blocks
        first, end = blocks.offset(run.start), blocks.offset(run.stop - 1) + blocks.length(run.stop - 1)
        wanted = f"{first}-{end - 1}"
        headers = {
            "Authorization": self._blob_pass(progress.digest),
            "Range": f"bytes={wanted}",
            "Accept-Encoding": "identity",
        }
        response = self._converse(self._path + digest_hex(progress.digest), headers)
        if response.status >= 500:
            raise _BrokenError(f"the server answers {response.status} {response.reason[:80]}")
        if response.status != 206:
            raise FetchError(
                f"the server refuses {progress.digest} over HTTP: {response.status} {response.reason[:80]}"
            )
        ours = (
            response.getheader("Content-Range") == f"bytes {wanted}/{blocks.size}"
            and response.length == end - first
            and response.getheader("Content-Encoding", "identity") == "identity"
        )
        if not ours:
            raise _BrokenError(f"the answer is not bytes {wanted} of {blocks.size}")
        return response

    def _converse(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """One request; a connection that the server closed while it was idle is replaced once."""
        reused = self._connection is not None
        try:
            return self._request(path, headers)
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            if not reused:
                raise _BrokenError(f"{type(error).__name__}: {error}") from error
        return self._converse(path, headers)

    def _request(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        with self._connection.within(limits.TRANSPORT_PATIENCE):
            self._connection.request("GET", path, headers=headers)
            return self._connection.getresponse()

    def _read_block(self, response: http.client.HTTPResponse, size_bytes: int, cancelled: Callable[[], bool]) -> bytes:
        """Exactly `size_bytes`, within TRANSPORT_PATIENCE however slowly they drip."""
        until_s = time.monotonic() + limits.TRANSPORT_PATIENCE.total_seconds()
        data = bytearray()
        while len(data) < size_bytes:
            if cancelled():
                raise CancelledError("it is not wanted any more")
            if time.monotonic() > until_s:
                raise _BrokenError(f"{len(data)} of {size_bytes} bytes of a block in {limits.TRANSPORT_PATIENCE}")
            try:
                piece = response.read1(size_bytes - len(data))
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenError(f"{type(error).__name__}: {error}") from error
            if not piece:
                raise _BrokenError(f"the answer ends after {len(data)} of {size_bytes} bytes of a block")
            data += piece
        return bytes(data)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _rest(self, tries: int, cancelled: Callable[[], bool]) -> None:
        """Full jitter over a doubling spread."""
        left_s = random.uniform(0.0, limits.RANGE_RETRY_AFTER.total_seconds() * 2**tries)  # noqa: S311 - spreads load
        while left_s > 0.0 and not cancelled():
            self._pause(min(left_s, _GLANCE_S))
            left_s -= _GLANCE_S
