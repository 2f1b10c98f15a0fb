"""The store of samples: inputs that devices nominated, with what is needed to label them and to learn from them.

Which of them wait for a label, and which have one, is in `control` (`label_queue`, `labels`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Connection, Row, delete, select, tuple_

from fleet_server.db.many import insert_many, portions
from fleet_server.db.tables import samples
from fleet_server.db.upsert import insert


class SampleRow(TypedDict):
    """One nominated input, as the link writes it."""

    id: str
    device_id: str
    deployment: str
    digest: str
    nomination: str
    input_id: str
    answered_at: datetime
    received_at: datetime
    #: float32 little-endian, row by row.
    readings: bytes
    answer: float
    confidence: float
    weight: float
    by_chance: bool
    #: What a shadow answered to the same input; None = none did.
    shadow_answer: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One nominated input; fields as in `SampleRow`."""

    id: str
    device_id: str
    deployment: str
    #: The artifact that answered.
    digest: str
    nomination: str
    input_id: str
    answered_at: datetime
    received_at: datetime
    readings: bytes
    answer: float
    confidence: float
    weight: float
    by_chance: bool
    shadow_answer: float | None

    @property
    def key(self) -> tuple[datetime, str]:
        """Its place in a page."""
        return self.received_at, self.id


def add(connection: Connection, rows: Sequence[SampleRow]) -> None:
    """Store samples; one that is there already stays as it is."""
    if rows:
        insert_many(connection, insert(connection, samples).on_conflict_do_nothing(), rows)


def get(connection: Connection, sample_id: str) -> Sample | None:
    """One sample, or None."""
    row = connection.execute(select(samples).where(samples.c.id == sample_id)).one_or_none()
    return None if row is None else _sample(row)


def some(connection: Connection, sample_ids: Collection[str]) -> tuple[Sample, ...]:
    """Those of these samples that are there, by id."""
    return tuple(
        _sample(row)
        for ids in portions(sample_ids)
        for row in connection.execute(select(samples).where(samples.c.id.in_(ids)).order_by(samples.c.id))
    )


def of_nominations(connection: Connection, nomination_ids: Collection[str]) -> tuple[Sample, ...]:
    """All samples of these nominations, by id."""
    found = [
        _sample(row)
        for ids in portions(nomination_ids)
        for row in connection.execute(select(samples).where(samples.c.nomination.in_(ids)))
    ]
    return tuple(sorted(found, key=lambda sample: sample.id))


def ids_of_nomination(connection: Connection, nomination_id: str) -> frozenset[str]:
    """The ids of the samples of one nomination."""
    return frozenset(connection.execute(select(samples.c.id).where(samples.c.nomination == nomination_id)).scalars())


def by_input(connection: Connection, device_id: str, deployment: str, input_id: str) -> Sample | None:
    """The newest sample of one input of a device, or None."""
    own = (samples.c.device_id == device_id) & (samples.c.deployment == deployment) & (samples.c.input_id == input_id)
    newest_first = select(samples).where(own).order_by(samples.c.received_at.desc(), samples.c.id.desc())
    row = connection.execute(newest_first.limit(1)).one_or_none()
    return None if row is None else _sample(row)


def page(
    connection: Connection,
    digests: Collection[str],
    *,
    device_id: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> tuple[Sample, ...]:
    """Samples that these artifacts answered, newest first, those behind the key `after`."""
    order = (samples.c.received_at, samples.c.id)
    query = select(samples).where(samples.c.digest.in_(digests))
    if device_id is not None:
        query = query.where(samples.c.device_id == device_id)
    if after is not None:
        query = query.where(tuple_(*order) < after)
    newest_first = query.order_by(*(column.desc() for column in order)).limit(limit)
    return tuple(_sample(row) for row in connection.execute(newest_first))


def keys_before(
    connection: Connection, moment: datetime, *, after: tuple[datetime, str] | None, limit: int
) -> tuple[tuple[datetime, str], ...]:
    """The keys of the oldest samples that came before `moment`, those behind the key `after`."""
    order = (samples.c.received_at, samples.c.id)
    query = select(*order).where(samples.c.received_at < moment)
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return tuple((row.received_at, row.id) for row in connection.execute(query.order_by(*order).limit(limit)))


def drop(connection: Connection, sample_ids: Collection[str]) -> int:
    """Forget these samples; how many there were."""
    return sum(
        connection.execute(delete(samples).where(samples.c.id.in_(ids))).rowcount for ids in portions(sample_ids)
    )


def _sample(row: Row[Any]) -> Sample:
    return Sample(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
