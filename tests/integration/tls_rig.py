"""A TLS server on loopback that shows whatever certificate a test made for it."""

import socket
import ssl
import tempfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgeops.trust.issuing import issue, new_issuer

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)
NAMES = ("127.0.0.1", "localhost")


@contextmanager
def tls_server(issued, *, version=ssl.TLSVersion.TLSv1_2):
    """Says `hello` over TLS to everybody; its port."""
    context = _shows(issued)
    context.maximum_version = version if version < ssl.TLSVersion.TLSv1_2 else ssl.TLSVersion.MAXIMUM_SUPPORTED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ending = threading.Event()

        def serve():
            while not ending.is_set():
                connection, _ = listener.accept()
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.sendall(b"hello")
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            ending.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


@contextmanager
def https_server(handler, issued):
    """Answers HTTPS with a handler class; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = _shows(issued).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _shows(issued):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(issued.pem)
        context.load_cert_chain(file.name)
    return context


def hears(context, port, *, name="localhost"):
    """What the server says to a client with this context."""
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        context.wrap_socket(connection, server_hostname=name) as secure,
    ):
        return secure.recv(16)


def certificate(issuer=None, *, names=NAMES, at=NOW, life=90 * DAY):
    """A server certificate of a new CA, or of this one."""
    return issue(issuer or new_issuer(at), names, at, life=life)


def key_pem(issuer):
    """The private key of a CA, as a server that shows the CA itself would have it."""
    return issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
