"""Receivers of webhooks, and what is on its way to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select, update

from edgeops import limits
from fleet_server.db.tables import deliveries, webhooks


class DeliveryState(StrEnum):
    """How far a delivery is."""

    #: It is tried, perhaps again.
    WAITING = "waiting"
    #: The receiver said that it has it.
    DELIVERED = "delivered"
    #: Nobody tries again.
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver."""

    id: str
    url: str
    #: What events it gets: kinds, or beginnings of kinds that end in a dot; empty = all.
    kinds: list[str]
    created_by: str
    created_at: datetime
    #: The last event that was taken over for it.
    cursor: int

    def wants(self, kind: str) -> bool:
        """Whether events of this kind go there."""
        return (
            not self.kinds
            or kind in self.kinds
            or any(one.endswith(".") and kind.startswith(one) for one in self.kinds)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one receiver."""

    id: str
    webhook_id: str
    kind: str
    body: bytes
    state: DeliveryState
    attempts: int
    next_at: datetime
    detail: str
    created_at: datetime
    ended_at: datetime | None


def add(connection: Connection, webhook: Webhook) -> None:
    """Add a receiver."""
    connection.execute(webhooks.insert().values({name: getattr(webhook, name) for name in webhook.__slots__}))


def remove(connection: Connection, webhook_id: str) -> None:
    """Forget a receiver and what was on its way to it."""
    connection.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
    connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))


def get(connection: Connection, webhook_id: str) -> Webhook | None:
    """One receiver."""
    row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).first()
    return None if row is None else Webhook(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def every(connection: Connection) -> tuple[Webhook, ...]:
    """All receivers, by id."""
    rows = connection.execute(select(webhooks).order_by(webhooks.c.id))
    return tuple(Webhook(**row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name


def move(connection: Connection, webhook_id: str, *, cursor: int) -> None:
    """Say up to which event messages were taken over for a receiver."""
    connection.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(cursor=cursor))


def least_told(connection: Connection) -> int | None:
    """The last event that was taken over for every receiver; None = there is no receiver."""
    least: int | None = connection.execute(select(func.min(webhooks.c.cursor))).scalar_one()
    return least


def waiting(connection: Connection) -> dict[str, int]:
    """How many messages wait, by receiver; who waits for none is not in it."""
    query = select(deliveries.c.webhook_id, func.count()).where(deliveries.c.state == DeliveryState.WAITING)
    return {row[0]: row[1] for row in connection.execute(query.group_by(deliveries.c.webhook_id))}


def queue(connection: Connection, rows: Iterable[Delivery]) -> None:
    """Put messages on their way."""
    for one in rows:
        connection.execute(deliveries.insert().values({name: getattr(one, name) for name in one.__slots__}))


def due(connection: Connection, webhook_id: str, *, now: datetime, limit: int) -> tuple[Delivery, ...]:
    """The oldest messages to a receiver, if the first of them may be tried now: one that waits holds back the rest."""
    own = (deliveries.c.webhook_id == webhook_id) & (deliveries.c.state == DeliveryState.WAITING)
    query = select(deliveries).where(own).order_by(deliveries.c.id).limit(limit)
    rows = tuple(_delivery(row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name
    return rows if rows and rows[0].next_at <= now else ()


def page(connection: Connection, webhook_id: str, *, after: str | None, limit: int) -> tuple[Delivery, ...]:
    """What went to a receiver, newest first."""
    query = select(deliveries).where(deliveries.c.webhook_id == webhook_id).order_by(deliveries.c.id.desc())
    if after is not None:
        query = query.where(deliveries.c.id < after)
    return tuple(_delivery(row._mapping) for row in connection.execute(query.limit(limit)))  # noqa: SLF001 - SQLAlchemy's public name


def tried(connection: Connection, delivery: Delivery) -> None:
    """Keep what came of an attempt, unless the receiver was removed meanwhile."""
    changed = {name: getattr(delivery, name) for name in ("state", "attempts", "next_at", "detail", "ended_at")}
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(changed))


def drop_ended(connection: Connection, *, before: datetime) -> int:
    """Forget some messages that ended before that moment; how many."""
    ended = select(deliveries.c.id).where(deliveries.c.ended_at < before).limit(limits.RETENTION_BATCH)
    return connection.execute(delete(deliveries).where(deliveries.c.id.in_(ended.scalar_subquery()))).rowcount


def _delivery(row: object) -> Delivery:
    values = dict(row)  # type: ignore[call-overload]  # a mapping of a row
    return Delivery(**{**values, "state": DeliveryState(values["state"])})
