"""A proxy between a client and the API that swallows the first answers to changes: they arrived, and nobody knows."""

import socket
import threading
from urllib.parse import urlsplit

from edgeops.api.client import Client


class CuttingProxy:
    """Forwards connections to `url`; `cuts` answers to them are dropped with their connection."""

    def __init__(self, url, *, cuts=1):
        self.cuts, self.cut = cuts, 0
        self._address = (urlsplit(url).hostname, urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._clients = []

    def client(self, token):
        client = Client(self.url, token)
        self._clients.append(client)
        return client

    def close(self):
        for client in self._clients:
            client.close()
        if self._listener.fileno() != -1:
            socket.create_connection(self._listener.getsockname()).close()
            self._thread.join()

    def _serve(self):
        with self._listener:
            while True:
                near, _ = self._listener.accept()
                with near, socket.create_connection(self._address) as far:
                    if not self._forward(near, far):
                        return

    def _forward(self, near, far):
        """One connection, request by request; False = the proxy was told to end."""
        first = True
        while asked := _whole_message(near):
            first = False
            far.sendall(asked)
            answer = _whole_message(far)
            if asked.startswith((b"POST", b"PUT", b"DELETE")) and self.cut < self.cuts:
                self.cut += 1
                return True
            near.sendall(answer)
        return not first


def _whole_message(end):
    asked = b""
    while b"\r\n\r\n" not in asked:
        more = end.recv(65536)
        if not more:
            return b""
        asked += more
    head, _, body = asked.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        more = end.recv(missing)
        asked, missing = asked + more, missing - len(more)
    return asked
