"""Stands between each connection and amqtt: accounts, client ids, topics, wills and sizes.

The same as mosquitto's configuration says of them. What is refused is said in mosquitto's words, so that one reader
(`fleet_server.broker_log`) understands both.
"""

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.access import may_hear, may_publish, may_subscribe
from fleet_server.broker import password_matches
from fleet_server.bucket import Bucket
from fleet_server.embedded import packets
from fleet_server.embedded.packets import Connect

_CONNECT_TIMEOUT_S = 10.0


class OversizeError(MessageError):
    """A packet of more bytes than the broker takes."""


class Guard:
    """Knows who may do what, and who is connected."""

    def __init__(self, *, server_user: str, packet_bytes: int, say: Callable[[str], None]) -> None:
        self.server_user = server_user
        self.packet_bytes = packet_bytes
        self.say = say
        self._accounts: Mapping[str, str] = {}
        self._connected: dict[str, Connection] = {}

    def set_accounts(self, accounts: Mapping[str, str]) -> None:
        """From now on these are let in; whoever is connected and no longer among them is cut off."""
        changed = {user for user in self._connected if self._accounts.get(user) != accounts.get(user)}
        self._accounts = accounts
        for user in changed:
            self._connected[user].writer.close()
            self.say(f"Client {user} disconnected.")

    async def admit(self, reader: StreamReader, writer: StreamWriter) -> "Connection | None":
        """A connection as the broker sees it, or None: it was refused and is closed.

        An older one of the same user is ended first (3.1.4), which amqtt would leave open and deaf.
        """
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                data = await read_packet(reader, self.packet_bytes)
            connect = packets.read_connect(data or b"")
        except (MessageError, TimeoutError) as error:
            how = "oversize packet" if isinstance(error, OversizeError) else "protocol error"
            self.say(f"Client <unknown> disconnected due to {how}.")
            writer.close()
            return None
        user = self._user(connect)
        if user is None:
            writer.write(packets.connack(_why_not(connect)))
            writer.close()
            return None
        while (older := self._connected.get(user)) is not None:
            self.say(f"Client {user} already connected, closing old connection.")
            older.writer.close()
            await older.over.wait()
        self.say(f"New client connected as {user}.")
        ends = GuardedReader(self, user, connect.under(user), reader, writer), GuardedWriter(self, user, writer)
        connection = self._connected[user] = Connection(user, writer, *ends, asyncio.Event())
        return connection

    def gone(self, connection: "Connection") -> None:
        """The broker has let go of a connection."""
        del self._connected[connection.user]
        connection.over.set()

    def _user(self, connect: Connect) -> str | None:
        """Whose connection it is; None = it is refused."""
        if not connect.is_understood:
            return None  # no attempt: the client asks again in 3.1.1
        user = connect.user or ""
        stored = self._accounts.get(user)
        if stored is None or connect.password is None or not password_matches(stored, connect.password):
            self.say("Client <unknown> disconnected, not authorised.")
            return None
        will = connect.will_topic
        if will is not None and not may_publish(user, will, server_user=self.server_user):
            self.say(f"Denied PUBLISH from {user} ('{will}')")
            return None
        return user


@dataclass(frozen=True, slots=True)
class Connection:
    """One that was let in."""

    user: str
    writer: StreamWriter
    #: What the broker reads and writes.
    reading: "GuardedReader"
    writing: "GuardedWriter"
    #: Set when the broker has let go of it.
    over: asyncio.Event


class GuardedReader(ReaderAdapter):  # type: ignore[misc]  # amqtt says nothing of its types
    """What the broker reads: whole packets that passed."""

    def __init__(self, guard: Guard, user: str, connect: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        self._guard = guard
        self._user = user
        self._reader = reader
        self._writer = writer
        self._passed = connect
        self._share = Bucket(limits.DEVICE_MESSAGES_PER_S, limits.DEVICE_MESSAGES_AT_ONCE, time.monotonic())

    async def read(self, n: int = -1) -> bytes:
        """The next `n` bytes; fewer when the connection is over."""
        while not self._passed:
            data = await self._next()
            if data is None:
                return b""
            self._passed = data if self._passes(data) else b""
        piece, self._passed = self._passed[:n], self._passed[n:]
        return piece

    def feed_eof(self) -> None:
        """End it."""
        self._reader.feed_eof()

    async def _next(self) -> bytes | None:
        try:
            data = await read_packet(self._reader, self._guard.packet_bytes)
            if data is not None:
                _check(data)
        except MessageError as error:
            how = "oversize packet" if isinstance(error, OversizeError) else "protocol error"
            self._guard.say(f"Client {self._user} disconnected due to {how}.")
            self._writer.close()
            return None
        if data is not None and data[0] >> 4 == packets.PUBLISH and self._user != self._guard.server_user:
            await self._wait_its_turn()
        return data

    async def _wait_its_turn(self) -> None:
        """Whoever says more than its share is read later: TCP has it wait, and nobody else."""
        missing = 1 - self._share.level(time.monotonic())
        if missing > 0:
            await asyncio.sleep(missing / limits.DEVICE_MESSAGES_PER_S)
            self._share.level(time.monotonic())
        self._share.take(1)

    def _passes(self, data: bytes) -> bool:
        kind, body = data[0] >> 4, packets.body_of(data)
        if kind == packets.SUBSCRIBE:
            for topic_filter in packets.read_subscribe(body):
                if not may_subscribe(self._user, topic_filter, server_user=self._guard.server_user):
                    self._guard.say(f"Denied SUBSCRIBE from {self._user} ('{topic_filter}')")  # by `Rules`
        if kind != packets.PUBLISH:
            return True
        topic, packet_id = packets.read_publish(body)
        if may_publish(self._user, topic, server_user=self._guard.server_user):
            return True
        self._guard.say(f"Denied PUBLISH from {self._user} ('{topic}')")
        if data[0] & 0x06:
            self._writer.write(packets.puback(packet_id))  # as a broker of 3.1.1 does (3.3.5)
        return False


class GuardedWriter(StreamWriterAdapter):  # type: ignore[misc]  # amqtt says nothing of its types
    """What the broker writes; a message on a topic that is another's does not leave."""

    def __init__(self, guard: Guard, user: str, writer: StreamWriter) -> None:
        super().__init__(writer)
        self._guard = guard
        self._user = user

    def write(self, data: bytes) -> None:
        """Write one packet."""
        if data[0] >> 4 == packets.PUBLISH:
            topic, _ = packets.read_publish(packets.body_of(data))
            if not may_hear(self._user, topic, server_user=self._guard.server_user):
                return
        super().write(data)


async def read_packet(reader: StreamReader, most_bytes: int) -> bytes | None:
    """One packet; None when the connection is over.

    Raises:
        OversizeError: it says to be larger than `most_bytes`; nothing more was read.
        MessageError: it has no length.
    """
    try:
        head = await reader.readexactly(2)
        while (length := packets.remaining_length(head[1:])) is None:
            head += await reader.readexactly(1)
        if length > most_bytes:
            raise OversizeError(f"a packet of {length} bytes")
        return head + await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _check(data: bytes) -> None:
    """Pass when topics can be read.

    Raises:
        MessageError: they cannot.
    """
    body = packets.body_of(data)
    match data[0] >> 4:
        case packets.PUBLISH:
            packets.read_publish(body)
        case packets.SUBSCRIBE:
            packets.read_subscribe(body)
        case packets.CONNECT:
            raise MessageError("a second CONNECT")
        case _:
            pass


def _why_not(connect: Connect) -> int:
    return packets.NOT_AUTHORISED if connect.is_understood else packets.UNACCEPTABLE_VERSION
