"""What the link still has to say to devices.

A row is written by the transaction that decides, and deleted when the broker has taken the message.
A `desired` row has no body: the link composes it when it sends, so late is never old.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select

from edgeops.protocol.topics import DownKind
from fleet_server.db.tables import outbox


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one device."""

    id: int
    device_id: str
    kind: DownKind
    body: bytes


def post(connection: Connection, device_id: str, kind: DownKind, *, body: bytes = b"", now: datetime) -> None:
    """Have the link say `body` to a device."""
    connection.execute(outbox.insert().values(device_id=device_id, kind=kind, body=body, created_at=now))


def waiting(connection: Connection, *, limit: int) -> tuple[Letter, ...]:
    """The oldest letters, in order."""
    query = select(outbox).order_by(outbox.c.id).limit(limit)
    return tuple(Letter(row.id, row.device_id, DownKind(row.kind), row.body) for row in connection.execute(query))


def remove(connection: Connection, letter_ids: Collection[int]) -> None:
    """Forget letters that the broker has taken."""
    connection.execute(delete(outbox).where(outbox.c.id.in_(list(letter_ids))))
