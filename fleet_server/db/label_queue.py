"""The store of the label queue: exactly the samples that were chosen for a label, in the order they help.

A sample is handed out until it is labelled, in dispute, or no longer asked for. What its labels amount to is
decided in `edgeops.learning.labels`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, select, tuple_, update

from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.tables import label_queue

#: Ids in one IN (...).


class ItemState(StrEnum):
    """How a chosen sample stands."""

    #: Waits for a label.
    OPEN = "open"
    #: Has one.
    LABELLED = "labelled"
    #: Has several that disagree.
    DISPUTED = "disputed"
    #: Is asked for no longer.
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One chosen sample."""

    sample_id: str
    model: str
    #: The retraining or rollout that asks.
    asker: str
    device_id: str
    deployment: str
    input_id: str
    #: Place in the order in which they help most, from 0.
    position: int
    #: Drawn at random, not chosen.
    by_chance: bool
    requested_at: datetime
    state: ItemState = ItemState.OPEN
    closed_at: datetime | None = None
    #: Of a rollout: the classes that the new and the old model said, which differ.
    new_answer: str | None = None
    old_answer: str | None = None

    @property
    def key(self) -> tuple[int, str]:
        """Its place in a page."""
        return self.position, self.sample_id


def add(connection: Connection, items: Sequence[Item]) -> None:
    """Ask for the labels of these samples of one retraining or rollout; says so in `events`."""
    first = items[0]
    connection.execute(label_queue.insert(), [{name: getattr(one, name) for name in one.__slots__} for one in items])
    data = {"model": first.model, "labels": len(items)}
    events.append(connection, EventKind.LABELS_REQUESTED, first.asker, data, first.requested_at)


def page(
    connection: Connection,
    model: str,
    *,
    state: ItemState = ItemState.OPEN,
    after: tuple[int, str] | None = None,
    limit: int,
) -> tuple[Item, ...]:
    """The samples of a model in one state, in order; `after` is the key of the last of the page before."""
    order = (label_queue.c.position, label_queue.c.sample_id)
    query = select(label_queue).where(label_queue.c.model == model, label_queue.c.state == state)
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return tuple(_item(row) for row in connection.execute(query.order_by(*order).limit(limit)))


def counts(connection: Connection, asker: str) -> Counter[ItemState]:
    """How many samples of a retraining or rollout are in which state."""
    query = select(label_queue.c.state, func.count()).where(label_queue.c.asker == asker).group_by(label_queue.c.state)
    return Counter({ItemState(state): count for state, count in connection.execute(query)})


def close(connection: Connection, sample_id: str, state: ItemState, now: datetime) -> None:
    """Note what a sample's labels amount to; nothing happens when it was never chosen."""
    connection.execute(
        update(label_queue).where(label_queue.c.sample_id == sample_id).values(state=state, closed_at=now)
    )


def drop(connection: Connection, asker: str, now: datetime) -> int:
    """Ask for the labels that a retraining or rollout still misses no longer; how many there were."""
    waiting: Collection[ItemState] = (ItemState.OPEN, ItemState.DISPUTED)
    return connection.execute(
        update(label_queue)
        .where(label_queue.c.asker == asker, label_queue.c.state.in_(list(waiting)))
        .values(state=ItemState.DROPPED, closed_at=now)
    ).rowcount


def _item(row: Row[Any]) -> Item:
    return Item(**{**row._mapping, "state": ItemState(row.state)})  # noqa: SLF001 - SQLAlchemy's public name
