"""What strangers and peers say below the messages: MQTT packets, the `Range` header, and answers over HTTP."""

import io
import json
import struct
from datetime import UTC, datetime
from urllib.parse import urlsplit

from fastapi import HTTPException

from device_agent.fetch import FetchError
from device_agent.progress import Progress
from device_agent.ranges import RangeFetch
from device_agent.server_connection import ServerConnection
from edgeops.artifact.blockplan import BlockMap, block_list
from edgeops.digest import digest_bytes
from edgeops.errors import MessageError, TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.moment import NONCE_BYTES, read_moment, sign_moment
from fleet_server.api.ranges import asked_range
from fleet_server.embedded import packets
from fleet_server.link.wire import Publish, Wire
from tests.fuzz.parser import Parser, scratch

_KEY = SigningKey.generate()
_NONCE = bytes(NONCE_BYTES)
_AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_BLOB = bytes(range(200))
_PUBLISH = packets.packet(0x32, b"\x00\x01t\x00\x07\x00hello")


class _Line:
    """A socket that has said all it will."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def recv(self, size: int) -> bytes:
        return self._data.read(size)

    def makefile(self, *_: object) -> io.BytesIO:
        return self._data

    def setsockopt(self, *_: object) -> None:
        pass

    def sendall(self, _data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def shutdown(self, _how: int) -> None:
        pass


def _publishes(data: bytes) -> list[Publish]:
    """All that the link's socket makes of a stream; other packets are paho's."""
    wire, found = Wire(_Line(data)), []
    wire.fill()
    while (kind := wire.next_kind()) is not None and kind & 0xF0 == 0x30:
        try:
            found.append(wire.take_publish(has_properties=True))
        except IndexError:
            continue
    return found


def _connect(data: bytes) -> packets.Connect | None:
    said = packets.read_connect(packets.packet(packets.CONNECT << 4, data))
    return said if said.is_understood else None


def _connecting() -> bytes:
    texts = b"".join(
        struct.pack(">H", len(text)) + text for text in (b"me", b"will", b"last words", b"user", b"secret")
    )
    return b"\x00\x04MQTT\x04\xc6\x00\x3c" + texts


def _pull(data: bytes) -> bytes:
    """A blob of two blocks from a server that answers each request with `data`."""
    file = scratch() / "blob"
    blocks = BlockMap(len(_BLOB), 128, block_list(_BLOB, 128))

    class Canned(ServerConnection):
        def connect(self) -> None:
            self.sock = _Line(data)

    fetch = RangeFetch(
        lambda: Canned(urlsplit("http://127.0.0.1:1"), context=None),
        path="/blobs/", blob_pass=lambda _digest: "pass", pause=lambda _s: None,
    )  # fmt: skip
    with file.open("w+b") as opened:
        progress = Progress(
            digest_bytes(_BLOB),
            blocks,
            handle=opened.fileno(),
            map_file=file.with_suffix(".map"),
            on_mismatch=lambda: None,
        )
        fetch.pull(progress, lambda: False)
    fetch.close()
    assert file.read_bytes() == _BLOB
    return _BLOB


def _answering(headers: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {headers}\r\n\r\n".encode() + body


def _ranges() -> list[bytes]:
    whole = "206 Partial Content\r\nContent-Range: bytes 0-199/200\r\nContent-Length: 200"
    return [
        _answering(whole, _BLOB),
        _answering(whole, _BLOB[:150]),
        _answering(whole, bytes(200)),
        _answering("200 OK\r\nContent-Length: 200", _BLOB),
        _answering(
            "206 Partial Content\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-199/200", b"c8\r\n" + _BLOB
        ),
        _answering("302 Found\r\nLocation: http://127.0.0.1:2/", b""),
        b"",
    ]


def _moments() -> list[bytes]:
    answer = {"at": _AT.isoformat(), "key_id": _KEY.public.key_id, "signature": sign_moment(_KEY, _NONCE, _AT).hex()}
    return [json.dumps(answer).encode(), json.dumps(answer | {"key_id": "ab" * 32}).encode(), b"[" * 5_000]


PARSERS = (
    Parser(
        name="packet-length",
        read=packets.remaining_length,
        errors=(MessageError,),
        seeds=lambda: [b"\x7f", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x01", b""],
        most_bytes=8,
    ),
    Parser(
        name="packet-connect",
        read=_connect,
        errors=(MessageError,),
        write=lambda said: packets.body_of(said.under(said.client_id)),
        seeds=lambda: [_connecting(), _connecting()[:-1], b"\x00\x04MQTT\x05\x00\x00\x3c"],
    ),
    Parser(
        name="packet-publish",
        read=packets.read_publish,
        errors=(MessageError,),
        seeds=lambda: [packets.body_of(_PUBLISH), b"\x00\x01#\x00\x07", b"\x00\x09t"],
    ),
    Parser(
        name="packet-subscribe",
        read=packets.read_subscribe,
        errors=(MessageError,),
        seeds=lambda: [b"\x00\x07\x00\x01t\x01\x00\x02t/\x00", b"\x00\x07\x00\x01t"],
    ),
    Parser(
        name="link-stream", read=_publishes, errors=(), seeds=lambda: [_PUBLISH + _PUBLISH, _PUBLISH[:-3], b"0\x01\xff"]
    ),
    Parser(
        name="range-header",
        read=lambda data: asked_range(data.decode("latin-1"), 100_000),
        errors=(HTTPException,),
        write=lambda asked: f"bytes={asked[0]}-{asked[1]}".encode(),
        seeds=lambda: [b"bytes=0-199", b"bytes=5-", b"bytes=0-1,3-4", b"bytes=" + b"9" * 60 + b"-1"],
        most_bytes=64,
    ),
    Parser(name="range-answer", read=_pull, errors=(FetchError,), seeds=_ranges),
    Parser(
        name="time-answer",
        read=lambda data: read_moment(data, {_KEY.public.key_id: _KEY.public}, nonce=_NONCE),
        errors=(TrustError,),
        seeds=_moments,
    ),
)
