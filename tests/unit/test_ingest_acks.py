"""Acks follow commits; as long as more messages wait, a device is told once about many."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import Down, DownKind, Up, UpKind
from fleet_server.db import devices
from fleet_server.link.ingestion import Ingestion
from fleet_server.link.keyring import Keyring
from fleet_server.link.mqtt import Delivery
from fleet_server.link.voice import Voice
from tests.integration.link_rig import record, window
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

DEVICE = "sensor-1"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
FLEET = SigningKey.generate()
BATCHES = 3
COUNT = BATCHES * limits.INGEST_BATCH


class Broker:
    """Keeps what was published, and what had been committed by then; the last promise kept ends the test."""

    def __init__(self, stopping):
        self.acks = []
        self._stopping = stopping

    def acknowledge(self, *deliveries):
        if deliveries[-1].packet == COUNT:
            self._stopping.set()

    def publish(self, topic, payload, *, qos):
        if topic == str(Down(DEVICE, DownKind.CREDIT)):
            return  # a link that has just started tells whom it hears the time
        assert (topic, qos) == (str(Down(DEVICE, DownKind.ACK)), 1)
        opened = open_envelope(payload, device=DEVICE, kind=DownKind.ACK, keys={FLEET.public.key_id: FLEET.public})
        (spool,) = messages.decode(opened.body, messages.Ack).spools
        self.acks.append(spool.through)


@pytest.fixture
def told(tmp_path):
    """What is told about COUNT records that all waited when ingestion began."""
    database = database_in(tmp_path)
    key = SigningKey.generate()
    with database.write() as connection:
        devices.enrol(connection, DEVICE, name="one", hardware="board", public_key=key.public, now=NOW)
    stopping = threading.Event()
    broker = Broker(stopping)
    ingestion = Ingestion(
        database,
        broker=broker,
        voice=Voice(FLEET, epoch=1, session=Session(1, bytes(8))),
        keyring=Keyring(database),
        send_desired=lambda _: None,
        stopping=stopping,
    )
    speaker = Speaker(DEVICE, key, 0, Session(1, b"nonce--1"))
    for seq in range(COUNT):
        records = messages.Records(spool=b"spool--1", records=(record(seq, messages.encode(window())),))
        payload = seal(speaker, UpKind.TELEMETRY, seq=seq + 1, body=messages.encode(records))
        ingestion.put(Delivery(str(Up(DEVICE, UpKind.TELEMETRY)), payload, False, NOW, seq + 1, 1))
    yield lambda: (ingestion.run(), broker.acks)[1]
    database.close()


def test_while_more_waits_a_device_is_told_once_about_all_of_it(told, monkeypatch):
    monkeypatch.setattr(limits, "ACK_DELAY", timedelta(hours=1))
    assert told() == [COUNT - 1]


def test_an_ack_is_not_put_off_for_longer_than_its_delay(told, monkeypatch):
    monkeypatch.setattr(limits, "ACK_DELAY", timedelta(0))
    assert told() == [batch * limits.INGEST_BATCH - 1 for batch in range(1, BATCHES + 1)]
