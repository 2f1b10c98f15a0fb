"""The audit trail: decisions of people and policies, append-only, each entry chained to the one before.

Changing, removing or inserting an entry breaks every hash after it. A cut-off tail is only seen by
someone who kept the last hash elsewhere, which is why `head` exists. Device transitions are ordinary
events and not here.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from fleet_server.db.tables import audit

#: What the first entry is chained to.
GENESIS = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision."""

    id: int
    at: datetime
    #: Who: the name of a token, or of a policy.
    actor: str
    #: What, as `noun.verb`.
    action: str
    #: Of what.
    subject: str
    remark: str
    data: dict[str, Any]
    previous_hash: str
    hash: str

    def is_sound(self) -> bool:
        """Whether the hash is that of the entry's content."""
        return self.hash == _hash(
            self.previous_hash, self.at, self.actor, self.action, self.subject, self.remark, self.data
        )


@dataclass(frozen=True, slots=True)
class Intact:
    """The chain holds."""

    entries: int
    head: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The chain breaks at one entry: that one or the one before was changed, added or removed."""

    entry: int


def append(  # noqa: PLR0917 - in the order of a sentence: who did what to what, and when
    connection: Connection,
    actor: str,
    action: str,
    subject: str,
    data: dict[str, Any],
    now: datetime,
    *,
    remark: str = "",
) -> None:
    """Write down who decided what, in the transaction that carries it out."""
    previous = head(connection)
    connection.execute(
        audit.insert().values(
            at=now,
            actor=actor,
            action=action,
            subject=subject,
            remark=remark,
            data=data,
            previous_hash=previous,
            hash=_hash(previous, now, actor, action, subject, remark, data),
        )
    )


def head(connection: Connection) -> str:
    """The hash of the newest entry."""
    return connection.execute(select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar() or GENESIS


def page(connection: Connection, *, after: int | None = None, limit: int) -> tuple[Entry, ...]:
    """Entries, newest first; `after` is the last id of the page before."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(audit.c.id < after)
    return tuple(Entry(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


def verify(connection: Connection) -> Intact | Broken:
    """Recompute the whole chain."""
    previous, entries = GENESIS, 0
    for row in connection.execute(select(audit).order_by(audit.c.id)):
        entry = Entry(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
        if entry.previous_hash != previous or not entry.is_sound():
            return Broken(entry.id)
        previous, entries = entry.hash, entries + 1
    return Intact(entries, previous)


def _hash(*fields: Any) -> str:
    return "sha256:" + hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
