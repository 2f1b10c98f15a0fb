"""A server, or who stands before it, keeps nobody waiting by letting an answer drip."""

import http.client
import socket
import ssl
import threading
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from device_agent.server_connection import ServerConnection
from edgeops.trust.transport import unbelieved_context

#: The begin of a ServerHello (RFC 8446, 4.1.3) whose 16 KiB never come; an answer whose body does not; a head without end.
DRIPS = {
    "handshake": ("https", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"),
    "body": ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n"),
    "head": ("http", b"HTTP/1.1 200 OK\r\nX-Head: "),
}


@contextmanager
def dripping(begins):
    ending = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with suppress(OSError), connection:
            connection.recv(4096)
            connection.sendall(begins)
            while not ending.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ending.set()
            thread.join()


@pytest.mark.parametrize("drips", DRIPS)
def test_what_drips_is_given_up_when_the_time_is_over(drips):
    scheme, begins = DRIPS[drips]

    def ask(port):
        server = urlsplit(f"{scheme}://127.0.0.1:{port}")
        with (
            suppress(OSError, http.client.HTTPException),
            closing(ServerConnection(server, context=unbelieved_context())) as connection,
            connection.within(timedelta(seconds=0.3)),
        ):
            connection.request("GET", "/")
            connection.getresponse().read(4096)

    with dripping(begins) as port:
        thread = threading.Thread(target=ask, args=(port,))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()


def test_somebody_who_is_not_believed_is_asked_nothing():
    heard = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        server = urlsplit(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with (
            closing(ServerConnection(server, context=ssl.create_default_context())) as connection,
            pytest.raises(OSError),
        ):
            connection.request("GET", "/secret")
        thread.join()
    assert b"secret" not in b"".join(heard)
