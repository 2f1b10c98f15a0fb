"""Ingestion: a batch of messages becomes committed rows, then acknowledgements, then signed Acks.

The order is the promise: the broker may forget a message, and a device its records, only after the
commit. kill -9 anywhere repeats work and loses none. Which rows a message becomes is decided in
`fleet_server.link.reading`.

While one batch is committed, the signatures of the next are verified. Acks are cumulative: as long as more messages
wait, they are put off a little, so that a device is told once about all that was committed meanwhile.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue

from edgeops import limits
from edgeops.protocol.messages import SpoolAck
from edgeops.protocol.topics import Down, DownKind
from fleet_server.db import devices, ingest
from fleet_server.db.database import Database, is_outage
from fleet_server.link.catalog import Catalog
from fleet_server.link.entries import CloneSeen
from fleet_server.link.keyring import Keyring, Opened, Refusal, Refused
from fleet_server.link.mqtt import Broker, Delivery
from fleet_server.link.news import News
from fleet_server.link.reading import Reading
from fleet_server.link.standing import SpoolKey, Standing
from fleet_server.link.timekeeping import Timekeeping
from fleet_server.link.voice import Voice
from fleet_server.link.waiting import Waiting
from fleet_server.link.writing import Writer
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

#: Verified batches that wait to be committed, and how often a full queue looks whether all shall end.
_AHEAD = 2
_LOOK_S = 0.25
#: Fewer messages than this are verified faster by one thread than by two.
_WORTH_SHARING = 8
#: More than one device that keeps to its credit ever has waiting.
_MUCH = limits.RECEIVE_MAXIMUM * 3 // 4


class Ingestion:
    """One thread that commits, and two before it that verify signatures."""

    def __init__(
        self,
        database: Database,
        *,
        broker: Broker,
        voice: Voice,
        keyring: Keyring,
        send_desired: Callable[[str], None],
        stopping: threading.Event,
    ) -> None:
        self._database = database
        self._broker = broker
        self._voice = voice
        self._keyring = keyring
        self._send_desired = send_desired
        self._stopping = stopping
        self._standing = Standing(database)
        self._catalog = Catalog(database)
        self._writer = Writer(database, self._standing)
        self._news = News()
        self._timekeeping = Timekeeping(database)
        self._waiting = Waiting()
        self._opened: Queue[_Opened | Exception | None] = Queue(_AHEAD)
        #: Messages whose verifying began, and those whose commit did; each is counted by one thread.
        self._verifying = 0
        self._committing = 0
        self._second_verifier = ThreadPoolExecutor(1, thread_name_prefix="verify")
        #: Spools whose devices shall be told, and since when.
        self._unanswered: set[SpoolKey] = set()
        self._unanswered_s = 0.0
        #: The last batch could not be committed: its database is locked, full or gone.
        self.is_held_up = False

    def put(self, delivery: Delivery) -> None:
        """Have a message taken in; called on the network thread.

        What waits is bounded by the receive maximum, which does not count messages of QoS 0: of those, which no
        agent of ours sends, the ones beyond it are dropped, as QoS 0 allows. mosquitto 2.0.11 keeps to the maximum
        only until something is acknowledged; then its `max_queued_messages` and `max_queued_bytes` are the bound.
        """
        if delivery.packet or len(self._waiting) < limits.RECEIVE_MAXIMUM:
            self._waiting.put(delivery)

    @property
    def much_waits(self) -> bool:
        """Whether a device that says more than its share would delay others."""
        return self._uncommitted >= _MUCH

    @property
    def _uncommitted(self) -> int:
        """Messages of which no commit has begun."""
        return len(self._waiting) + self._verifying - self._committing

    def stop(self) -> None:
        """Finish the batch in hand; what waits behind it stays with the broker."""
        self._waiting.stop()

    def run(self) -> None:
        """Take in batches until stopped."""
        verifier = threading.Thread(target=self._verify, name="verify", daemon=True)
        verifier.start()
        try:
            while not self._stopping.is_set():
                opened = self._opened.get()
                if opened is None:
                    break
                if isinstance(opened, Exception):
                    raise opened
                self._committing += len(opened.batch)
                self._ingest(opened)
            self._tell_acks()
        finally:
            self.stop()
            self._stopping.set()
            verifier.join()
            self._second_verifier.shutdown()

    def _verify(self) -> None:
        """A thread of its own: batches in order, their signatures verified."""
        end: Exception | None = None
        try:
            while not self._stopping.is_set():
                batch = self._waiting.take(limits.INGEST_BATCH, limits.INGEST_INTERVAL.total_seconds())
                if batch:
                    self._verifying += len(batch)
                    self._hand_on(batch)
        except Exception as error:  # noqa: BLE001 - a thread's border; the other one raises it
            end = error
        self._put(end)

    def _hand_on(self, batch: Sequence[Delivery]) -> None:
        while not self._stopping.is_set():
            try:
                self._keyring.refresh_when_old()
                opened = _Opened(batch, self._open(batch))
            except Exception as error:  # noqa: BLE001 - raised again but for an outage
                self._wait_out(error, len(batch))
                continue
            self._put(opened)
            return

    def _put(self, opened: "_Opened | Exception | None") -> None:
        """For the thread that commits, unless that has ended."""
        while True:
            with suppress(Full):
                self._opened.put(opened, timeout=_LOOK_S)
                return
            if self._stopping.is_set():
                return

    def _ingest(self, opened: "_Opened") -> None:
        while not self._stopping.is_set():
            try:
                readings = self._commit(opened.messages)
            except Exception as error:  # noqa: BLE001 - raised again but for an outage
                self._wait_out(error, len(opened.batch))
                continue
            self.is_held_up = False
            self._broker.acknowledge(*opened.batch)
            try:
                self._answer(readings)
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("ingest.unanswered error=%s", error)  # devices send again and hear it then
            return

    def _wait_out(self, error: Exception, count: int) -> None:
        """The border between a batch and the world: without its database the link waits, unacknowledged."""
        if not is_outage(error):
            raise error
        self.is_held_up = True
        log.error("ingest.outage messages=%d error=%s", count, error)
        self._stopping.wait(limits.OUTAGE_RETRY_AFTER.total_seconds())

    def _commit(self, messages: Sequence[Opened | Refused]) -> list[Reading]:
        """Commit a batch; one that cannot be read is divided until the message that is to blame stands alone.

        No message should do that: what is wrong with one is found by checks. But a check that was forgotten must
        not let one device stop all others, so what fails for a reason that nobody foresaw is put aside as well.
        """
        try:
            return [self._commit_read(messages)]
        except Exception as error:
            if is_outage(error):
                raise
            if len(messages) == 1:
                return [self._commit_read([_unreadable(messages[0].delivery, error)])]
        middle = len(messages) // 2
        return [*self._commit(messages[:middle]), *self._commit(messages[middle:])]

    def _commit_read(self, messages: Iterable[Opened | Refused]) -> Reading:
        now, now_s = utc_now(), time.monotonic()
        reading = Reading(self._standing, self._catalog, is_quarantined=self._keyring.is_quarantined)
        for message in messages:
            reading.take(message)
        reading.finish()
        control = [*reading.control, *self._news.of(reading, now, now_s=now_s)]
        self._writer.write(control, reading.telemetry, now=now)
        self._standing.commit_ended(reading.ended)
        self._news.told(control, now_s=now_s)
        if any(isinstance(entry, CloneSeen) for entry in control):
            self._keyring.refresh()
        return reading

    def _open(self, batch: Sequence[Delivery]) -> list[Opened | Refused]:
        """Verify signatures, on both cores when there are many: OpenSSL lets go of the interpreter lock."""
        half = len(batch) // 2 if len(batch) >= _WORTH_SHARING else 0
        others = self._second_verifier.submit(self._open_some, batch[:half]) if half else None
        own = self._open_some(batch[half:])
        return own if others is None else [*others.result(), *own]

    def _open_some(self, batch: Sequence[Delivery]) -> list[Opened | Refused]:
        return [self._open_one(delivery) for delivery in batch]

    def _open_one(self, delivery: Delivery) -> Opened | Refused:
        try:
            return self._keyring.open(delivery)
        except Exception as error:
            if is_outage(error):
                raise
            return _unreadable(delivery, error)

    def _answer(self, readings: Iterable[Reading]) -> None:
        """Tell devices what is committed; whoever misses it hears it again at the next birth or repetition."""
        if not self._unanswered:
            self._unanswered_s = time.monotonic()
        born: set[str] = set()
        heard: set[str] = set()
        for reading in readings:
            self._unanswered |= reading.touched
            born |= reading.born
            heard |= reading.heard
        for device_id in born:
            with self._database.read_telemetry() as connection:
                known = ingest.spool_ids(connection, device_id, limit=limits.MAX_SPOOLS_PER_ACK)
            self._unanswered |= {(device_id, spool) for spool in known}
        waited_s = time.monotonic() - self._unanswered_s
        if born or not self._uncommitted or waited_s >= limits.ACK_DELAY.total_seconds():
            self._tell_acks()
        self._welcome(born, others=self._timekeeping.due(heard))

    def _tell_acks(self) -> None:
        for device_id, acks in self._acks(self._unanswered).items():
            for start in range(0, len(acks), limits.MAX_SPOOLS_PER_ACK):
                part = tuple(acks[start : start + limits.MAX_SPOOLS_PER_ACK])
                self._broker.publish(str(Down(device_id, DownKind.ACK)), self._voice.ack(device_id, part), qos=1)
        self._unanswered.clear()

    def _acks(self, spools: Iterable[SpoolKey]) -> dict[str, list[SpoolAck]]:
        acks: dict[str, list[SpoolAck]] = defaultdict(list)
        for device_id, spool in sorted(spools):
            ledger = self._standing.ledger((device_id, spool))
            acks[device_id].append(SpoolAck(spool=spool, through=ledger.through, ranges=ledger.ranges))
        return acks

    def _welcome(self, born: set[str], *, others: set[str]) -> None:
        """What a device needs that began a session: credit, and what it shall run if it does not know.

        `others` get credit too: it says what time it is.
        """
        greeted = born | others
        if not greeted:
            return
        with self._database.read() as connection:
            known = devices.some(connection, greeted)
        for device in known:
            credit = self._voice.credit(device.id, limits.CREDIT_RECORDS, utc_now(), devices=self._keyring.devices)
            if self._broker.publish(str(Down(device.id, DownKind.CREDIT)), credit, qos=1) is not None:
                self._timekeeping.told(device.id)
            if device.id in born and device.is_behind:
                self._send_desired(device.id)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A batch, and what each message of it is worth."""

    batch: Sequence[Delivery]
    messages: Sequence[Opened | Refused]


def _unreadable(delivery: Delivery, error: Exception) -> Refused:
    log.error("ingest.unreadable topic=%s", delivery.topic, exc_info=error)
    return Refused(delivery, delivery.speaker, Refusal.UNREADABLE, f"{type(error).__name__}: {error}")
