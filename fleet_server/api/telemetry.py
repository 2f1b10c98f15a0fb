"""What the deployments of one device saw and answered, window by window or hour by hour."""

from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import Moment, Page, PairedAnswers, Resolution, TelemetryHour, TelemetryWindow
from edgeops.digest import digest_from_raw
from edgeops.protocol.messages import Paired, decode
from edgeops.rollout.agreement import disagreements
from fleet_server.api import channels, pages
from fleet_server.api.callers import VIEWER
from fleet_server.api.devices import known_device, require_deployment
from fleet_server.api.pages import Ordinal, Paging, PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.artifacts import Artifacts
from fleet_server.db import rollups, telemetry
from fleet_server.db.rollups import RollupRow

router = APIRouter(prefix="/devices/{device_id}/telemetry", tags=["devices"], dependencies=[VIEWER])

From = Annotated[Moment | None, Query(alias="from", description="Windows that closed, hours that began, not before.")]
To = Annotated[Moment | None, Query(alias="to", description="Windows that closed, hours that began, before this.")]


@router.get("")
def list_telemetry(
    server: ServerOf,
    device_id: str,
    *,
    paging: PagingOf,
    deployment: str | None = None,
    start: From = None,
    end: To = None,
    channel: Annotated[str | None, Query(description="Only this channel, with its histogram.")] = None,
    resolution: Resolution = Resolution.RAW,
) -> Page[TelemetryWindow] | Page[TelemetryHour]:
    """Windows of one device, or their sums by the hour, oldest first, each with a summary per channel."""
    device = known_device(server, device_id)
    read = _hours if resolution is Resolution.HOUR else _windows
    page = read(server, device_id, paging, deployment=deployment, start=start, end=end)
    if not page.items:
        require_deployment(device, deployment)
    return channels.chosen(page, channel)


def window_shape(row: telemetry.Window, artifacts: Artifacts) -> TelemetryWindow:
    """A window with its channels."""
    alarms = channels.alarms(row.digest, row.sketch, artifacts)
    return TelemetryWindow(
        id=f"{row.spool.hex()}-{row.seq}",
        device_id=row.device_id,
        deployment=row.deployment,
        digest=row.digest,
        phase=row.phase,
        closed_at=row.closed_at,
        received_at=row.received_at,
        duration_ms=row.duration_ms,
        rows=row.rows,
        source_rows=row.source_rows,
        errors=row.errors,
        dropped=row.dropped,
        latency_p50_us=row.latency_p50_us,
        latency_p95_us=row.latency_p95_us,
        record_bytes=row.record_bytes,
        alarms=alarms,
        alarm_ms=channels.alarm_time_ms(row.duration_ms, row.rows, alarms),
        channels=channels.summaries(row.digest, row.sketch, artifacts),
        paired=_paired(row, artifacts) if row.paired else None,
    )


def _paired(row: telemetry.Window, artifacts: Artifacts) -> PairedAnswers:
    paired, known = decode(row.paired, Paired), artifacts.get(row.digest)
    differ = disagreements(known.manifest.task, paired.cells) if known is not None and paired.cells else None
    return PairedAnswers(
        shadow=digest_from_raw(paired.shadow),
        rows=paired.rows,
        disagreements=differ,
        errors=paired.errors,
        shadow_errors=paired.shadow_errors,
        skipped=paired.skipped,
        unmatched=paired.unmatched,
        latency_p50_us=paired.latency_p50_us,
        latency_p95_us=paired.latency_p95_us,
        shadow_latency_p50_us=paired.shadow_latency_p50_us,
        shadow_latency_p95_us=paired.shadow_latency_p95_us,
        cells=paired.cells,
    )


def _windows(
    server: Server, device_id: str, paging: Paging, *, deployment: str | None, start: Moment | None, end: Moment | None
) -> Page[TelemetryWindow]:
    with server.database.read_telemetry() as connection:
        rows = telemetry.window_page(
            connection,
            device_id,
            deployment=deployment,
            start=start,
            end=end,
            after=paging.after(tuple[pages.Moment, bytes, Ordinal]),
            limit=paging.wanted,
        )
    return paging.page(rows, key=lambda row: row.key, shape=lambda row: window_shape(row, server.artifacts))


def _hours(
    server: Server, device_id: str, paging: Paging, *, deployment: str | None, start: Moment | None, end: Moment | None
) -> Page[TelemetryHour]:
    with server.database.read_telemetry() as connection:
        rows = rollups.device_page(
            connection,
            device_id,
            deployment=deployment,
            start=start,
            end=end,
            after=paging.after(tuple[pages.Moment, str, str]),
            limit=paging.wanted,
        )
    return paging.page(
        rows,
        key=lambda row: (row["hour"], row["deployment"], row["digest"]),
        shape=lambda row: _hour(row, server.artifacts),
    )


def _hour(row: RollupRow, artifacts: Artifacts) -> TelemetryHour:
    shown = channels.summaries(row["digest"], row["sketch"], artifacts)
    alarms = channels.alarms(row["digest"], row["sketch"], artifacts)
    alarm_ms = channels.alarm_time_ms(row["duration_ms"], row["rows"], alarms)
    return TelemetryHour.model_validate({**row, "channels": shown, "alarms": alarms, "alarm_ms": alarm_ms})
