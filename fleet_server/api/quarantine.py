"""Messages that were not believed."""

from fastapi import APIRouter

from edgeops.api.shapes import Page, QuarantinedMessage, shape_of
from fleet_server.api.callers import VIEWER
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import telemetry

router = APIRouter(prefix="/quarantine", tags=["devices"], dependencies=[VIEWER])


@router.get("")
def list_quarantine(server: ServerOf, paging: PagingOf, device: str | None = None) -> Page[QuarantinedMessage]:
    """What was put aside and why, newest first; payloads stay inside."""
    with server.database.read_telemetry() as connection:
        rows = telemetry.quarantine_page(connection, device_id=device, after=paging.after(Ordinal), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(QuarantinedMessage, row))
