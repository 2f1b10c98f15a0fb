"""Ingestion: a batch of messages becomes committed rows, then acknowledgements, then signed Acks.

The order is the promise: the broker may forget a message, and a device its records, only after the
commit. kill -9 anywhere repeats work and loses none. Which rows a message becomes is decided in
`fleet_server.link.reading`.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from edgeops import limits
from edgeops.protocol.messages import SpoolAck
from edgeops.protocol.topics import Down, DownKind
from fleet_server.db import devices, ingest
from fleet_server.db.database import Database, is_outage
from fleet_server.link.catalog import Catalog
from fleet_server.link.entries import Alerted, CloneSeen, ControlEntry, Heard
from fleet_server.link.keyring import Keyring, Opened, Refusal, Refused
from fleet_server.link.mqtt import Broker, Delivery
from fleet_server.link.reading import Reading
from fleet_server.link.standing import SpoolKey, Standing
from fleet_server.link.voice import Voice
from fleet_server.link.waiting import Waiting
from fleet_server.link.writing import Writer

log = logging.getLogger(__name__)

#: Fewer messages than this are verified faster by one thread than by two.
_WORTH_SHARING = 8
#: More than one device that keeps to its credit ever has waiting.
_MUCH = limits.RECEIVE_MAXIMUM * 3 // 4


class Ingestion:
    """One thread from queue to commit, and one more that helps to verify signatures."""

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
        self._news = _News()
        self._waiting = Waiting()
        self._second_verifier = ThreadPoolExecutor(1, thread_name_prefix="verify")

    def put(self, delivery: Delivery) -> None:
        """Have a message taken in; called on the network thread.

        What waits is bounded by the receive maximum, which does not count messages of QoS 0: of those, which no
        agent of ours sends, the ones beyond it are dropped, as QoS 0 allows.
        """
        if delivery.packet or len(self._waiting) < limits.RECEIVE_MAXIMUM:
            self._waiting.put(delivery)

    @property
    def much_waits(self) -> bool:
        """Whether a device that says more than its share would delay others."""
        return len(self._waiting) >= _MUCH

    def stop(self) -> None:
        """Finish the batch in hand; what waits behind it stays with the broker."""
        self._waiting.stop()

    def run(self) -> None:
        """Take in batches until stopped."""
        try:
            while not self._stopping.is_set():
                batch = self._waiting.take(limits.INGEST_BATCH, limits.INGEST_INTERVAL.total_seconds())
                if batch:
                    self._ingest(batch)
        finally:
            self._second_verifier.shutdown()

    def _ingest(self, batch: Sequence[Delivery]) -> None:
        while not self._stopping.is_set():
            try:
                readings = self._commit(batch)
            except Exception as error:
                # The border between a batch and the world: without its database the link waits, unacknowledged.
                if not is_outage(error):
                    raise
                log.error("ingest.outage messages=%d error=%s", len(batch), error)  # noqa: TRY400 - no traceback wanted
                self._stopping.wait(limits.OUTAGE_RETRY_AFTER.total_seconds())
                continue
            for delivery in batch:
                self._broker.acknowledge(delivery)
            try:
                for reading in readings:
                    self._answer(reading)
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("ingest.unanswered error=%s", error)  # devices send again and hear it then
            return

    def _commit(self, batch: Sequence[Delivery]) -> list[Reading]:
        """Commit a batch; one that cannot be read is divided until the message that is to blame stands alone.

        No message should do that: what is wrong with one is found by checks. But a check that was forgotten must
        not let one device stop all others, so what fails for a reason that nobody foresaw is put aside as well.
        """
        try:
            return [self._commit_read(lambda: self._open(batch))]
        except Exception as error:
            if is_outage(error):
                raise
            if len(batch) == 1:
                return [self._commit_unreadable(batch[0], error)]
        middle = len(batch) // 2
        return [*self._commit(batch[:middle]), *self._commit(batch[middle:])]

    def _commit_unreadable(self, delivery: Delivery, error: Exception) -> Reading:
        log.error("ingest.unreadable topic=%s", delivery.topic, exc_info=error)
        detail = f"{type(error).__name__}: {error}"
        refused = Refused(delivery, delivery.speaker, Refusal.UNREADABLE, detail)
        return self._commit_read(lambda: [refused])

    def _commit_read(self, open_batch: Callable[[], Iterable[Opened | Refused]]) -> Reading:
        now = datetime.now(UTC)
        self._keyring.refresh_when_old()
        reading = Reading(self._standing, self._catalog, is_quarantined=self._keyring.is_quarantined)
        for message in open_batch():
            reading.take(message)
        reading.finish()
        control = [*reading.control, *self._news.of(reading, now)]
        self._writer.write(control, reading.telemetry, now=now)
        self._standing.commit_ended(reading.ended)
        self._news.told(control)
        if any(isinstance(entry, CloneSeen) for entry in control):
            self._keyring.refresh()
        return reading

    def _open(self, batch: Sequence[Delivery]) -> Iterable[Opened | Refused]:
        """Verify signatures, on both cores when there are many: OpenSSL lets go of the interpreter lock."""
        half = len(batch) // 2 if len(batch) >= _WORTH_SHARING else 0
        others = self._second_verifier.submit(self._open_some, batch[:half]) if half else None
        own = self._open_some(batch[half:])
        return own if others is None else [*others.result(), *own]

    def _open_some(self, batch: Sequence[Delivery]) -> list[Opened | Refused]:
        return [self._keyring.open(delivery) for delivery in batch]

    def _answer(self, reading: Reading) -> None:
        """Tell devices what is committed; whoever misses it hears it again at the next birth or repetition."""
        spools = set(reading.touched)
        for device_id in reading.born:
            with self._database.read_telemetry() as connection:
                known = ingest.spool_ids(connection, device_id, limit=limits.MAX_SPOOLS_PER_ACK)
            spools |= {(device_id, spool) for spool in known}
        for device_id, acks in self._acks(spools).items():
            for start in range(0, len(acks), limits.MAX_SPOOLS_PER_ACK):
                part = tuple(acks[start : start + limits.MAX_SPOOLS_PER_ACK])
                self._broker.publish(str(Down(device_id, DownKind.ACK)), self._voice.ack(device_id, part), qos=1)
        self._welcome(reading.born)

    def _acks(self, spools: Iterable[SpoolKey]) -> dict[str, list[SpoolAck]]:
        acks: dict[str, list[SpoolAck]] = defaultdict(list)
        for device_id, spool in sorted(spools):
            ledger = self._standing.ledger((device_id, spool))
            acks[device_id].append(SpoolAck(spool=spool, through=ledger.through, ranges=ledger.ranges))
        return acks

    def _welcome(self, born: Iterable[str]) -> None:
        """What a device needs that began a session: credit, and what it shall run if it does not know."""
        if not born:
            return
        with self._database.read() as connection:
            known = devices.some(connection, born)
        for device in known:
            credit = self._voice.credit(device.id, limits.CREDIT_RECORDS, datetime.now(UTC))
            self._broker.publish(str(Down(device.id, DownKind.CREDIT)), credit, qos=1)
            if device.is_behind:
                self._send_desired(device.id)


class _News:
    """What is worth an event now, and what was said a moment ago: neither alerts nor sightings flood."""

    _REMEMBERED = 10_000

    def __init__(self) -> None:
        self._alerted: dict[tuple[str, str], datetime] = {}
        self._suppressed: dict[tuple[str, str], int] = {}
        self._seen: dict[str, datetime] = {}

    def of(self, reading: Reading, now: datetime) -> list[ControlEntry]:
        """Alerts about messages put aside and sightings of devices, each at most once per interval."""
        entries: list[ControlEntry] = []
        for key, (new, detail) in reading.refusals.items():
            device_id, reason = key
            if reason is Refusal.CLONED_SESSION:
                continue  # the device itself is quarantined, with an event of its own
            count = new + self._suppressed.get(key, 0)
            if _is_recent(self._alerted.get(key), now, limits.ALERT_INTERVAL):
                self._suppressed[key] = count
            else:
                entries.append(Alerted(device_id, reason, count, detail[: limits.MAX_DETAIL_LENGTH], now))
        entries.extend(
            Heard(device_id, now)
            for device_id in reading.heard
            if not _is_recent(self._seen.get(device_id), now, limits.LAST_SEEN_INTERVAL)
        )
        return entries

    def told(self, entries: Iterable[ControlEntry]) -> None:
        """Remember what was committed."""
        for entry in entries:
            match entry:
                case Alerted(device_id, reason, _, _, at):
                    self._alerted[device_id, reason] = at
                    self._suppressed.pop((device_id, reason), None)
                case Heard(device_id, at):
                    self._seen[device_id] = at
                case _:
                    pass
        if len(self._alerted) > self._REMEMBERED:
            self._alerted.clear()
            self._suppressed.clear()


def _is_recent(then: datetime | None, now: datetime, interval: timedelta) -> bool:
    return then is not None and now - then < interval
