"""A message or record that no check foresaw stands alone in quarantine; the others are taken in."""

from datetime import UTC, datetime

import pytest

from edgeops import limits
from edgeops.digest import digest_bytes, digest_raw
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import Up, UpKind
from fleet_server.db import devices, ingest
from fleet_server.db.ingest import QuarantineRow
from fleet_server.link.ingestion import Ingestion
from fleet_server.link.keyring import Keyring
from fleet_server.link.mqtt import Delivery
from fleet_server.link.voice import Voice
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Broker:
    """Remembers what it may forget."""

    def __init__(self):
        self.forgotten = []

    def acknowledge(self, *deliveries):
        self.forgotten += [delivery.packet for delivery in deliveries]
        if 9 in self.forgotten:
            self.stopping.set()

    def publish(self, *_args, **_options):
        return 1


class Brittle(Keyring):
    """A keyring with a bug: one message makes it fail."""

    def open(self, delivery):
        if delivery.payload == b"unforeseen":
            raise ZeroDivisionError("nobody thought of that")
        return super().open(delivery)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


def test_a_message_that_cannot_be_read_is_put_aside_alone_and_is_forgotten_by_the_broker(database):
    import threading

    key = SigningKey.generate()
    with database.write() as connection:
        devices.enrol(connection, "cam-1", name="cam", hardware="x", public_key=key.public, now=NOW)
    broker = Broker()
    broker.stopping = threading.Event()
    ingestion = Ingestion(
        database,
        broker=broker,
        voice=Voice(SigningKey.generate(), epoch=1, session=Session(1, bytes(8))),
        keyring=Brittle(database),
        send_desired=lambda _: None,
        stopping=broker.stopping,
    )
    speaker = Speaker("cam-1", key, 0, Session(1, bytes(8)))
    for packet in range(1, 10):
        window = messages.encode(
            messages.Window(
                deployment="digits",
                digest=digest_raw(digest_bytes(b"model")),
                phase=messages.Phase.LIVE,
                rows=1,
                source_rows=1,
                errors=0,
                dropped=0,
                duration_ms=1,
                latency_p50_us=1,
                latency_p95_us=1,
                sketch=b"",
            )
        )
        record = messages.Record(seq=packet, age_ms=0, at_ms=0, data=window)
        body = messages.encode(messages.Records(spool=bytes(8), records=(record,)))
        payload = b"unforeseen" if packet == 4 else seal(speaker, UpKind.TELEMETRY, seq=packet, body=body)
        topic = str(Up("cam-1", UpKind.TELEMETRY))
        ingestion.put(Delivery(topic, payload, False, datetime.now(UTC), packet, 1))
    ingestion.run()
    with database.read_telemetry() as connection:
        rows = connection.exec_driver_sql("SELECT device_id, reason, detail FROM quarantine").all()
        stored = connection.exec_driver_sql("SELECT seq FROM windows ORDER BY seq").scalars().all()
    assert rows == [("cam-1", "unreadable", "ZeroDivisionError: nobody thought of that")]
    assert stored == [1, 2, 3, 5, 6, 7, 8, 9]
    assert sorted(broker.forgotten) == list(range(1, 10))


def test_of_one_device_only_the_newest_rows_are_kept_and_those_of_others_stay(database):
    def row(device_id, number):
        return QuarantineRow(at=NOW, device_id=device_id, topic="", reason="body", detail=str(number), payload=b"x")

    with database.write_telemetry() as connection:
        ingest.put_aside(connection, [row("quiet", 0)])
        for start in range(0, 3 * limits.QUARANTINE_ROWS_PER_DEVICE, 100):
            ingest.put_aside(connection, [row("loud", number) for number in range(start, start + 100)])
        kept = connection.exec_driver_sql("SELECT device_id, detail FROM quarantine ORDER BY id").all()
    most = limits.QUARANTINE_ROWS_PER_DEVICE
    assert kept == [("quiet", "0"), *(("loud", str(number)) for number in range(2 * most, 3 * most))]
