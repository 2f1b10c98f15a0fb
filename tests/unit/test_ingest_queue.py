"""What waits to be taken in is bounded, whatever devices send."""

import threading
from datetime import UTC, datetime

from edgeops import limits
from edgeops.protocol.envelope import Session
from edgeops.protocol.keys import SigningKey
from fleet_server.link.ingestion import Ingestion
from fleet_server.link.keyring import Keyring
from fleet_server.link.mqtt import Delivery
from fleet_server.link.voice import Voice
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH


class Broker:
    """Remembers what it may forget; the last promise kept ends the test."""

    def __init__(self, last_packet, stopping):
        self._last_packet = last_packet
        self._stopping = stopping
        self.forgotten = []

    def acknowledge(self, *deliveries):
        self.forgotten += [delivery.packet for delivery in deliveries]
        if self._last_packet in self.forgotten:
            self._stopping.set()


def junk(packet):
    return Delivery("edgeops/v1/up/nobody/status", b"junk", False, datetime.now(UTC), packet, 1)


def test_a_flood_without_promise_is_cut_off_and_what_has_one_is_all_taken_in(tmp_path):
    database = database_in(tmp_path)
    stopping = threading.Event()
    promised = range(1, limits.RECEIVE_MAXIMUM + 1)
    broker = Broker(promised[-1], stopping)
    ingestion = Ingestion(
        database,
        broker=broker,
        voice=Voice(SigningKey.generate(), epoch=1, session=Session(1, bytes(8))),
        keyring=Keyring(database),
        send_desired=lambda _: None,
        stopping=stopping,
    )
    for _ in range(3 * limits.RECEIVE_MAXIMUM):
        ingestion.put(junk(0))
    for packet in promised:
        ingestion.put(junk(packet))
    ingestion.run()
    assert broker.forgotten.count(0) == limits.RECEIVE_MAXIMUM
    assert [packet for packet in broker.forgotten if packet] == list(promised)
    database.close()
