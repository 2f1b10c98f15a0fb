"""What devices sent, as people and programs read it: pages in a stable order.

The last key of a page is where the next begins. Writing is `fleet_server.db.ingest`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, select, tuple_

from edgeops.protocol.messages import Phase
from fleet_server.db.tables import predictions, quarantine, windows

_ARRIVAL = (windows.c.received_at, windows.c.device_id, windows.c.spool, windows.c.seq)


@dataclass(frozen=True, slots=True)
class Window:
    """One telemetry window of one deployment and one artifact."""

    device_id: str
    spool: bytes
    seq: int
    deployment: str
    digest: str
    phase: Phase
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
    #: `edgeops.sketch.window` packed; empty when the model declares no channels.
    sketch: bytes
    #: `edgeops.protocol.messages.Paired` encoded; empty = no shadow answered.
    paired: bytes

    @property
    def key(self) -> tuple[datetime, bytes, int]:
        """Its place in a page."""
        return self.closed_at, self.spool, self.seq

    @property
    def arrival_key(self) -> tuple[datetime, str, bytes, int]:
        """Its place in a page in order of arrival."""
        return self.received_at, self.device_id, self.spool, self.seq


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer."""

    device_id: str
    deployment: str
    digest: str
    input_id: str
    phase: Phase
    answer: float
    confidence: float
    answered_at: datetime
    received_at: datetime

    @property
    def key(self) -> tuple[str, str, str]:
        """Its place in a page."""
        return self.deployment, self.digest, self.input_id


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message or record that was put aside."""

    id: int
    at: datetime
    device_id: str
    topic: str
    reason: str
    detail: str
    payload_bytes: int


def window_page(
    connection: Connection,
    device_id: str,
    *,
    deployment: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, bytes, int] | None = None,
    limit: int,
) -> tuple[Window, ...]:
    """Windows of a device that closed in [start, end), oldest first, those after the key `after`."""
    if deployment is None:
        # Each deployment's part comes from the index; a sort over all of them would read every window.
        parts = [
            window_page(connection, device_id, deployment=one, start=start, end=end, after=after, limit=limit)
            for one in _deployments(connection, windows, device_id)
        ]
        return tuple(sorted(chain.from_iterable(parts), key=lambda window: window.key)[:limit])
    order = (windows.c.closed_at, windows.c.spool, windows.c.seq)
    query = select(windows).where(windows.c.device_id == device_id, windows.c.deployment == deployment)
    if start is not None:
        query = query.where(windows.c.closed_at >= start)
    if end is not None:
        query = query.where(windows.c.closed_at < end)
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return tuple(_window(row) for row in connection.execute(query.order_by(*order).limit(limit)))


def last_received(connection: Connection, digest: str) -> datetime | None:
    """When the newest window of an artifact came, from any device."""
    return connection.execute(select(func.max(windows.c.received_at)).where(windows.c.digest == digest)).scalar()


def live_windows(
    connection: Connection, digest: str, deployment: str, *, received_from: datetime, limit: int
) -> tuple[Window, ...]:
    """LIVE windows of one artifact that came at this moment or later, from any device, in the order they came."""
    query = select(windows).where(
        windows.c.digest == digest,
        windows.c.received_at >= received_from,
        windows.c.deployment == deployment,
        windows.c.phase == Phase.LIVE,
    )
    return tuple(_window(row) for row in connection.execute(query.order_by(windows.c.received_at).limit(limit)))


def latest_live_windows(
    connection: Connection, device_id: str, digest: str, deployment: str, *, closed_from: datetime, limit: int
) -> tuple[Window, ...]:
    """The newest LIVE windows of one artifact on one device, the newest first."""
    query = select(windows).where(
        windows.c.device_id == device_id,
        windows.c.deployment == deployment,
        windows.c.closed_at >= closed_from,
        windows.c.digest == digest,
        windows.c.phase == Phase.LIVE,
    )
    return tuple(_window(row) for row in connection.execute(query.order_by(windows.c.closed_at.desc()).limit(limit)))


def past_windows(
    connection: Connection,
    device_id: str,
    deployment: str,
    *,
    digest: str,
    closed_until: datetime,
    arrived_until: tuple[datetime, str, bytes, int],
    limit: int,
) -> tuple[Window, ...]:
    """The newest LIVE windows of one artifact on one device that closed until a moment, the newest first.

    Those that arrived after the key `arrived_until` are left out.
    """
    query = select(windows).where(
        windows.c.device_id == device_id,
        windows.c.deployment == deployment,
        windows.c.closed_at <= closed_until,
        windows.c.digest == digest,
        windows.c.phase == Phase.LIVE,
        tuple_(*_ARRIVAL) <= arrived_until,
    )
    return tuple(_window(row) for row in connection.execute(query.order_by(windows.c.closed_at.desc()).limit(limit)))


def arrival_page(
    connection: Connection,
    *,
    device_id: str | None = None,
    deployment: str | None = None,
    since: datetime | None = None,
    after: tuple[datetime, str, bytes, int] | None = None,
    limit: int,
) -> tuple[Window, ...]:
    """Windows of all devices in the order of arrival, those received at `since` or later and after the key `after`."""
    query = _of(device_id, deployment)
    if since is not None:
        query = query.where(windows.c.received_at >= since)
    if after is not None:
        query = query.where(tuple_(*_ARRIVAL) > after)
    return tuple(_window(row) for row in connection.execute(query.order_by(*_ARRIVAL).limit(limit)))


def latest_arrivals(
    connection: Connection, *, device_id: str | None = None, deployment: str | None = None, limit: int
) -> tuple[Window, ...]:
    """The `limit` windows that arrived last, in the order of arrival."""
    newest_first = _of(device_id, deployment).order_by(*(column.desc() for column in _ARRIVAL)).limit(limit)
    return tuple(_window(row) for row in reversed(connection.execute(newest_first).all()))


def prediction_page(
    connection: Connection,
    device_id: str,
    *,
    deployment: str | None = None,
    digest: str | None = None,
    after: tuple[str, str, str] | None = None,
    limit: int,
) -> tuple[Prediction, ...]:
    """Answers of a device in the order of (deployment, digest, input id), those after the key `after`."""
    order = (predictions.c.deployment, predictions.c.digest, predictions.c.input_id)
    query = select(predictions).where(predictions.c.device_id == device_id)
    if deployment is not None:
        query = query.where(predictions.c.deployment == deployment)
    if digest is not None:
        query = query.where(predictions.c.digest == digest)
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return tuple(_prediction(row) for row in connection.execute(query.order_by(*order).limit(limit)))


def answers_to(connection: Connection, device_id: str, deployment: str, input_id: str) -> tuple[Prediction, ...]:
    """What each model of a deployment answered to one input, the latest first."""
    query = select(predictions).where(
        predictions.c.device_id == device_id,
        predictions.c.deployment == deployment,
        predictions.c.input_id == input_id,
    )
    return tuple(_prediction(row) for row in connection.execute(query.order_by(predictions.c.answered_at.desc())))


def latest_predictions(connection: Connection, device_id: str) -> tuple[Prediction, ...]:
    """The latest answer of each deployment of a device, by deployment."""
    own = predictions.c.device_id == device_id
    latest: list[Prediction] = []
    for deployment in _deployments(connection, predictions, device_id):
        query = select(predictions).where(own, predictions.c.deployment == deployment)
        newest_first = query.order_by(predictions.c.answered_at.desc(), predictions.c.input_id.desc()).limit(1)
        latest.append(_prediction(connection.execute(newest_first).one()))
    return tuple(latest)


def quarantine_page(
    connection: Connection, *, device_id: str | None = None, after: int | None = None, limit: int
) -> tuple[Quarantined, ...]:
    """What was put aside, newest first, those older than the id `after`; payloads stay where they are."""
    shown = (column for column in quarantine.c if column is not quarantine.c.payload)
    size = func.length(quarantine.c.payload).label("payload_bytes")
    query = select(*shown, size).order_by(quarantine.c.id.desc()).limit(limit)
    if device_id is not None:
        query = query.where(quarantine.c.device_id == device_id)
    if after is not None:
        query = query.where(quarantine.c.id < after)
    return tuple(Quarantined(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


def _of(device_id: str | None, deployment: str | None) -> Select[Any]:
    """Windows of one device or all, one deployment or all."""
    query = select(windows)
    if device_id is not None:
        query = query.where(windows.c.device_id == device_id)
    return query if deployment is None else query.where(windows.c.deployment == deployment)


def _deployments(connection: Connection, table: Table, device_id: str) -> Iterator[str]:
    """The deployments of a device in a table, by name, with one look into the index each."""
    name = table.c.deployment
    next_name = select(func.min(name)).where(table.c.device_id == device_id)
    deployment = connection.execute(next_name).scalar()
    while deployment is not None:
        yield deployment
        deployment = connection.execute(next_name.where(name > deployment)).scalar()


def _window(row: Row[Any]) -> Window:
    return Window(**{**row._mapping, "phase": Phase(row.phase)})  # noqa: SLF001 - SQLAlchemy's public name


def _prediction(row: Row[Any]) -> Prediction:
    return Prediction(**{**row._mapping, "phase": Phase(row.phase)})  # noqa: SLF001 - SQLAlchemy's public name
