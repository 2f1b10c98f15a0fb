"""The store of datasets and their immutable snapshots.

It knows names, digests and schemas; the rows lie among the blobs (`fleet_server.datasets.snapshot`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from edgeops.data.schema import Schema
from fleet_server.db.tables import datasets, snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A name and its newest snapshot."""

    name: str
    created_at: datetime
    created_by: str
    head: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one immutable snapshot holds."""

    digest: str
    dataset: str
    parent: str | None
    created_at: datetime
    rows: int
    size_bytes: int
    schema: Schema
    #: Since when its rows are gone; what it says of itself stays.
    erased_at: datetime | None


def add_snapshot(
    connection: Connection, name: str, digest: str, *, size_bytes: int, schema: Schema, created_by: str, now: datetime
) -> Snapshot:
    """Make `digest` the newest snapshot of dataset `name`; importing the same rows again changes nothing.

    Rows that were erased are there again if somebody imports them again.
    """
    dataset = get(connection, name)
    if dataset is None:
        connection.execute(datasets.insert().values(name=name, created_at=now, created_by=created_by, head=None))
    parent = None if dataset is None else dataset.head
    if get_snapshot(connection, digest) is None:
        _insert(connection, name, digest, parent=parent, size_bytes=size_bytes, schema=schema, now=now)
    connection.execute(update(snapshots).where(snapshots.c.digest == digest).values(erased_at=None))
    connection.execute(update(datasets).where(datasets.c.name == name).values(head=digest))
    snapshot = get_snapshot(connection, digest)
    assert snapshot is not None
    return snapshot


def add_branch(
    connection: Connection, name: str, digest: str, *, parent: str, size_bytes: int, schema: Schema, now: datetime
) -> Snapshot:
    """Add a snapshot of dataset `name` that extends another one; harmless to repeat.

    The dataset's newest snapshot stays what a person imported: what a device taught is learnt from by the model that
    it was bought for, and by what descends from that.
    """
    if get_snapshot(connection, digest) is None:
        _insert(connection, name, digest, parent=parent, size_bytes=size_bytes, schema=schema, now=now)
    snapshot = get_snapshot(connection, digest)
    assert snapshot is not None
    return snapshot


def get(connection: Connection, name: str) -> Dataset | None:
    """One dataset, or None."""
    row = connection.execute(select(datasets).where(datasets.c.name == name)).one_or_none()
    return None if row is None else _dataset(row)


def page(connection: Connection, after: str | None, limit: int) -> list[Dataset]:
    """Datasets by name; `after` is the last name of the page before."""
    query = select(datasets).order_by(datasets.c.name).limit(limit)
    if after is not None:
        query = query.where(datasets.c.name > after)
    return [_dataset(row) for row in connection.execute(query)]


def get_snapshot(connection: Connection, digest: str) -> Snapshot | None:
    """One snapshot, or None."""
    row = connection.execute(select(snapshots).where(snapshots.c.digest == digest)).one_or_none()
    return None if row is None else _snapshot(row)


def head(connection: Connection, name: str) -> Snapshot | None:
    """The newest snapshot of a dataset, or None when there is no such dataset."""
    dataset = get(connection, name)
    return None if dataset is None or dataset.head is None else get_snapshot(connection, dataset.head)


def heads(connection: Connection, names: Sequence[str]) -> dict[str, Snapshot]:
    """The newest snapshot of each of these datasets that has one, by dataset."""
    of_name = select(datasets.c.name, snapshots).join(snapshots, snapshots.c.digest == datasets.c.head)
    return {row.name: _snapshot(row) for row in connection.execute(of_name.where(datasets.c.name.in_(names)))}


def page_snapshots(connection: Connection, name: str) -> list[Snapshot]:
    """All snapshots of a dataset, oldest first."""
    query = select(snapshots).where(snapshots.c.dataset == name).order_by(snapshots.c.created_at, snapshots.c.digest)
    return [_snapshot(row) for row in connection.execute(query)]


def is_quarantine(connection: Connection, digest: str) -> bool:
    """Whether a snapshot that was not erased keeps its refused rows in this blob."""
    schemas = connection.execute(select(snapshots.c.schema).where(snapshots.c.erased_at.is_(None))).scalars()
    return any(schema.get("quarantine") == digest for schema in schemas)


def erase(connection: Connection, digests: Sequence[str], now: datetime) -> list[str]:
    """Write down that snapshots and their quarantines are gone; the blobs to delete, once that is committed."""
    connection.execute(update(snapshots).where(snapshots.c.digest.in_(digests)).values(erased_at=now))
    return erased(connection)


def erased(connection: Connection) -> list[str]:
    """The blobs of all erased snapshots, and of their quarantines that no other snapshot has."""
    found = connection.execute(select(snapshots).where(snapshots.c.erased_at.is_not(None)))
    gone = [_snapshot(row) for row in found]
    refused = {one.schema.quarantine for one in gone if one.schema.quarantine is not None}
    return [*(one.digest for one in gone), *(one for one in sorted(refused) if not is_quarantine(connection, one))]


def _insert(
    connection: Connection,
    name: str,
    digest: str,
    *,
    parent: str | None,
    size_bytes: int,
    schema: Schema,
    now: datetime,
) -> None:
    connection.execute(
        snapshots.insert().values(
            digest=digest,
            dataset=name,
            parent=parent,
            created_at=now,
            rows=schema.rows,
            size_bytes=size_bytes,
            schema=msgspec.to_builtins(schema),
        )
    )


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset(name=row.name, created_at=row.created_at, created_by=row.created_by, head=row.head)


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(
        digest=row.digest,
        dataset=row.dataset,
        parent=row.parent,
        created_at=row.created_at,
        rows=row.rows,
        size_bytes=row.size_bytes,
        schema=msgspec.convert(row.schema, Schema),
        erased_at=row.erased_at,
    )
