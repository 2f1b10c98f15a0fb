"""What happens on all devices together: sums by the hour, and windows in the order in which they arrived."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query

from edgeops import limits
from edgeops.api.shapes import FleetHour, Id, Moment, Page, TelemetryWindow
from edgeops.errors import NotFoundError
from fleet_server.api import pages
from fleet_server.api.callers import VIEWER
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.api.telemetry import From, To, window_shape
from fleet_server.db import models, rollups, telemetry

router = APIRouter(prefix="/fleet", tags=["devices"], dependencies=[VIEWER])


@router.get("/telemetry")
def list_fleet_telemetry(
    server: ServerOf,
    *,
    paging: PagingOf,
    deployment: str | None = None,
    model: Annotated[str | None, Query(description="Only artifacts of this model.")] = None,
    start: From = None,
    end: To = None,
) -> Page[FleetHour]:
    """Sums over all devices by hour, deployment and artifact, oldest first."""
    digests = None if model is None else digests_of(server, model)
    with server.database.read_telemetry() as connection:
        rows = rollups.fleet_page(
            connection,
            deployment=deployment,
            digests=digests,
            start=start,
            end=end,
            after=paging.after(tuple[pages.Moment, str, str]),
            limit=paging.wanted,
        )
    known = _artifacts(server, {row.digest for row in rows})
    return paging.page(rows, key=lambda row: row.key, shape=lambda row: _hour(row, known.get(row.digest)))


@router.get("/windows")
def list_arrivals(
    server: ServerOf,
    *,
    paging: PagingOf,
    device: Annotated[Id | None, Query(description="Only of this device.")] = None,
    deployment: str | None = None,
    since: Annotated[Moment | None, Query(description="Received at this moment or later.")] = None,
    latest: Annotated[
        int | None, Query(ge=1, le=limits.MAX_PAGE_SIZE, description="Only so many, the latest; without `since`.")
    ] = None,
) -> Page[TelemetryWindow]:
    """Windows of all devices in the order in which the server received them."""
    if latest is not None:
        with server.database.read_telemetry() as connection:
            rows = telemetry.latest_arrivals(connection, device_id=device, deployment=deployment, limit=latest)
        return Page(items=tuple(window_shape(row, server.artifacts) for row in rows))
    with server.database.read_telemetry() as connection:
        rows = telemetry.arrival_page(
            connection,
            device_id=device,
            deployment=deployment,
            since=since,
            after=paging.after(tuple[pages.Moment, str, bytes, Ordinal]),
            limit=paging.wanted,
        )
    return paging.page(rows, key=lambda row: row.arrival_key, shape=lambda row: window_shape(row, server.artifacts))


def digests_of(server: Server, model: str) -> list[str]:
    """The digests of all artifacts of a model.

    Raises:
        NotFoundError: there is no such model.
    """
    with server.database.read() as connection:
        if models.get(connection, model) is None:
            raise NotFoundError(f"no model {model[:80]!r}; list them with: edgeops model list")
        versions = models.artifacts_by_version(connection, model)
    return [artifact.digest for artifacts in versions.values() for artifact in artifacts]


def _artifacts(server: Server, digests: Iterable[str]) -> dict[str, models.Artifact]:
    with server.database.read() as connection:
        found = [models.artifact_by_digest(connection, digest) for digest in digests]
    return {artifact.digest: artifact for artifact in found if artifact is not None}


def _hour(row: rollups.FleetHour, artifact: models.Artifact | None) -> FleetHour:
    return FleetHour(
        deployment=row.deployment,
        digest=row.digest,
        model=None if artifact is None else artifact.model,
        version=None if artifact is None else artifact.version,
        variant=None if artifact is None else artifact.variant,
        hour=row.hour,
        devices=row.devices,
        windows=row.windows,
        duration_ms=row.duration_ms,
        rows=row.rows,
        source_rows=row.source_rows,
        errors=row.errors,
        dropped=row.dropped,
        latency_p50_us=row.latency_p50_us,
        latency_p95_us=row.latency_p95_us,
        record_bytes=row.record_bytes,
    )
