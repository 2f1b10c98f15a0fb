"""The link's socket in whole packets: what arrives is cut right wherever it breaks, what leaves is never torn."""

import socket
import struct
from queue import Queue

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from fleet_server.link.wire import Client, Publish, Wire

CONNACK, PINGRESP, DISCONNECT = b"\x20\x03\x00\x00\x00", b"\xd0\x00", b"\xe0\x00"
DEADLINE_S = 10


def publish(topic, payload, *, packet=0, retained=False, properties=b""):
    """A PUBLISH of MQTT 5."""
    first = 0x30 | (2 if packet else 0) | retained
    body = struct.pack("!H", len(topic)) + topic.encode()
    body += struct.pack("!H", packet) if packet else b""
    body += bytes([len(properties)]) + properties + payload
    size, length = len(body), bytearray()
    while size or not length:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
    return bytes([first, *length]) + body


MESSAGES = [
    Publish("edgeops/v1/up/a/status", b"", retained=True, packet=1),
    Publish("edgeops/v1/up/b/telemetry", b"x" * 200, retained=False, packet=65_535),
    Publish("edgeops/v1/up/c/response", b"y", retained=False, packet=0),
    Publish("edgeops/v1/up/d/telemetry", b"z" * 20_000, retained=False, packet=2),
]
STREAM = b"".join(
    publish(*one[:2], packet=one.packet, retained=one.retained, properties=b"\x01\x01") for one in MESSAGES
)


MESSAGES_BEFORE = publish("edgeops/v1/up/e/status", b"")


@pytest.fixture
def ends():
    """Both ends of a connection; ours does not block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    theirs.settimeout(DEADLINE_S)
    with ours, theirs:
        yield ours, theirs


class Drip:
    """A socket that gives what was put into it in the pieces in which it was put, and takes as much as it is told."""

    def __init__(self, *pieces, takes=1 << 30):
        self.pieces = list(pieces)
        self.sent = b""
        self.takes = takes
        self.is_closed = False

    def setsockopt(self, *_option):
        pass

    def recv(self, _size):
        if not self.pieces:
            raise BlockingIOError
        return self.pieces.pop(0)

    def send(self, data):
        if not self.takes:
            raise BlockingIOError
        taken = bytes(data[: self.takes])
        self.takes -= len(taken)
        self.sent += taken
        return len(taken)

    def close(self):
        self.is_closed = True


def heard(wire, *, has_properties=True):
    """All messages that are here as a whole."""
    while (kind := wire.next_kind()) is not None:
        assert kind & 0xF0 == 0x30
        yield wire.take_publish(has_properties=has_properties)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000, len(STREAM)])
def test_messages_are_the_same_in_whatever_pieces_they_arrive(size):
    wire = Wire(Drip(*(STREAM[at : at + size] for at in range(0, len(STREAM), size))))
    messages = []
    for _ in range(0, len(STREAM), size):
        assert wire.fill()
        messages += heard(wire)
    assert messages == MESSAGES


def test_a_message_of_mqtt_3_has_no_properties():
    wire = Wire(Drip(b"\x32\x06\x00\x01t\x00\x09p"))
    wire.fill()
    assert list(heard(wire, has_properties=False)) == [Publish("t", b"p", retained=False, packet=9)]


def test_paho_reads_the_packets_between_messages_and_not_a_byte_more():
    wire = Wire(Drip(STREAM + PINGRESP + STREAM))
    wire.fill()
    for _ in MESSAGES:
        wire.take_publish(has_properties=True)
    assert wire.next_kind() == PINGRESP[0]
    assert wire.recv(1) + wire.recv(1) == PINGRESP
    assert list(heard(wire)) == MESSAGES


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\x00",
        b"\x30\x02\x00\x09",
        b"\x32\x03\x00\x01t",
        b"\x32\x06\x00\x01t\x00\x01\x09",
        b"\x30\x04\x00\x01t\xff",
    ],
)
def test_a_malformed_message_is_an_error_and_the_next_one_is_heard(packet):
    wire = Wire(Drip(packet + STREAM))
    wire.fill()
    with pytest.raises(IndexError):
        wire.take_publish(has_properties=True)
    assert list(heard(wire)) == MESSAGES


def test_a_topic_that_is_no_text_is_heard_as_one_that_nobody_has():
    wire = Wire(Drip(b"\x30\x05\x00\x01\xff\x00p"))
    wire.fill()
    assert [one.topic for one in heard(wire)] == ["\ufffd"]


def test_nothing_new_is_no_end_and_a_closed_connection_is(ends):
    ours, theirs = ends
    wire = Wire(ours)
    assert wire.fill()
    assert wire.next_kind() is None
    theirs.close()
    ours.setblocking(True)
    assert not wire.fill()
    assert wire.recv(1) == b""


def test_what_the_kernel_does_not_take_is_written_later_in_order():
    sock = Drip(takes=5)
    wire = Wire(sock)
    wire.put(b"abcd")
    assert wire.send(b"efgh") == 4
    wire.flush()
    assert (sock.sent, wire.has_unsent) == (b"abcde", True)
    sock.takes = 100
    wire.flush()
    assert (sock.sent, wire.has_unsent) == (b"abcdefgh", False)


def test_paho_waits_while_much_is_not_written():
    sock = Drip(takes=0)
    wire = Wire(sock)
    wire.send(bytes(1 << 20))
    with pytest.raises(BlockingIOError):
        wire.send(b"more")
    sock.takes = 1 << 30
    wire.flush()
    assert wire.send(b"more") == 4


def test_the_last_packet_is_written_before_the_connection_is_closed():
    sock = Drip()
    wire = Wire(sock)
    wire.send(b"\xe0\x00")
    wire.close()
    assert (sock.sent, sock.is_closed) == (b"\xe0\x00", True)


def test_writing_to_a_connection_that_is_over_leaves_nothing_and_reading_finds_its_end(ends):
    ours, theirs = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    wire = Wire(ours)
    for _ in range(2):
        wire.put(b"x")
        wire.flush()
    assert not wire.has_unsent
    assert not wire.fill()


@pytest.fixture
def connected():
    """A client that goes on in a thread of its own, and the broker's end of its connection after the CONNECT."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="edgeops/x", protocol=paho.MQTTv5, manual_ack=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client.connect_async(*server.getsockname())
        client.loop_start()
        theirs, _ = server.accept()
    with theirs:
        theirs.settimeout(DEADLINE_S)
        assert theirs.recv(1_000)[0] == 0x10
        yield client, theirs
        client.disconnect()
        client.loop_stop()


def taken(sock, size):
    """So many bytes, however they arrive."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"the connection ended after {data!r}"
        data += part
    return data


def test_all_that_came_with_the_connack_is_heard_and_acknowledged_in_order(connected):
    client, broker = connected
    heard = Queue()
    client.hear = heard.put
    broker.sendall(CONNACK + STREAM)
    assert [heard.get(timeout=DEADLINE_S) for _ in MESSAGES] == MESSAGES
    client.ack_all([1, 65_535, 2])
    assert taken(broker, 12) == b"\x40\x02\x00\x01\x40\x02\xff\xff\x40\x02\x00\x02"


def test_no_message_behind_an_acknowledgement_is_taken_by_paho(connected):
    """paho reads as many packets at a time as it waits for acknowledgements; a message among them would be lost."""
    client, broker = connected
    heard = Queue()
    client.hear = heard.put
    broker.sendall(CONNACK + MESSAGES_BEFORE)
    heard.get(timeout=DEADLINE_S)
    ours = [client.publish("t", b"x", qos=1) for _ in range(5)]
    taken(broker, 5 * 9)
    acknowledged = b"".join(struct.pack("!BBH", 0x40, 2, one.mid) for one in ours[:2])
    broker.sendall(acknowledged + STREAM)
    assert [heard.get(timeout=DEADLINE_S) for _ in MESSAGES] == MESSAGES
    ours[1].wait_for_publish(DEADLINE_S)
    assert [one.is_published() for one in ours] == [True, True, False, False, False]


def test_a_message_that_fails_whoever_hears_it_keeps_no_other_from_being_heard(connected):
    client, broker = connected
    heard = Queue()

    def hear(message):
        if message == MESSAGES[0]:
            raise ZeroDivisionError
        heard.put(message)

    client.hear = hear
    broker.sendall(CONNACK + b"\x30\x00" + STREAM)
    assert [heard.get(timeout=DEADLINE_S) for _ in MESSAGES[1:]] == MESSAGES[1:]


def test_who_leaves_says_so(connected):
    client, broker = connected
    client.disconnect()
    assert taken(broker, 2) == DISCONNECT
