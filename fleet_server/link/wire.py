"""paho with its socket read and written many packets at a time.

paho asks the kernel three times for each packet, waits again before the next, and writes each acknowledgement alone;
with several threads each of these gives the interpreter away. Here what has arrived is read at once and cut into
packets. A PUBLISH of QoS 0 or 1, of which there are many, is taken apart here; every other packet is left to paho, and
so are the connection, its keepalive, and all that is published.
"""

import logging
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

log = logging.getLogger(__name__)

#: Read at once; and what may wait to be written before paho has to wait.
_BYTES = 1 << 16
_PUBLISH, _KIND = 0x30, 0xF0
_QOS, _RETAIN = 0x06, 0x01
#: What a socket that does not block says when it has nothing, or takes no more.
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_PUBACK = struct.Struct("!BBH")
#: A number of more bytes is malformed (MQTT 5 1.5.5).
_MAX_NUMBER_BYTES = 4


class Publish(NamedTuple):
    """A message as it stands in its packet (MQTT 5 3.3)."""

    topic: str
    payload: bytes
    retained: bool
    #: 0 = QoS 0.
    packet: int


class Wire:
    """A socket for paho, with whole packets in both directions; read by the network thread, written by any."""

    def __init__(self, sock: Any) -> None:
        # Otherwise Nagle's algorithm holds back every second block for the peer's delayed ACK.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock: socket.socket = sock
        self._came = b""
        #: Where the next packet begins.
        self._at = 0
        #: Where the packet ends that paho reads; None = it may read what it likes.
        self._lent_until: int | None = None
        self._unsent = bytearray()
        self._writing = Lock()

    # -- what `Client` asks

    def fill(self) -> bool:
        """Read what has arrived; False when the connection is over, which paho finds out by `recv`."""
        try:
            came = self._sock.recv(_BYTES)
        except _LATER:
            return True
        except OSError:
            return False
        self._came, self._at = self._came[self._at :] + came, 0
        return bool(came)

    def next_kind(self) -> int | None:
        """The first byte of the next packet; None when none is here as a whole."""
        body = self._body()
        return None if body is None or body.stop > len(self._came) else self._came[self._at]

    def take_publish(self, *, has_properties: bool) -> Publish:
        """The next packet, which is a PUBLISH of QoS 0 or 1; also when it is malformed, that was it.

        Raises:
            IndexError: it is malformed.
        """
        body = self._body()
        assert body is not None
        came, first, at = self._came, self._came[self._at], body.start + 2
        self._at = body.stop
        topic = came[at : at + int.from_bytes(came[body.start : at])]
        at += len(topic)
        packet = 0
        if first & _QOS:
            packet = int.from_bytes(came[at : at + 2])
            at += 2
        if has_properties:
            size, at = _number(came, at)
            at += size
        if at > body.stop:
            raise IndexError(f"a PUBLISH of {body.stop - body.start} bytes ends before its payload begins")
        return Publish(topic.decode(errors="replace"), came[at : body.stop], bool(first & _RETAIN), packet)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give paho the next packet, which is whole, and nothing behind it.

        It asks for as many packets at a time as it waits for acknowledgements, and a PUBLISH among them would be lost.
        """
        body = self._body()
        assert body is not None
        self._lent_until = body.stop
        try:
            yield
        finally:
            self._lent_until = None

    def put(self, packets: bytes | bytearray) -> None:
        """Have whole packets written with paho's next."""
        with self._writing:
            self._unsent += packets

    def flush(self) -> None:
        """Write as much as the kernel takes."""
        with self._writing:
            while self._unsent:
                try:
                    del self._unsent[: self._sock.send(self._unsent)]
                except _LATER:
                    return
                except OSError:  # the connection is over, as the next `fill` finds
                    self._unsent.clear()

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` left something."""
        return bool(self._unsent)

    # -- what paho asks (its `SocketLike`)

    def recv(self, size: int) -> bytes:
        """Bytes of the packet that is next."""
        if self._at == self._lent_until:
            raise BlockingIOError
        if self._at == len(self._came):
            return self._sock.recv(size)
        data = self._came[self._at : min(self._at + size, self._lent_until or len(self._came))]
        self._at += len(data)
        return data

    def send(self, packet: bytes | bytearray) -> int:
        """Take a whole packet, or none."""
        if len(self._unsent) >= _BYTES:
            raise BlockingIOError
        self.put(packet)
        return len(packet)

    def pending(self) -> int:
        """Bytes that TLS holds and `select` does not know of."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def close(self) -> None:
        """Write the rest, which may be the DISCONNECT, and close."""
        self.flush()
        self._sock.close()

    def fileno(self) -> int:
        """For `select`."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the socket's signature
        """As the socket's."""
        self._sock.setblocking(flag)

    def _body(self) -> slice | None:
        """Where the next packet's body is or will be; None when not even its head is here."""
        try:
            size, at = _number(self._came, self._at + 1)
        except IndexError:
            return None
        return slice(at, at + size)


class Client(paho.Client):
    """A paho client that hands messages to `hear`, in the order of arrival, and not to `on_message`."""

    hear: Callable[[Publish], None]

    def ack_all(self, packets: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1."""
        *most, last = packets
        wire = self.socket()
        if isinstance(wire, Wire):
            wire.put(b"".join(_PUBACK.pack(paho.PUBACK, 2, packet) for packet in most))
        self.ack(last, 1)  # wakes the network thread, which writes all of them

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Take in all packets that have arrived."""
        wire = self.socket()
        if not isinstance(wire, Wire) or not wire.fill():
            return super().loop_read(max_packets)
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        while not result and (kind := wire.next_kind()) is not None:
            if kind & _KIND == _PUBLISH:
                self._hear(wire)
            else:
                with wire.lent():
                    result = super().loop_read(max_packets)
        return result

    def loop_write(self) -> MQTTErrorCode:
        """Write what waits, in one go."""
        result = super().loop_write()
        wire = self.socket()
        if isinstance(wire, Wire):
            wire.flush()
        return result

    def want_write(self) -> bool:
        """Whether something waits to be written."""
        wire = self.socket()
        return super().want_write() or (isinstance(wire, Wire) and wire.has_unsent)

    def _create_socket(self) -> Wire:  # paho's seam for other transports: its own is a class like ours
        return Wire(super()._create_socket())

    def _hear(self, wire: Wire) -> None:
        try:
            self.hear(wire.take_publish(has_properties=self.protocol == paho.MQTTv5))
        except Exception:
            log.exception("broker.not_heard")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (MQTT 5 1.5.5) and where it ends."""
    value = 0
    for place in range(_MAX_NUMBER_BYTES):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    return value, at + _MAX_NUMBER_BYTES
