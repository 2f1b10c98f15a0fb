"""MQTT 3.1.1 packets as the guard needs them (OASIS mqtt-v3.1.1-os): their length, CONNECT, and topics.

Pure. Payloads stay bytes; what a packet means is decided in `fleet_server.embedded.guard` and by the broker.
"""

from dataclasses import dataclass

from edgeops.errors import MessageError

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE = 1, 2, 3, 4, 8
#: CONNACK return codes (3.2.2.3).
UNACCEPTABLE_VERSION, NOT_AUTHORISED = 1, 5

_LEVEL = 4
_FLAG_USER, _FLAG_PASSWORD, _FLAG_WILL = 0x80, 0x40, 0x04
#: `MQTT`, level, flags, keep alive (3.1.2).
_CONNECT_HEADER_BYTES = 10
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Connect:
    """What a client says first."""

    level: int
    client_id: str
    will_topic: str | None
    user: str | None
    password: str | None
    #: Of the packet's body: all before the client id, and all after it.
    before: bytes
    after: bytes

    @property
    def is_understood(self) -> bool:
        """Whether it is MQTT 3.1.1."""
        return self.level == _LEVEL

    def under(self, client_id: str) -> bytes:
        """The packet under another client id."""
        return packet(CONNECT << 4, self.before + _text(client_id) + self.after)


def packet(first_byte: int, body: bytes) -> bytes:
    """A packet: fixed header (2.2) and body."""
    out = bytearray([first_byte])
    count = len(body)
    while True:
        count, low = divmod(count, 128)
        out.append(low | (0x80 if count else 0))
        if not count:
            return bytes(out) + body


def connack(code: int) -> bytes:
    """A refusal."""
    return packet(CONNACK << 4, bytes([0, code]))


def puback(packet_id: bytes) -> bytes:
    """What a publisher with QoS 1 waits for."""
    return packet(PUBACK << 4, packet_id)


def body_of(data: bytes) -> bytes:
    """A whole packet without its fixed header."""
    at = 1
    while data[at] & 0x80:
        at += 1
    return data[at + 1 :]


def remaining_length(data: bytes) -> int | None:
    """The length that these bytes say (2.2.3); None = more of them are needed.

    Raises:
        MessageError: more than four bytes.
    """
    value = 0
    for place, byte in enumerate(data):
        if place == _LENGTH_BYTES:
            raise MessageError("a packet with a length of more than four bytes")
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value
    return None


def read_connect(data: bytes) -> Connect:
    """A CONNECT, the whole packet; one of another protocol level has nothing but its level.

    Raises:
        MessageError: it is none.
    """
    body = body_of(data) if data and data[0] >> 4 == CONNECT else b""
    if len(body) < _CONNECT_HEADER_BYTES or body[:6] != b"\x00\x04MQTT":
        raise MessageError("the first packet is no MQTT CONNECT")
    level, flags = body[6], body[7]
    if level != _LEVEL:
        return Connect(level, "", None, None, None, b"", b"")
    client_id, begin = _read_text(body, _CONNECT_HEADER_BYTES)
    at, will_topic, user, password = begin, None, None, None
    if flags & _FLAG_WILL:
        will_topic, at = _read_text(body, at)
        at = _skip(body, at)
    if flags & _FLAG_USER:
        user, at = _read_text(body, at)
    if flags & _FLAG_PASSWORD:
        password, at = _read_text(body, at)
    if at != len(body):
        raise MessageError("a CONNECT with bytes behind its end")
    return Connect(level, client_id, will_topic, user, password, body[:_CONNECT_HEADER_BYTES], body[begin:])


def read_publish(body: bytes) -> tuple[str, bytes]:
    """Topic of a PUBLISH, and its packet id, which means something with QoS 1 and 2 only.

    Raises:
        MessageError: no topic, or one that names more than one place (4.7.1).
    """
    topic, at = _read_text(body, 0)
    if not topic or "+" in topic or "#" in topic:
        raise MessageError("a PUBLISH to no topic, or to many")
    return topic, body[at : at + 2]


def read_subscribe(body: bytes) -> list[str]:
    """The filters of a SUBSCRIBE.

    Raises:
        MessageError: it is none.
    """
    filters, at = [], 2
    while at < len(body):
        topic_filter, at = _read_text(body, at)
        filters.append(topic_filter)
        at += 1
    if not filters or at != len(body):
        raise MessageError("a SUBSCRIBE without filters, or cut off")
    return filters


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _skip(body: bytes, at: int) -> int:
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if len(body) < end:
        raise MessageError("a packet that ends inside a text")
    return end


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    end = _skip(body, at)
    try:
        text = body[at + 2 : end].decode()
    except UnicodeDecodeError as error:
        raise MessageError("a packet with a text that is not UTF-8") from error
    if any(ord(char) < ord(" ") for char in text):
        raise MessageError("a packet with control characters in a text")  # 1.5.3
    return text, end
