"""What an agent publishes arrives whole from several threads, also by a slow line; what a broker sends is bounded."""

import socket
import ssl
import threading
import time
from queue import SimpleQueue

import paho.mqtt.client as paho
import pytest

from device_agent.mqtt_client import MqttClient
from edgeops import limits
from tests.integration.tls_rig import certificate

pytestmark = pytest.mark.slow

CONNECT, CONNACK, PUBLISH, DISCONNECT = 1, 2, 3, 14
ACCEPTED = bytes([CONNACK << 4, 3, 0, 0, 0])
TOPIC = "edgeops/v1/up/meter-1a2b/telemetry"
#: The agent's telemetry, and the small wishes of its workers.
SIZES = (60_000, 300)
EACH = 200


class SlowBroker:
    """Accepts one connection and reads it slowly, packet by packet; what is no MQTT ends it."""

    def __init__(self, tls=None):
        self.heard = []
        self.broken = None
        self.accepted = SimpleQueue()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._listener.close()
        self._thread.join(30)

    def _run(self):
        try:
            connection, _ = self._listener.accept()
            with connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True) as sock:
                self._serve(sock)
        except (OSError, ValueError) as error:
            self.broken = error

    def _serve(self, sock):
        kind, _ = self._packet(sock)
        assert kind == CONNECT
        sock.sendall(ACCEPTED)
        self.accepted.put(sock)
        while True:
            kind, body = self._packet(sock)
            if kind == DISCONNECT:
                return
            if kind != PUBLISH:
                raise ValueError(f"no agent sends a packet of kind {kind} here")
            length = int.from_bytes(body[:2])
            # No properties, QoS 0.
            self.heard.append((body[2 : 2 + length].decode(), body[2 + length + 1 :]))

    def _packet(self, sock):
        first = self._exactly(sock, 1)[0]
        length = shift = 0
        while True:
            byte = self._exactly(sock, 1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if length > limits.MAX_PACKET_BYTES:
            raise ValueError(f"a packet of {length} bytes")
        return first >> 4, self._exactly(sock, length)

    def _exactly(self, sock, size):
        data = b""
        while len(data) < size:
            part = sock.recv(min(size - len(data), 8192))
            if not part:
                raise ValueError("the agent left in the middle of a packet")
            data += part
            if size > 1:
                time.sleep(0.0005)
        return data


@pytest.fixture(params=["plain", "tls"])
def contexts(request, tmp_path):
    """Of the broker and of the client."""
    if request.param == "plain":
        return None, None
    (tmp_path / "pem").write_bytes(certificate().pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whom to believe is shown elsewhere (test_link_tls.py).
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client


def connected(broker, tls=None):
    """A client whose loop runs in a thread, as the agent's link runs it."""
    client = MqttClient(client_id="meter-1a2b")
    if tls is not None:
        client.tls_set_context(tls)
    client.connect_to("127.0.0.1", broker.port)
    # A kernel buffers megabytes on loopback; a line outside of a house takes less.
    client.socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)

    def loop():
        while client.loop(timeout=0.1) == paho.MQTT_ERR_SUCCESS:
            pass

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return client, thread


def test_what_two_threads_publish_at_once_arrives_whole(contexts):
    broker = SlowBroker(contexts[0])
    client, thread = connected(broker, contexts[1])
    broker.accepted.get(timeout=30)

    def publish(size):
        for number in range(EACH):
            client.publish(f"{TOPIC}/{size}", bytes([number]) * size)
            time.sleep(0.0002)

    speakers = [threading.Thread(target=publish, args=(size,)) for size in SIZES]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join(60)
    client.disconnect()
    thread.join(60)
    broker.close()
    assert broker.broken is None
    for size in SIZES:
        heard = [payload for topic, payload in broker.heard if topic == f"{TOPIC}/{size}"]
        assert heard == [bytes([number]) * size for number in range(EACH)]


def test_a_packet_beyond_the_bound_ends_the_connection_before_it_is_read():
    broker = SlowBroker()
    _, thread = connected(broker)
    sock = broker.accepted.get(timeout=30)
    # Its first byte and a length of 268,435,455: what MQTT allows.
    sock.sendall(bytes([PUBLISH << 4]) + b"\xff\xff\xff\x7f" + bytes(1024))
    thread.join(30)
    broker.close()
    # A client that waits for the rest would have sent a ping at last.
    assert broker.broken is not None
    assert "kind 12" not in str(broker.broken)


def test_the_largest_packet_of_the_protocol_is_read():
    broker = SlowBroker()
    client, _ = connected(broker)
    heard = SimpleQueue()
    client.on_message = lambda _c, _u, message: heard.put(message.payload)
    sock = broker.accepted.get(timeout=30)
    payload = bytes(limits.MAX_MESSAGE_BYTES)
    body = len(TOPIC).to_bytes(2) + TOPIC.encode() + b"\0" + payload
    length = bytes([len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14])
    sock.sendall(bytes([PUBLISH << 4]) + length + body)
    assert heard.get(timeout=30) == payload
    client.disconnect()
    broker.close()
