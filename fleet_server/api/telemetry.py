"""What deployments saw and answered, window by window."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import ChannelSummary, FieldProblem, Moment, Page, TelemetryWindow, shape_of
from edgeops.errors import MessageError
from edgeops.sketch.reference import summarize
from edgeops.sketch.window import unpack
from fleet_server.api import pages
from fleet_server.api.artifacts import Artifacts
from fleet_server.api.callers import VIEWER
from fleet_server.api.devices import known_device, require_deployment
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.problems import FieldError
from fleet_server.api.server import ServerOf
from fleet_server.db import telemetry

router = APIRouter(prefix="/devices/{device_id}/telemetry", tags=["devices"], dependencies=[VIEWER])


@router.get("")
def list_telemetry(
    server: ServerOf,
    device_id: str,
    *,
    paging: PagingOf,
    deployment: str | None = None,
    start: Annotated[Moment | None, Query(alias="from", description="Closed at this moment or later.")] = None,
    end: Annotated[Moment | None, Query(alias="to", description="Closed before this moment.")] = None,
    channel: Annotated[str | None, Query(description="Only this channel, with its histogram.")] = None,
) -> Page[TelemetryWindow]:
    """Windows of one device, oldest first, each with a summary per channel."""
    device = known_device(server, device_id)
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
    if not rows:
        require_deployment(device, deployment)
    page = paging.page(rows, key=lambda row: row.key, shape=lambda row: _window(row, server.artifacts))
    return _without_histograms(page) if channel is None else _only(page, channel)


def _window(row: telemetry.Window, artifacts: Artifacts) -> TelemetryWindow:
    return shape_of(TelemetryWindow, row).model_copy(update={"channels": _channels(row, artifacts)})


def _channels(row: telemetry.Window, artifacts: Artifacts) -> tuple[ChannelSummary, ...]:
    """Nothing when the model watches no channels, or this server does not hold the artifact."""
    artifact = artifacts.get(row.digest) if row.sketch else None
    if artifact is None or artifact.reference is None:
        return ()
    try:
        summaries = summarize(unpack(row.sketch), artifact.reference)
    except MessageError:
        # Ingestion lets through what parses; one odd window must not hide the others.
        return ()
    return tuple(shape_of(ChannelSummary, one) for one in summaries)


def _only(page: Page[TelemetryWindow], channel: str) -> Page[TelemetryWindow]:
    """The same windows with one channel each.

    Raises:
        FieldError: they have channels, but not this one.
    """
    names = {one.name for window in page.items for one in window.channels}
    if names and channel not in names:
        detail = f"no channel {channel[:80]!r} in these windows; they have {', '.join(sorted(names))}"
        raise FieldError(FieldProblem(pointer="channel", detail=detail))
    return _change_channels(page, lambda channels: tuple(one for one in channels if one.name == channel))


def _without_histograms(page: Page[TelemetryWindow]) -> Page[TelemetryWindow]:
    return _change_channels(
        page, lambda channels: tuple(one.model_copy(update={"histogram": None}) for one in channels)
    )


def _change_channels(
    page: Page[TelemetryWindow], change: Callable[[tuple[ChannelSummary, ...]], tuple[ChannelSummary, ...]]
) -> Page[TelemetryWindow]:
    items = tuple(window.model_copy(update={"channels": change(window.channels)}) for window in page.items)
    return Page(items=items, next=page.next)
