"""Sends what other processes posted: desired states, composed when they leave, and commands.

A letter is removed when the broker has taken it, so it may be sent twice and is never lost. All
desired states leave through this one thread, in order, so that the retained one is the newest.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from queue import Empty, SimpleQueue

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.messages import encode
from edgeops.protocol.topics import Down, DownKind, is_retained
from fleet_server.config import ServerConfig
from fleet_server.db import devices, outbox, settings
from fleet_server.db.database import Database, is_outage
from fleet_server.db.news import Watch
from fleet_server.link.mqtt import Broker
from fleet_server.link.voice import Voice

log = logging.getLogger(__name__)


class OutboxSender:
    """One thread between the table `outbox` and the broker."""

    def __init__(
        self,
        config: ServerConfig,
        database: Database,
        *,
        broker: Broker,
        voice: Voice,
        stopping: threading.Event,
    ) -> None:
        self._config = config
        self._database = database
        self._broker = broker
        self._voice = voice
        self._watch = Watch(database.news, stopping)
        #: Devices whose desired state is sent again though nothing changed.
        self._again: SimpleQueue[str] = SimpleQueue()
        #: Letters in a packet that the broker has not taken yet, and when they are sent again.
        self._packets: dict[int, tuple[int, ...]] = {}
        self._resend_at: dict[int, float] = {}

    def send_desired(self, device_id: str) -> None:
        """Send a device its desired state again; from any thread."""
        self._again.put(device_id)
        self._watch.wake()

    def run(self) -> None:
        """Look at the table whenever there is news, or every OUTBOX_INTERVAL, until stopped."""
        # The broker may have lost what it retained; the database is the truth.
        with self._database.read() as connection:
            for device_id in devices.ids_with_desired(connection):
                self._again.put(device_id)
        with closing(self._watch):
            while not self._watch.wait(limits.OUTBOX_INTERVAL, at_rest=self._is_at_rest):
                try:
                    self._turn()
                except Exception as error:
                    # The border between the outbox and the world: without its database the link waits.
                    if not is_outage(error):
                        raise
                    log.error("outbox.outage error=%s", error)  # noqa: TRY400 - no traceback wanted

    @property
    def _is_at_rest(self) -> bool:
        """Whether nothing is expected but what others write."""
        return self._broker.is_connected and not self._packets and not self._resend_at

    def _turn(self) -> None:
        self._remove_taken()
        if not self._broker.is_connected:
            return
        with self._database.read() as connection:
            epoch = settings.fleet_epoch(connection)
            letters = outbox.waiting(connection, limit=limits.OUTBOX_BATCH)
        # A new fleet key comes with a letter to every device, which it must sign.
        self._voice.turn_to(epoch, self._config)
        now = time.monotonic()
        due = [letter for letter in letters if self._resend_at.get(letter.id, now) <= now]
        wanted: dict[str, list[int]] = {device_id: [] for device_id in self._asked_again()}
        for letter in due:
            if letter.kind is DownKind.DESIRED:
                wanted.setdefault(letter.device_id, []).append(letter.id)
            else:
                self._send(letter.device_id, letter.kind, letter.body, (letter.id,))
        for device_id, letter_ids in wanted.items():
            self._send_desired(device_id, letter_ids)

    def _send_desired(self, device_id: str, letter_ids: Sequence[int]) -> None:
        with self._database.read() as connection:
            desired = devices.desired_of(connection, device_id)
        if desired is None:  # it left the fleet; an empty payload ends what is retained (MQTT 5 3.3.1.3)
            self._publish(Down(device_id, DownKind.DESIRED), b"", tuple(letter_ids))
        else:
            self._send(device_id, DownKind.DESIRED, encode(desired), tuple(letter_ids))

    def _send(self, device_id: str, kind: DownKind, body: bytes, letter_ids: tuple[int, ...]) -> None:
        try:
            payload = self._voice.seal(device_id, kind, body)
        except MessageError as error:
            log.error("outbox.too_large device=%s kind=%s error=%s", device_id, kind, error)  # noqa: TRY400
            self._remove(letter_ids)
            return
        self._publish(Down(device_id, kind), payload, letter_ids)

    def _publish(self, topic: Down, payload: bytes, letter_ids: tuple[int, ...]) -> None:
        packet = self._broker.publish(str(topic), payload, qos=1, retain=is_retained(topic))
        if packet is None:
            return
        if letter_ids:
            self._packets[packet] = letter_ids
        resend_at = time.monotonic() + limits.OUTBOX_RETRY_AFTER.total_seconds()
        self._resend_at.update(dict.fromkeys(letter_ids, resend_at))

    def _remove_taken(self) -> None:
        taken = [letter_id for packet in self._broker.taken() for letter_id in self._packets.pop(packet, ())]
        self._remove(taken)

    def _remove(self, letter_ids: Sequence[int]) -> None:
        if not letter_ids:
            return
        with self._database.write() as connection:
            outbox.remove(connection, letter_ids)
        for letter_id in letter_ids:
            self._resend_at.pop(letter_id, None)

    def _asked_again(self) -> list[str]:
        asked: list[str] = []
        try:
            while True:
                asked.append(self._again.get_nowait())
        except Empty:
            return asked
