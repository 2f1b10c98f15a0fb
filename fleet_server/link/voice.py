"""What the server says to devices, signed: the fleet key, this start's session, one running number.

The session counter is persisted and grows with every start, so a device can refuse what an earlier
start said. It is never below the time in seconds, so that it grows although the database was restored from
a backup. Nothing here decides what to say.
"""

import itertools
import secrets
from datetime import datetime, timedelta

from edgeops import limits
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.keys import SigningKey, read_private_key
from edgeops.protocol.topics import DownKind
from fleet_server.config import ServerConfig
from fleet_server.db import settings
from fleet_server.db.database import Database

_NONCE_BYTES = 8


class Voice:
    """Signs; may be called from any thread, but all messages of one kind from the same one, in order."""

    def __init__(self, key: SigningKey, *, epoch: int, session: Session) -> None:
        #: Changes in one step: whoever seals has both halves of either.
        self._speaks = (key, epoch)
        self._session = session
        self._seq = itertools.count(1)

    @classmethod
    def of(cls, config: ServerConfig, database: Database, *, now: datetime) -> "Voice":
        """The voice of a new start.

        Raises:
            ConfigError: the private fleet key of the present epoch cannot be read.
        """
        with database.write() as connection:
            epoch = settings.fleet_epoch(connection)
            counter = settings.count_up(connection, settings.LINK_SESSIONS, at_least=int(now.timestamp()))
        session = Session(counter, secrets.token_bytes(_NONCE_BYTES))
        return cls(read_private_key(config.fleet_key(epoch)), epoch=epoch, session=session)

    def turn_to(self, epoch: int, config: ServerConfig) -> None:
        """Speak with the fleet key of this epoch from now on, in the same session.

        Raises:
            ConfigError: the private fleet key of this epoch cannot be read.
        """
        if epoch != self._speaks[1]:
            self._speaks = (read_private_key(config.fleet_key(epoch)), epoch)

    def seal(self, device_id: str, kind: DownKind, body: bytes) -> bytes:
        """`body` in an envelope for one device.

        Raises:
            MessageError: the payload would exceed MAX_MESSAGE_BYTES.
        """
        key, epoch = self._speaks
        speaker = Speaker(device_id, key, epoch, self._session)
        return seal(speaker, kind, seq=next(self._seq), body=body)

    def ack(self, device_id: str, spools: tuple[messages.SpoolAck, ...]) -> bytes:
        """Which records are committed."""
        return self.seal(device_id, DownKind.ACK, messages.encode(messages.Ack(spools=spools)))

    def credit(self, device_id: str, records: int, now: datetime, *, devices: int = 0) -> bytes:
        """How many records may be in flight, what time it is, and over how long a fleet of `devices` comes back."""
        spread = reconnect_spread(devices) // timedelta(milliseconds=1)
        credit = messages.Credit(records=records, at=now, reconnect_spread_ms=spread)
        return self.seal(device_id, DownKind.CREDIT, messages.encode(credit))


def reconnect_spread(devices: int) -> timedelta:
    """So long that RECONNECTS_PER_S of them connect, each at a moment drawn at random."""
    return min(limits.MAX_RECONNECT_SPREAD, timedelta(seconds=devices / limits.RECONNECTS_PER_S))
