"""Serves what devices wish for: blocks on their shared topics, parts of small files to one device.

Wishes take this way of their own because a download must not wait for a commit. A wish changes
nothing, so which ones were seen is remembered in memory only; whatever is not acceptable goes to
ingestion, which puts it aside.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import assert_never

from edgeops import limits
from edgeops.artifact.blockplan import wished
from edgeops.errors import MessageError
from edgeops.protocol.envelope import Envelope, Freshness, Mark, Session, freshness
from edgeops.protocol.messages import BlockWish, MetaWish, Wish, decode, encode
from edgeops.protocol.topics import Block, Down, DownKind, UpKind
from fleet_server.db.database import is_outage
from fleet_server.link.blocks import Shelf
from fleet_server.link.keyring import Keyring, Opened
from fleet_server.link.meta import Library
from fleet_server.link.mqtt import Broker, Delivery
from fleet_server.link.schedule import Asked, BlockSchedule
from fleet_server.rates import TokenBucket

log = logging.getLogger(__name__)

_TOPIC_END = f"/{UpKind.FETCH}"
_MANY = limits.WAITING_WISHES * 3 // 4
#: Wishes that are read before it is looked which blocks may leave: a look costs as much as blocks wait.
_AT_ONCE = 64


def is_wish(delivery: Delivery) -> bool:
    """Whether a message goes this way."""
    return delivery.topic.endswith(_TOPIC_END)


class WishServer:
    """One thread between the wishes of devices and the files of the server."""

    def __init__(
        self,
        *,
        broker: Broker,
        keyring: Keyring,
        shelf: Shelf,
        library: Library,
        refuse: Callable[[Delivery], None],
        session: Callable[[str], Session | None],
        rate_bytes_per_s: int,
        rate_bytes_per_s_per_device: int,
        stopping: threading.Event,
    ) -> None:
        """`session` knows the newest session of a device that was committed."""
        self._broker = broker
        self._keyring = keyring
        self._shelf = shelf
        self._library = library
        self._refuse = refuse
        self._session = session
        self._stopping = stopping
        self._schedule = BlockSchedule(
            now_s=time.monotonic(),
            rate_bytes_per_s=rate_bytes_per_s,
            rate_bytes_per_s_per_device=rate_bytes_per_s_per_device,
        )
        self._metadata = TokenBucket(limits.BLOCK_RATE_BYTES_PER_S, now_s=time.monotonic())
        self._marks: dict[str, Mark] = {}
        self._queue: Queue[Delivery | None] = Queue(limits.WAITING_WISHES)

    def put(self, delivery: Delivery) -> None:
        """Have a wish served; called on the network thread. Too many are dropped: devices ask again."""
        try:
            self._queue.put_nowait(delivery)
        except Full:
            self._broker.acknowledge(delivery)
            log.warning("wishes.dropped topic=%s", delivery.topic)

    @property
    def much_waits(self) -> bool:
        """Whether a device that asks more than its share would drive out others."""
        return self._queue.qsize() >= _MANY

    def stop(self) -> None:
        """End the thread soon."""
        with suppress(Full):  # a full queue keeps the thread awake, and it sees that it is stopping
            self._queue.put_nowait(None)

    def run(self) -> None:
        """Serve until stopped."""
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            self._shelf.close()

    def _turn(self) -> None:
        try:
            delivery = self._queue.get(timeout=self._schedule.wait_s(time.monotonic()))
        except Empty:
            delivery = None
        try:
            served = 0
            while delivery is not None:
                self._serve(delivery)
                served += 1
                delivery = self._waiting() if served < _AT_ONCE else None
            for asked in self._schedule.due(time.monotonic()):
                self._send_block(asked)
        except Exception as error:
            # The border between wishes and the world: without its database nothing is served; devices ask again.
            if not is_outage(error):
                raise
            log.warning("wishes.outage error=%s", error)

    def _waiting(self) -> Delivery | None:
        with suppress(Empty):
            return self._queue.get_nowait()
        return None

    def _serve(self, delivery: Delivery) -> None:
        """Serve one wish; it is acknowledged here, or by whoever puts it aside, never twice."""
        self._keyring.refresh_when_old()
        message = self._keyring.open(delivery)
        if not isinstance(message, Opened):
            self._refuse(delivery)
            return
        device_id, envelope = message.topic.device, message.envelope
        try:
            # A union of two tagged classes: mypy knows no type of types for it.
            wish: Wish = decode(envelope.body, Wish)  # type: ignore[arg-type]
        except MessageError:
            self._refuse(delivery)
            return
        try:
            verdict = freshness(envelope, self._mark(device_id))
        except Exception:
            self._broker.acknowledge(delivery)  # the device asks again
            raise
        if verdict in (Freshness.OLD_SESSION, Freshness.CLONED_SESSION):
            self._refuse(delivery)  # a second speaker: ingestion judges it by all that the device said
            return
        self._broker.acknowledge(delivery)
        if verdict is Freshness.FRESH:
            try:
                self._grant(device_id, envelope, wish)
            except Exception as error:
                if is_outage(error):
                    raise
                # A wish that no check foresaw must not end the wishes of all others.
                log.exception("wishes.failed device=%s", device_id)

    def _grant(self, device_id: str, envelope: Envelope, wish: Wish) -> None:
        if self._keyring.is_quarantined(device_id):
            return
        self._marks[device_id] = Mark(envelope.session, envelope.seq)
        match wish:
            case BlockWish():
                self._queue_blocks(device_id, wish)
            case MetaWish():
                self._send_part(device_id, wish)
            case _:
                assert_never(wish)

    def _mark(self, device_id: str) -> Mark | None:
        """The last wish, or before the first one the session that is known from elsewhere."""
        mark = self._marks.get(device_id)
        if mark is not None:
            return mark
        session = self._session(device_id)
        return None if session is None else Mark(session, -1)

    def _queue_blocks(self, device_id: str, wish: BlockWish) -> None:
        stock = self._shelf.find(wish.digest)
        if stock is None:
            log.info("wishes.unknown_blob device=%s digest=%s", device_id, wish.digest)
            return
        now_s = time.monotonic()
        for index in wished(wish):
            size_bytes = stock.block_size(index)
            if size_bytes:
                self._schedule.ask(Asked(wish.digest, index, size_bytes, device_id), now_s)

    def _send_block(self, asked: Asked) -> None:
        stock = self._shelf.find(asked.digest)
        data = None if stock is None else self._shelf.block(stock, asked.index)
        if data is not None:
            self._broker.publish(str(Block(asked.digest, asked.index)), data, qos=0)

    def _send_part(self, device_id: str, wish: MetaWish) -> None:
        part = self._library.answer(wish, max_bytes=self._broker.max_payload_bytes)
        now_s = time.monotonic()
        if self._metadata.wait_s(len(part.data), now_s) > 0.0:
            log.warning("wishes.metadata_dropped device=%s", device_id)  # over the rate; the device asks again
            return
        self._metadata.take(len(part.data), now_s)
        self._broker.publish(str(Down(device_id, DownKind.META)), encode(part), qos=1)
