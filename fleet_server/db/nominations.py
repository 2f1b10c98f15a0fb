"""The store of nominations: which devices were asked for samples, and how far each has answered.

The command itself is posted in the outbox by who asks, in the same transaction. A nomination is answered when
every record of the device's answer is there; the newest leaves a spool first, so the last one may come before the
others. Choosing among samples is not decided here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from edgeops import limits
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import nominations


@dataclass(frozen=True, slots=True, kw_only=True)
class Nomination:
    """One request to one device, for one retraining or rollout."""

    #: The command's id.
    id: str
    #: The retraining or rollout that asks.
    asker: str
    device_id: str
    #: Whose inputs, and by which artifact answered.
    deployment: str
    digest: str
    count: int
    asked_at: datetime
    repeated_at: datetime
    #: None while records of the answer are missing.
    answered_at: datetime | None
    samples: int
    #: Why there are fewer than asked for, in the device's words.
    detail: str


def add(
    connection: Connection, *, asker: str, device_id: str, deployment: str, digest: str, count: int, now: datetime
) -> Nomination:
    """Remember that a device is asked for `count` samples; its id is the command's."""
    nomination_id = new_id("nominate", now)
    connection.execute(
        nominations.insert().values(
            id=nomination_id,
            asker=asker,
            device_id=device_id,
            deployment=deployment,
            digest=digest,
            count=count,
            asked_at=now,
            repeated_at=now,
            parts=[],
        )
    )
    return _nomination(connection.execute(select(nominations).where(nominations.c.id == nomination_id)).one())


def get(connection: Connection, nomination_id: str) -> Nomination | None:
    """One nomination, or None."""
    row = connection.execute(select(nominations).where(nominations.c.id == nomination_id)).one_or_none()
    return None if row is None else _nomination(row)


def of_asker(connection: Connection, asker: str) -> tuple[Nomination, ...]:
    """All nominations of one retraining or rollout, in the order in which they were asked for."""
    query = select(nominations).where(nominations.c.asker == asker).order_by(nominations.c.id)
    return tuple(_nomination(row) for row in connection.execute(query))


def unanswered(connection: Connection, asker: str, *, asked_before: datetime | None = None) -> tuple[Nomination, ...]:
    """Those of a retraining or rollout whose answer is not whole, and that were asked for last before that moment."""
    query = select(nominations).where(nominations.c.asker == asker, nominations.c.answered_at.is_(None))
    if asked_before is not None:
        query = query.where(nominations.c.repeated_at < asked_before)
    return tuple(_nomination(row) for row in connection.execute(query.order_by(nominations.c.id)))


def mark_repeated(connection: Connection, nomination_ids: Collection[str], now: datetime) -> None:
    """Remember that these were asked for again."""
    connection.execute(update(nominations).where(nominations.c.id.in_(nomination_ids)).values(repeated_at=now))


def answered(
    connection: Connection,
    nomination_id: str,
    *,
    part: int,
    last: bool,
    samples: int,
    detail: str,
    now: datetime,
) -> bool:
    """Take in one record of the answer; harmless to repeat. Whether it was the one that made the answer whole.

    An answer to a nomination that is no longer kept is nobody's.

    Args:
        connection: to `control`.
        nomination_id: of a nomination.
        part: the record's place in the answer, from 0.
        last: whether no record has a higher place.
        samples: how many it brought.
        detail: why there are fewer than asked for; empty unless `last`.
        now: when it came.
    """
    own = nominations.c.id == nomination_id
    row = connection.execute(select(nominations).where(own)).one_or_none()
    if row is None or row.answered_at is not None or part in row.parts:
        return False
    parts = sorted([*row.parts, part])
    expected = part + 1 if last else row.parts_expected
    is_whole = expected is not None and parts[:expected] == list(range(expected))
    total = row.samples + samples
    connection.execute(
        update(nominations)
        .where(own)
        .values(
            parts=parts,
            parts_expected=expected,
            samples=total,
            detail=detail or row.detail,
            answered_at=now if is_whole else None,
        )
    )
    if is_whole:
        data = {"asker": row.asker, "nomination": nomination_id, "samples": total}
        events.append(connection, EventKind.NOMINATION_ANSWERED, row.device_id, data, now)
    return is_whole


def drop_old(connection: Connection, *, before: datetime) -> int:
    """Forget some that were asked for before that moment; how many."""
    old = select(nominations.c.id).where(nominations.c.asked_at < before).limit(limits.RETENTION_BATCH)
    return connection.execute(delete(nominations).where(nominations.c.id.in_(old.scalar_subquery()))).rowcount


def _nomination(row: Row[Any]) -> Nomination:
    return Nomination(
        id=row.id,
        asker=row.asker,
        device_id=row.device_id,
        deployment=row.deployment,
        digest=row.digest,
        count=row._mapping["count"],  # noqa: SLF001 - SQLAlchemy's public name; `row.count` is a method of tuples
        asked_at=row.asked_at,
        repeated_at=row.repeated_at,
        answered_at=row.answered_at,
        samples=row.samples,
        detail=row.detail,
    )
