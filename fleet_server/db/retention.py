"""Lets go of what is beyond its bound.

That is of old windows, their hourly sums, predictions, samples and requests for them, events, ledgers and what came of
webhooks. Each transaction drops about RETENTION_BATCH rows, so that nobody waits long for the write lock. Only what a
bound in `edgeops.limits` names is dropped; decisions, runs, models and labelled samples stay.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, func, select, tuple_, union

from edgeops import limits
from fleet_server.db import events, idempotency, nominations, samples, settings, webhooks
from fleet_server.db.database import Database
from fleet_server.db.tables import label_queue, labels, predictions, rollups, spools, windows


@dataclass(frozen=True, slots=True)
class _Series:
    """A table of rows per (device, deployment), with the column that dates them and how many are kept."""

    table: Table
    time: Column[Any]
    kept: int


_SERIES = (
    _Series(windows, windows.c.closed_at, limits.WINDOWS_KEPT),
    _Series(predictions, predictions.c.answered_at, limits.PREDICTIONS_KEPT),
)


def drop_old(database: Database, now: datetime, stop: threading.Event | None = None) -> int:
    """Drop everything that is beyond its bound, until `stop` is set; how many rows went."""
    stop = stop or threading.Event()
    dropped = _exhaust(drop_events, database.write, stop)
    dropped += _exhaust(partial(idempotency.drop_expired, now=now), database.write, stop)
    dropped += _exhaust(partial(webhooks.drop_ended, before=now - limits.DELIVERY_LIFE), database.write, stop)
    dropped += _exhaust(partial(nominations.drop_old, before=now - limits.SAMPLE_LIFE), database.write, stop)
    for series in _SERIES:
        for device_id, deployment in _places(database, series.table):
            drop = partial(
                drop_from_series,
                series=series,
                device_id=device_id,
                deployment=deployment,
                before=now - limits.TELEMETRY_LIFE,
            )
            dropped += _exhaust(drop, database.write_telemetry, stop)
    dropped += _exhaust(partial(drop_rollups, before=now - limits.ROLLUP_LIFE), database.write_telemetry, stop)
    dropped += _drop_samples(database, now - limits.SAMPLE_LIFE, stop)
    return dropped + _exhaust(drop_spools, database.write_telemetry, stop)


def drop_events(connection: Connection) -> int:
    """Drop the oldest events beyond EVENTS_KEPT that the engine has taken in.

    Those that a receiver of webhooks was not told yet stay longer, up to EVENTS_KEPT_UNTOLD in all.
    """
    taken_in = int(settings.read(connection, settings.ENGINE_CURSOR) or 0)
    end = min(taken_in, events.id_of_newest(connection, limits.EVENTS_KEPT))
    told = webhooks.least_told(connection)
    if told is not None:
        end = min(end, max(told, events.id_of_newest(connection, limits.EVENTS_KEPT_UNTOLD)))
    return events.drop_through(connection, end, limit=limits.RETENTION_BATCH)


def drop_from_series(
    connection: Connection, *, series: _Series, device_id: str, deployment: str, before: datetime
) -> int:
    """Drop the oldest rows of one deployment that are older than `before` or beyond the number kept."""
    table, time = series.table, series.time
    own = (table.c.device_id == device_id) & (table.c.deployment == deployment)
    newest_first = select(time).where(own).order_by(time.desc())
    oldest_kept = connection.execute(newest_first.offset(series.kept - 1).limit(1)).scalar()
    beyond = own & (time < (before if oldest_kept is None else max(before, oldest_kept)))
    oldest_first = select(time).where(beyond).order_by(time)
    end_of_batch = connection.execute(oldest_first.offset(limits.RETENTION_BATCH - 1).limit(1)).scalar()
    batch = beyond if end_of_batch is None else beyond & (time <= end_of_batch)
    return connection.execute(delete(table).where(batch)).rowcount


def drop_rollups(connection: Connection, *, before: datetime) -> int:
    """Drop the oldest hours that began before that moment."""
    key = (rollups.c.device_id, rollups.c.deployment, rollups.c.digest, rollups.c.hour)
    oldest = select(*key).where(rollups.c.hour < before).order_by(rollups.c.hour).limit(limits.RETENTION_BATCH)
    return connection.execute(delete(rollups).where(tuple_(*key).in_(oldest))).rowcount


def drop_spools(connection: Connection) -> int:
    """Drop the ledgers of spools that a device wrote from before its latest SPOOLS_KEPT ones."""
    rank = func.row_number().over(partition_by=spools.c.device_id, order_by=spools.c.updated_at.desc())
    ranked = select(spools.c.device_id, spools.c.spool, rank.label("rank")).subquery()
    beyond = select(ranked.c.device_id, ranked.c.spool).where(ranked.c.rank > limits.SPOOLS_KEPT)
    batch = beyond.limit(limits.RETENTION_BATCH)
    return connection.execute(delete(spools).where(tuple_(spools.c.device_id, spools.c.spool).in_(batch))).rowcount


def _drop_samples(database: Database, before: datetime, stop: threading.Event) -> int:
    """Drop the samples that came before that moment, unless they have a label or wait for one; how many went."""
    dropped = 0
    after: tuple[datetime, str] | None = None
    while not stop.is_set():
        with database.read_telemetry() as connection:
            keys = samples.keys_before(connection, before, after=after, limit=limits.RETENTION_BATCH)
        if not keys:
            break
        after = keys[-1]
        ids = [sample_id for _, sample_id in keys]
        with database.read() as connection:
            kept = _labelled_or_asked_for(connection, ids)
        with database.write_telemetry() as connection:
            dropped += samples.drop(connection, set(ids) - kept)
    return dropped


def _labelled_or_asked_for(connection: Connection, sample_ids: Collection[str]) -> set[str]:
    labelled = select(labels.c.sample_id).where(labels.c.sample_id.in_(sample_ids))
    asked_for = select(label_queue.c.sample_id).where(
        label_queue.c.sample_id.in_(sample_ids), label_queue.c.closed_at.is_(None)
    )
    return set(connection.execute(union(labelled, asked_for)).scalars())


def _places(database: Database, table: Table) -> Iterator[tuple[str, str]]:
    """Every (device, deployment) of a table, by one look into its index each."""
    key = (table.c.device_id, table.c.deployment)
    place = ("", "")
    while True:
        with database.read_telemetry() as connection:
            row = connection.execute(select(*key).where(tuple_(*key) > place).order_by(*key).limit(1)).first()
        if row is None:
            return
        place = (row.device_id, row.deployment)
        yield place


def _exhaust(
    drop: Callable[[Connection], int],
    write: Callable[[], AbstractContextManager[Connection]],
    stop: threading.Event,
) -> int:
    """Let `drop` work, one transaction at a time, until little is left to drop; how many rows went."""
    total = 0
    while not stop.is_set():
        with write() as connection:
            dropped = drop(connection)
        total += dropped
        if dropped < limits.RETENTION_BATCH:
            break
    return total
