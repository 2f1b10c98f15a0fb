"""HTTP to the fleet server with deadlines that hold: a socket's timeout begins anew with each byte that drips."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import SplitResult

from edgeops import limits

_PORTS = {"http": 80, "https": 443}


class ServerConnection(http.client.HTTPConnection):
    """One connection, not open yet; follows no redirect and knows no proxy, for the server is on this site."""

    def __init__(self, server: SplitResult, *, context: ssl.SSLContext | None) -> None:
        """`server` is its address, `context` whom to believe over https; None = whom the system trusts."""
        super().__init__(
            server.hostname or "",
            server.port or _PORTS[server.scheme],
            timeout=limits.HTTP_SILENCE.total_seconds(),
        )
        self._context = (context or ssl.create_default_context()) if server.scheme == "https" else None
        #: A second name of the TCP connection: the first one is TLS's own from the handshake on.
        self._line: socket.socket | None = None

    def connect(self) -> None:
        """TCP, and TLS above it.

        Raises:
            OSError: nobody answers, or somebody who is not believed.
        """
        super().connect()
        self._line = self.sock.dup()
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def close(self) -> None:
        """Both names."""
        super().close()
        line, self._line = self._line, None
        if line is not None:
            line.close()

    @contextmanager
    def within(self, deadline: timedelta) -> Iterator[None]:
        """What waits for the server in here, the handshake too, fails or ends early when the time is over."""
        timer = threading.Timer(deadline.total_seconds(), self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def cut(self) -> None:
        """End what another thread waits for; closing is its own affair."""
        line = self._line
        if line is not None:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
