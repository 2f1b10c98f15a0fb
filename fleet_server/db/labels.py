"""The store of labels: who said what of which sample, append-only.

A label closes the sample's place in the queue in the same transaction. What several labels amount to is
decided in `edgeops.learning.labels`.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from edgeops.learning.labels import (
    Agreed,
    Disputed,
    LabelSource,
    Statement,
    TrainingLabel,
    settle,
    trainable,
)
from fleet_server.db import events, label_queue
from fleet_server.db.events import EventKind
from fleet_server.db.label_queue import ItemState
from fleet_server.db.many import portions
from fleet_server.db.tables import label_queue as label_queue_rows
from fleet_server.db.tables import labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One statement with its place in the store."""

    id: int
    sample_id: str
    model: str
    device_id: str
    label: str
    source: LabelSource
    author: str
    remark: str
    at: datetime
    #: The retraining or rollout that asked for the sample; None = nobody did.
    asker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLabel:
    """One statement that is to be kept."""

    sample_id: str
    model: str
    device_id: str
    label: str
    source: LabelSource
    author: str
    remark: str = ""


def add(connection: Connection, new: Sequence[NewLabel], now: datetime) -> dict[str, Agreed | Disputed]:
    """Keep labels, close their places in the queue, and say so; what each sample's labels now amount to."""
    if not new:
        return {}
    rows = [{**{name: getattr(one, name) for name in one.__slots__}, "at": now} for one in new]
    connection.execute(labels.insert(), rows)
    spoken = of_samples(connection, [one.sample_id for one in new])
    outcomes: dict[str, Agreed | Disputed] = {}
    for one in new:
        outcome = settle(spoken[one.sample_id])
        assert outcome is not None, "it has the label that was added"
        outcomes[one.sample_id] = outcome
        # People are asked; what a device says of itself does not answer for them.
        if one.source is not LabelSource.FEEDBACK:
            state = ItemState.DISPUTED if isinstance(outcome, Disputed) else ItemState.LABELLED
            label_queue.close(connection, one.sample_id, state, now)
        data = {"model": one.model, "source": one.source, "disputed": isinstance(outcome, Disputed)}
        events.append(connection, EventKind.LABEL_RECEIVED, one.sample_id, data, now)
    return outcomes


def of_samples(connection: Connection, sample_ids: Sequence[str]) -> dict[str, list[Statement]]:
    """All that was said of these samples, oldest first, by sample."""
    found: dict[str, list[Statement]] = defaultdict(list)
    for ids in portions(sample_ids):
        query = select(labels).where(labels.c.sample_id.in_(ids))
        for row in connection.execute(query.order_by(labels.c.id)):
            found[row.sample_id].append(_statement(row))
    return found


def for_training(
    connection: Connection, model: str, *, without_devices: Collection[str] = ()
) -> tuple[TrainingLabel, ...]:
    """The labels that a model may learn from, by sample id: agreed, feedback capped, without these devices."""
    query = select(labels).where(labels.c.model == model).order_by(labels.c.id)
    return trainable((_statement(row) for row in connection.execute(query)), without_devices=without_devices)


def page(connection: Connection, model: str, *, after: int | None = None, limit: int) -> tuple[Label, ...]:
    """The labels of a model, newest first; `after` is the last id of the page before."""
    asked = label_queue_rows.c.sample_id == labels.c.sample_id
    query = select(labels, label_queue_rows.c.asker).outerjoin(label_queue_rows, asked)
    query = query.where(labels.c.model == model).order_by(labels.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(labels.c.id < after)
    return tuple(
        Label(**{**row._mapping, "source": LabelSource(row.source)})  # noqa: SLF001 - SQLAlchemy's public name
        for row in connection.execute(query)
    )


def samples_labelled_since(connection: Connection, model: str, since: datetime | None) -> int:
    """How many samples of a model people have labelled since then; None = ever."""
    query = select(func.count(labels.c.sample_id.distinct())).where(
        labels.c.model == model, labels.c.source != LabelSource.FEEDBACK
    )
    if since is not None:
        query = query.where(labels.c.at > since)
    return connection.execute(query).scalar_one()


def _statement(row: Row[Any]) -> Statement:
    return Statement(row.sample_id, row.device_id, row.label, LabelSource(row.source), row.author, row.at)
