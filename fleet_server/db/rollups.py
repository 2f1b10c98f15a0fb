"""The store of hourly sums of windows, per device, deployment and artifact.

The link writes them with the windows they sum (`fleet_server.link.hours`), so that questions about a whole fleet
never read windows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Connection, Float, Row, cast, func, select, tuple_

from fleet_server.db.many import insert_many, select_many
from fleet_server.db.tables import rollups
from fleet_server.db.upsert import replacing

#: (device, deployment, digest, hour)
RollupKey = tuple[str, str, str, datetime]
_KEY = ("device_id", "deployment", "digest", "hour")


class RollupRow(TypedDict):
    """The sums of one hour; the key is (device, deployment, digest, hour)."""

    device_id: str
    deployment: str
    digest: str
    #: Its beginning.
    hour: datetime
    windows: int
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    latency_p50_us: int
    latency_p95_us: int
    record_bytes: int
    #: Packed; empty = none.
    sketch: bytes
    unsketched: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHour:
    """One hour of one deployment and one artifact, over all devices."""

    hour: datetime
    deployment: str
    digest: str
    devices: int
    windows: int
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    #: Mean of the devices' medians, weighed by rows; the largest 95th percentile.
    latency_p50_us: int
    latency_p95_us: int
    record_bytes: int

    @property
    def key(self) -> tuple[datetime, str, str]:
        """Its place in a page."""
        return self.hour, self.deployment, self.digest


def some(connection: Connection, keys: Collection[RollupKey]) -> dict[RollupKey, RollupRow]:
    """Those of these hours that are there."""
    found: dict[RollupKey, RollupRow] = {}
    for row in select_many(connection, rollups, _KEY, list(keys)):
        values = _row(row)
        found[values["device_id"], values["deployment"], values["digest"], values["hour"]] = values
    return found


def put(connection: Connection, rows: Sequence[RollupRow]) -> None:
    """Store hours in place of what was there of them."""
    if rows:
        insert_many(connection, replacing(connection, rollups, rows[0], key=_KEY), rows)


def device_page(
    connection: Connection,
    device_id: str,
    *,
    deployment: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, str, str] | None = None,
    limit: int,
) -> tuple[RollupRow, ...]:
    """Hours of a device that began in [start, end), oldest first, those behind the key (hour, deployment, digest)."""
    order = (rollups.c.hour, rollups.c.deployment, rollups.c.digest)
    query = select(rollups).where(rollups.c.device_id == device_id)
    if deployment is not None:
        query = query.where(rollups.c.deployment == deployment)
    if start is not None:
        query = query.where(rollups.c.hour >= start)
    if end is not None:
        query = query.where(rollups.c.hour < end)
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return tuple(_row(row) for row in connection.execute(query.order_by(*order).limit(limit)))


def fleet_page(
    connection: Connection,
    *,
    deployment: str | None = None,
    digests: Collection[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, str, str] | None = None,
    limit: int,
) -> tuple[FleetHour, ...]:
    """Hours over all devices that began in [start, end), oldest first, those behind the key `after`."""
    order = (rollups.c.hour, rollups.c.deployment, rollups.c.digest)
    summed = ("windows", "duration_ms", "rows", "source_rows", "errors", "dropped", "record_bytes")
    weighed = _sum(rollups.c.latency_p50_us, cast(rollups.c.rows, Float))
    query = select(
        *order,
        func.count().label("devices"),
        *(_sum(rollups.c[name]).label(name) for name in summed),
        weighed.label("weighed"),
        func.max(rollups.c.latency_p95_us).label("latency_p95_us"),
    ).group_by(*order)
    if deployment is not None:
        query = query.where(rollups.c.deployment == deployment)
    if digests is not None:
        query = query.where(rollups.c.digest.in_(digests))
    if start is not None:
        query = query.where(rollups.c.hour >= start)
    if end is not None:
        query = query.where(rollups.c.hour < end)
    if after is not None:
        query = query.where(tuple_(*order) > after)
    hours = []
    for row in connection.execute(query.order_by(*order).limit(limit)):
        sums = {name: int(row._mapping[name]) for name in summed}  # noqa: SLF001 - SQLAlchemy's public name
        hour = FleetHour(
            hour=row.hour,
            deployment=row.deployment,
            digest=row.digest,
            devices=row.devices,
            latency_p50_us=round(row.weighed / sums["rows"]) if sums["rows"] else 0,
            latency_p95_us=row.latency_p95_us,
            **sums,
        )
        hours.append(hour)
    return tuple(hours)


def _sum(column: Any, weight: Any = 1) -> Any:
    """As double: a device that lies about its counts must not overflow the sum over the others'."""
    return func.sum(cast(column, Float) * weight)


def _row(row: Row[Any]) -> RollupRow:
    values: Any = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    rollup: RollupRow = values
    return rollup
