"""What devices sent, as the link writes it: one transaction per batch, many rows per statement.

Rows are typed dictionaries: ingestion is the one place where a
value object per row would cost more than the row. Which rows are due is decided by the caller;
reading them back is `fleet_server.db.telemetry`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from edgeops import limits
from edgeops.protocol.envelope import Mark, Session
from fleet_server.db.many import insert_many, select_many
from fleet_server.db.tables import marks, predictions, quarantine, spools, windows
from fleet_server.db.upsert import insert, replacing

#: (device, spool, seq)
WindowKey = tuple[str, bytes, int]

#: One object, so that it is compiled once.
_NEW_WINDOWS = windows.insert()


class WindowRow(TypedDict):
    """One telemetry window; the key is (device, spool, seq)."""

    device_id: str
    spool: bytes
    seq: int
    deployment: str
    digest: str
    phase: str
    closed_at: datetime
    received_at: datetime
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    latency_p50_us: int
    latency_p95_us: int
    record_bytes: int
    sketch: bytes
    paired: bytes


class PredictionRow(TypedDict):
    """One answer; the key is (device, deployment, digest, input id)."""

    device_id: str
    deployment: str
    digest: str
    input_id: str
    phase: str
    answer: float
    confidence: float
    answered_at: datetime
    received_at: datetime


class SpoolRow(TypedDict):
    """What is committed of one spool: everything up to `through`, and the inclusive ranges above."""

    device_id: str
    spool: bytes
    through: int
    ranges: Sequence[tuple[int, int]]
    updated_at: datetime


class MarkRow(TypedDict):
    """The last accepted place of a device in one kind of message."""

    device_id: str
    kind: str
    session_counter: int
    session_nonce: bytes
    seq: int


class QuarantineRow(TypedDict):
    """A message or record that was put aside, and why."""

    at: datetime
    device_id: str
    topic: str
    reason: str
    detail: str
    payload: bytes


# -- where devices stand --------------------------------------------------------------


def marks_of(connection: Connection, device_id: str) -> dict[str, Mark]:
    """The last accepted mark of a device by kind of message."""
    query = select(marks).where(marks.c.device_id == device_id)
    return {
        row.kind: Mark(Session(row.session_counter, row.session_nonce), row.seq) for row in connection.execute(query)
    }


def newest_session(connection: Connection, device_id: str) -> Session | None:
    """The newest session that a device was heard in; None when it never spoke."""
    return max((mark.session for mark in marks_of(connection, device_id).values()), default=None)


def spool(connection: Connection, device_id: str, spool_id: bytes) -> SpoolRow | None:
    """The ledger of one spool, or None."""
    query = select(spools).where(spools.c.device_id == device_id, spools.c.spool == spool_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return SpoolRow(
        device_id=device_id,
        spool=spool_id,
        through=row.through,
        ranges=[(first, last) for first, last in row.ranges],
        updated_at=row.updated_at,
    )


def spool_ids(connection: Connection, device_id: str, *, limit: int) -> tuple[bytes, ...]:
    """The spools a device wrote from, the latest first."""
    query = select(spools.c.spool).where(spools.c.device_id == device_id)
    return tuple(connection.execute(query.order_by(spools.c.updated_at.desc()).limit(limit)).scalars())


# -- one batch --------------------------------------------------------------------------


def add_windows(connection: Connection, rows: Sequence[WindowRow]) -> list[WindowRow]:
    """Store windows; one that is there already stays as it is. Which ones are new, in the order given.

    Whoever follows them reads in the order of arrival, so none is stored as arrived before one that is there already,
    though the clock of this machine was put back meanwhile.
    """
    by_key = {(row["device_id"], row["spool"], row["seq"]): row for row in rows}
    new = list(by_key.values())
    if not new:
        return []
    try:
        # The caller's ledgers keep almost every repetition away; asking first would cost more than the windows.
        with connection.begin_nested():
            insert_many(connection, _NEW_WINDOWS, _in_order(connection, new))
    except IntegrityError:
        known = _known_windows(connection, list(by_key))
        new = [row for key, row in by_key.items() if key not in known]
        if new:
            insert_many(connection, _NEW_WINDOWS, _in_order(connection, new))
    return new


def _in_order(connection: Connection, rows: Sequence[WindowRow]) -> Sequence[WindowRow]:
    last = connection.execute(select(func.max(windows.c.received_at))).scalar()
    if last is None or all(row["received_at"] >= last for row in rows):
        return rows
    earliest = last + timedelta(microseconds=1)
    return [{**row, "received_at": max(row["received_at"], earliest)} for row in rows]


def _known_windows(connection: Connection, keys: Sequence[WindowKey]) -> set[WindowKey]:
    """Those of these windows that are there."""
    rows = select_many(connection, windows, ("device_id", "spool", "seq"), keys)
    return {(row.device_id, row.spool, row.seq) for row in rows}


def put_predictions(connection: Connection, rows: Sequence[PredictionRow]) -> None:
    """Store answers; the latest answer to an input replaces the ones before."""
    if not rows:
        return
    statement = insert(connection, predictions)
    new = statement.excluded
    latest = statement.on_conflict_do_update(
        index_elements=["device_id", "deployment", "digest", "input_id"],
        set_={name: new[name] for name in ("phase", "answer", "confidence", "answered_at", "received_at")},
        where=new.answered_at >= predictions.c.answered_at,
    )
    insert_many(connection, latest, rows)


def prune_predictions(connection: Connection, device_id: str, deployment: str, *, keep: int) -> int:
    """Drop all but the `keep` latest answers of one deployment; how many went."""
    own = (predictions.c.device_id == device_id) & (predictions.c.deployment == deployment)
    oldest_kept = (
        select(predictions.c.answered_at)
        .where(own)
        .order_by(predictions.c.answered_at.desc())
        .offset(keep - 1)
        .limit(1)
    )
    older = own & (predictions.c.answered_at < oldest_kept.scalar_subquery())
    return connection.execute(delete(predictions).where(older)).rowcount


def put_spools(connection: Connection, rows: Sequence[SpoolRow]) -> None:
    """Store how far spools are committed."""
    if rows:
        insert_many(connection, replacing(connection, spools, rows[0], key=("device_id", "spool")), rows)


def put_marks(connection: Connection, rows: Sequence[MarkRow]) -> None:
    """Store the last accepted places."""
    if rows:
        latest = replacing(connection, marks, rows[0], key=("device_id", "kind"))
        insert_many(connection, latest, [{**row, "repeated": 0} for row in rows])  # a row that is there keeps its own


def count_repeated(connection: Connection, counts: Iterable[tuple[str, str, int]]) -> None:
    """Add to the repeated envelopes of (device, kind)."""
    rows = [{"of": device_id, "on": kind, "more": more} for device_id, kind, more in counts]
    if rows:
        place = (marks.c.device_id == bindparam("of")) & (marks.c.kind == bindparam("on"))
        connection.execute(update(marks).where(place).values(repeated=marks.c.repeated + bindparam("more")), rows)


def put_aside(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Quarantine messages; beyond QUARANTINE_ROWS, and QUARANTINE_ROWS_PER_DEVICE, the oldest go."""
    if not rows:
        return
    connection.execute(quarantine.insert(), rows)
    for device_id in {row["device_id"] for row in rows}:
        own = quarantine.c.device_id == device_id
        newest_first = select(quarantine.c.id).where(own).order_by(quarantine.c.id.desc())
        beyond = newest_first.offset(limits.QUARANTINE_ROWS_PER_DEVICE).limit(1).scalar_subquery()
        connection.execute(delete(quarantine).where(own, quarantine.c.id <= beyond))
    newest = select(func.max(quarantine.c.id)).scalar_subquery()
    connection.execute(delete(quarantine).where(quarantine.c.id <= newest - limits.QUARANTINE_ROWS))
