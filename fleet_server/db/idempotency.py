"""Requests that were answered, by the key that their sender gave them.

A key is claimed in the transaction that carries the request out, so that one never is without the other. The answer is
sealed by whoever asks; this store cannot read it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from edgeops import limits
from fleet_server.db.tables import idempotency_keys as keys
from fleet_server.db.upsert import insert


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked under a key (its digest), and the sealed answer."""

    asked: str
    answer: bytes


def find(connection: Connection, key_id: str, *, now: datetime) -> Answered | None:
    """What was answered under a key that has not expired."""
    query = select(keys.c.asked, keys.c.answer).where(keys.c.id == key_id, keys.c.created_at > _expired(now))
    row = connection.execute(query).first()
    return None if row is None else Answered(*row)


def claim(connection: Connection, key_id: str, *, token_id: str, asked: str, now: datetime) -> bool:
    """Take a key for this transaction; False = it is taken. The oldest keys of the token go."""
    own = keys.c.token_id == token_id
    newest_first = select(keys.c.created_at).where(own).order_by(keys.c.created_at.desc())
    beyond = connection.execute(newest_first.offset(limits.IDEMPOTENCY_KEYS_PER_TOKEN - 1).limit(1)).scalar()
    connection.execute(delete(keys).where(own, keys.c.created_at <= max(_expired(now), beyond or _expired(now))))
    row = {"id": key_id, "token_id": token_id, "asked": asked, "answer": b"", "created_at": now}
    # Not by the row count, which PostgreSQL's driver does not tell of an INSERT any more when it is asked for.
    taken = insert(connection, keys).values(row).on_conflict_do_nothing().returning(keys.c.id)
    return connection.execute(taken).first() is not None


def keep(connection: Connection, key_id: str, answer: bytes) -> None:
    """Store the answer under a key that this transaction has claimed."""
    connection.execute(update(keys).where(keys.c.id == key_id).values(answer=answer))


def drop_expired(connection: Connection, *, now: datetime) -> int:
    """Forget the oldest keys that have expired; how many."""
    oldest = select(keys.c.id).where(keys.c.created_at <= _expired(now)).limit(limits.RETENTION_BATCH)
    return connection.execute(delete(keys).where(keys.c.id.in_(oldest.scalar_subquery()))).rowcount


def _expired(now: datetime) -> datetime:
    return now - limits.IDEMPOTENCY_LIFE
