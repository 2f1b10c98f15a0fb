"""Many protocol clients in one process: `python -m bench._flood FILE`.

FILE holds who they are and what they send (`Load`, MessagePack): all of it was signed before, so that this process does
little more than write to sockets. It connects everybody (MQTT 3.1.1), subscribes each to its acks, prints `ready`, and
for each line on stdin (a number) sends that round, a message of each client in turn. When the round expects acks it
waits until each client was told that all of its records are committed. It prints `began ended` on the monotonic clock,
which all processes of a machine share.
"""

import asyncio
import struct
import sys
import time
from pathlib import Path

import msgspec

from edgeops.protocol import messages
from edgeops.protocol.envelope import Envelope
from edgeops.protocol.topics import client_id

_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK = 0x10, 2, 3, 0x40, 0x82, 9
#: Clients that connect at the same time.
_AT_ONCE = 50
_TIMEOUT_S = 120.0


class Round(msgspec.Struct, array_like=True):
    """What one client sends in one round, and up to which record it shall hear an ack; -1 = it waits for none."""

    topic: str
    payloads: list[bytes]
    through: int


class Client(msgspec.Struct, array_like=True):
    """One device."""

    user: str
    password: str
    rounds: list[Round]


class Load(msgspec.Struct, array_like=True):
    """The file."""

    port: int
    clients: list[Client]


class _Connection(asyncio.Protocol):
    def __init__(self, client: Client) -> None:
        self.client = client
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.through = -1
        self.awaited = -1
        self.told = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._packet = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        body = _text("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 600)
        body += _text(client_id(self.client.user)) + _text(self.client.user) + _text(self.client.password)
        transport.write(_packet(_CONNECT, body))

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (taken := _take(self._data)) is not None:
            first, body = taken
            kind = first >> 4
            if kind == _CONNACK:
                assert body[1] == 0, f"the broker refuses {self.client.user}"
                topic = f"edgeops/v1/down/{self.client.user}/ack"
                self._write(_packet(_SUBSCRIBE, struct.pack("!H", 1) + _text(topic) + b"\1"))
            elif kind == _SUBACK:
                self.ready.set_result(None)
            elif kind == _PUBLISH:
                self._hear(first, body)

    def send(self, topic: str, payload: bytes) -> None:
        self._packet = self._packet % 65_535 + 1
        self._write(_packet(0x32, _text(topic) + struct.pack("!H", self._packet) + payload))

    def _hear(self, first: int, body: bytes) -> None:
        (length,) = struct.unpack_from("!H", body)
        payload = 2 + length
        if first & 6:
            self._write(_packet(_PUBACK, body[payload : payload + 2]))
            payload += 2
        envelope = msgspec.msgpack.decode(body[payload:], type=Envelope)
        ack = messages.decode(envelope.body, messages.Ack)
        self.through = max([self.through, *(spool.through for spool in ack.spools)])
        if self.through >= self.awaited:
            self.told.set()

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


async def _run(load: Load) -> None:
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    for start in range(0, len(load.clients), _AT_ONCE):
        some = load.clients[start : start + _AT_ONCE]
        made = [loop.create_connection(lambda one=one: _Connection(one), "127.0.0.1", load.port) for one in some]  # type: ignore[misc]
        connected = [protocol for _, protocol in await asyncio.gather(*made)]
        async with asyncio.timeout(_TIMEOUT_S):
            await asyncio.gather(*(connection.ready for connection in connected))
        connections += connected
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        began = time.monotonic()
        await _play(connections, int(line))
        print(began, time.monotonic(), flush=True)


async def _play(connections: list[_Connection], number: int) -> None:
    for connection in connections:
        connection.awaited = connection.client.rounds[number].through
        connection.told.clear()
    longest = max(len(connection.client.rounds[number].payloads) for connection in connections)
    for place in range(longest):
        for connection in connections:
            turn = connection.client.rounds[number]
            if place < len(turn.payloads):
                connection.send(turn.topic, turn.payloads[place])
        if place % 64 == 0 or len(connections) > 1:
            await asyncio.sleep(0)
    async with asyncio.timeout(_TIMEOUT_S):
        for connection in connections:
            if connection.awaited > connection.through:
                await connection.told.wait()


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | 0x80 if size else digit)
        if not size:
            return bytes([first]) + bytes(length) + body


def _take(data: bytearray) -> tuple[int, bytes] | None:
    size, shift, at = 0, 0, 1
    while True:
        if at >= len(data):
            return None
        size |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            break
        shift += 7
    if len(data) < at + size:
        return None
    first, body = data[0], bytes(data[at : at + size])
    del data[: at + size]
    return first, body


if __name__ == "__main__":
    asyncio.run(_run(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Load)))
