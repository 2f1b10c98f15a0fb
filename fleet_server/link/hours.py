"""Sums windows by the hour in which they closed: what `fleet_server.db.rollups` keeps.

Pure, and exact: counts add up, sketches merge (`edgeops.sketch.window`). A sketch that does not fit the others is
left out of the merge and counted; its window still counts. Which windows are new is decided by the database.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from edgeops.errors import MessageError
from edgeops.sketch.packing import pack, unpack_all
from edgeops.sketch.window import Sketch, merge, merge_all
from fleet_server.db.ingest import WindowRow
from fleet_server.db.rollups import RollupKey, RollupRow


@dataclass(frozen=True, slots=True)
class Hour:
    """Sums over `windows` windows."""

    windows: int
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    #: Mean of the windows' medians, weighed by rows; the largest 95th percentile.
    latency_p50_us: float
    latency_p95_us: int
    record_bytes: int
    #: None when no window had one.
    sketch: Sketch | None
    #: Windows whose sketch is not in it.
    unsketched: int = 0
    #: The sketch as bytes, where they are at hand: most hours are one window.
    packed: bytes = b""


def sum_by_hour(stored: Iterable[tuple[WindowRow, Sketch | None]]) -> dict[RollupKey, Hour]:
    """The hours that these windows closed in."""
    grouped: dict[RollupKey, list[Hour]] = defaultdict(list)
    for row, sketch in stored:
        key = (row["device_id"], row["deployment"], row["digest"], _hour_of(row["closed_at"]))
        grouped[key].append(_hour(row, sketch))
    return {key: hours[0] if len(hours) == 1 else _summed(hours) for key, hours in grouped.items()}


def together(first: Hour, second: Hour) -> Hour:
    """The sums of both."""
    rows = first.rows + second.rows
    sketch, left_out = _merged(first, second)
    return Hour(
        windows=first.windows + second.windows,
        duration_ms=first.duration_ms + second.duration_ms,
        rows=rows,
        source_rows=first.source_rows + second.source_rows,
        errors=first.errors + second.errors,
        dropped=first.dropped + second.dropped,
        latency_p50_us=(first.latency_p50_us * first.rows + second.latency_p50_us * second.rows) / rows if rows else 0,
        latency_p95_us=max(first.latency_p95_us, second.latency_p95_us),
        record_bytes=first.record_bytes + second.record_bytes,
        sketch=sketch,
        unsketched=first.unsketched + second.unsketched + left_out,
    )


def to_row(key: RollupKey, hour: Hour) -> RollupRow:
    """An hour as it is stored."""
    device_id, deployment, digest, beginning = key
    return RollupRow(
        device_id=device_id,
        deployment=deployment,
        digest=digest,
        hour=beginning,
        windows=hour.windows,
        duration_ms=hour.duration_ms,
        rows=hour.rows,
        source_rows=hour.source_rows,
        errors=hour.errors,
        dropped=hour.dropped,
        latency_p50_us=round(hour.latency_p50_us),
        latency_p95_us=hour.latency_p95_us,
        record_bytes=hour.record_bytes,
        sketch=b"" if hour.sketch is None else hour.packed or pack(hour.sketch),
        unsketched=hour.unsketched,
    )


def from_rows(rows: Mapping[RollupKey, RollupRow]) -> dict[RollupKey, Hour]:
    """Stored hours; what the sketch of one held is left out and counted if it cannot be read."""
    sketched = [key for key, row in rows.items() if row["sketch"]]
    sketches = dict(zip(sketched, unpack_all([rows[key]["sketch"] for key in sketched]), strict=True))
    return {key: _from_row(row, sketches.get(key)) for key, row in rows.items()}


def _from_row(row: RollupRow, sketch: Sketch | MessageError | None) -> Hour:
    is_damaged = isinstance(sketch, MessageError)
    return Hour(
        windows=row["windows"],
        duration_ms=row["duration_ms"],
        rows=row["rows"],
        source_rows=row["source_rows"],
        errors=row["errors"],
        dropped=row["dropped"],
        latency_p50_us=row["latency_p50_us"],
        latency_p95_us=row["latency_p95_us"],
        record_bytes=row["record_bytes"],
        sketch=None if isinstance(sketch, MessageError) else sketch,
        unsketched=row["windows"] if is_damaged else row["unsketched"],
        packed=b"" if is_damaged else row["sketch"],
    )


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _hour(row: WindowRow, sketch: Sketch | None) -> Hour:
    return Hour(
        windows=1,
        duration_ms=row["duration_ms"],
        rows=row["rows"],
        source_rows=row["source_rows"],
        errors=row["errors"],
        dropped=row["dropped"],
        latency_p50_us=row["latency_p50_us"],
        latency_p95_us=row["latency_p95_us"],
        record_bytes=row["record_bytes"],
        sketch=sketch,
        packed=row["sketch"],
    )


def _summed(hours: Sequence[Hour]) -> Hour:
    """The sums of several; their sketches in one go where they fit each other."""
    sketches = [hour.sketch for hour in hours if hour.sketch is not None]
    try:
        sketch = merge_all(sketches, channels=sketches[0].channels) if sketches else None
    except MessageError:
        return reduce(together, hours)
    rows = sum(hour.rows for hour in hours)
    return Hour(
        windows=sum(hour.windows for hour in hours),
        duration_ms=sum(hour.duration_ms for hour in hours),
        rows=rows,
        source_rows=sum(hour.source_rows for hour in hours),
        errors=sum(hour.errors for hour in hours),
        dropped=sum(hour.dropped for hour in hours),
        latency_p50_us=sum(hour.latency_p50_us * hour.rows for hour in hours) / rows if rows else 0,
        latency_p95_us=max(hour.latency_p95_us for hour in hours),
        record_bytes=sum(hour.record_bytes for hour in hours),
        sketch=sketch,
        unsketched=sum(hour.unsketched for hour in hours),
    )


def _merged(first: Hour, second: Hour) -> tuple[Sketch | None, int]:
    """The sketch of both, and how many windows' sketches had to stay out."""
    if first.sketch is None or second.sketch is None:
        return first.sketch or second.sketch, 0
    try:
        return merge(first.sketch, second.sketch), 0
    except MessageError:
        return first.sketch, second.windows - second.unsketched
