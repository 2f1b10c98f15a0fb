"""Receivers of webhooks, and what is on its way to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select, update

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


def queue(connection: Connection, rows: Iterable[Delivery]) -> None:
    """Put messages on their way; one that is there already stays as it is."""
    for one in rows:
        connection.execute(deliveries.insert().values({name: getattr(one, name) for name in one.__slots__}))


def due(connection: Connection, now: datetime) -> tuple[Delivery, ...]:
    """Of each receiver the oldest message that may be tried now: one that waits holds back those behind it."""
    waiting = deliveries.c.state == DeliveryState.WAITING
    first = select(func.min(deliveries.c.id)).where(waiting).group_by(deliveries.c.webhook_id)
    query = select(deliveries).where(deliveries.c.id.in_(first), deliveries.c.next_at <= now)
    return tuple(_delivery(row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


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
    """Forget messages that ended before that moment."""
    return connection.execute(delete(deliveries).where(deliveries.c.ended_at < before)).rowcount


def _delivery(row: object) -> Delivery:
    values = dict(row)  # type: ignore[call-overload]  # a mapping of a row
    return Delivery(**{**values, "state": DeliveryState(values["state"])})
