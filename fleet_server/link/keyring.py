"""Who may speak: the accepted keys of all devices, cached, and what an arriving message is worth.

Verifies signatures; whether a verified message is fresh is decided by `fleet_server.link.reading`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edgeops import limits
from edgeops.errors import EnvelopeError, MessageError, TopicError
from edgeops.protocol.envelope import Envelope, Misfit, open_envelope
from edgeops.protocol.keys import PublicKey
from edgeops.protocol.topics import Up, parse_topic
from fleet_server.db import devices
from fleet_server.db.database import Database
from fleet_server.link.mqtt import Delivery


class Refusal(StrEnum):
    """Why a message or record was put aside."""

    #: A topic outside the protocol.
    TOPIC = "topic"
    #: No device of this id.
    UNKNOWN_DEVICE = "unknown-device"
    #: Not an envelope, or too large.
    UNPARSABLE = "unparsable"
    #: An envelope of another protocol version, device or kind than its topic's, by a key that is not the device's, or
    #: not signed by the key that it names.
    VERSION = Misfit.VERSION
    WRONG_DEVICE = Misfit.WRONG_DEVICE
    WRONG_KIND = Misfit.WRONG_KIND
    UNKNOWN_KEY = Misfit.UNKNOWN_KEY
    SIGNATURE = Misfit.SIGNATURE
    #: From a session older than the last one.
    OLD_SESSION = "old-session"
    #: Two speakers under one identity.
    CLONED_SESSION = "cloned-session"
    #: The envelope is right, its body is not.
    BODY = "body"
    #: One record among others does not decode.
    RECORD = "record"
    #: Reading it failed in a way that no check foresaw: a bug of this server that somebody has found.
    UNREADABLE = "unreadable"
    #: The database refuses it.
    NOT_STORABLE = "not-storable"


#: What other keys than those in memory may change.
_BY_KEYS = frozenset({Refusal.UNKNOWN_DEVICE, Refusal.UNKNOWN_KEY, Refusal.SIGNATURE})


@dataclass(frozen=True, slots=True)
class Opened:
    """A message whose signature is right."""

    delivery: Delivery
    topic: Up
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is put aside."""

    delivery: Delivery
    device_id: str
    reason: Refusal
    detail: str


class Keyring:
    """Accepted keys by device and key id; read again now and then, so that a removal counts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accepted: dict[str, dict[str, PublicKey]] = {}
        self._quarantined: frozenset[str] = frozenset()
        self._read_at = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Read all keys again."""
        with self._database.read() as connection:
            self._accepted = devices.accepted_keys(connection)
            self._quarantined = devices.quarantined_ids(connection)
        self._read_at = time.monotonic()

    def refresh_when_old(self) -> None:
        """Read all keys again when they are older than KEYS_REFRESH_INTERVAL."""
        if time.monotonic() - self._read_at > limits.KEYS_REFRESH_INTERVAL.total_seconds():
            self.refresh()

    @property
    def devices(self) -> int:
        """How many there are."""
        return len(self._accepted)

    def is_quarantined(self, device_id: str) -> bool:
        """Whether nothing of this device is believed."""
        return device_id in self._quarantined

    def open(self, delivery: Delivery) -> Opened | Refused:
        """Judge a message by the keys in memory, and if they do not fit by those in the database.

        Safe from several threads.
        """
        message = self._open(delivery)
        if isinstance(message, Refused) and message.reason in _BY_KEYS:
            return self._open_by_database(message)
        return message

    def _open(self, delivery: Delivery) -> Opened | Refused:
        try:
            topic = parse_topic(delivery.topic)
        except TopicError as error:
            return Refused(delivery, "", Refusal.TOPIC, str(error))
        if not isinstance(topic, Up):
            return Refused(delivery, "", Refusal.TOPIC, f"{delivery.topic!r} is not written by a device")
        keys = self._accepted.get(topic.device)
        if keys is None:
            detail = f"no device {topic.device!r} is enrolled"
            return Refused(delivery, topic.device, Refusal.UNKNOWN_DEVICE, detail)
        return _opened(delivery, topic, keys)

    def _open_by_database(self, refused: Refused) -> Opened | Refused:
        """The device may be younger than the cache, or have a new key."""
        with self._database.read() as connection:
            keys = devices.keys(connection, refused.device_id)
        if not keys:
            return refused
        self._accepted[refused.device_id] = keys
        return self._open(refused.delivery)


def _opened(delivery: Delivery, topic: Up, keys: Mapping[str, PublicKey]) -> Opened | Refused:
    try:
        envelope = open_envelope(delivery.payload, device=topic.device, kind=str(topic.kind), keys=keys)
    except MessageError as error:
        return Refused(delivery, topic.device, Refusal.UNPARSABLE, str(error))
    except EnvelopeError as error:
        return Refused(delivery, topic.device, Refusal(error.reason), str(error))
    return Opened(delivery, topic, envelope)
