"""Incidents: devices that run something else than they shall."""

from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import CloseRequest, Incident, Page, shape_of
from edgeops.errors import ConflictError, NotFoundError
from fleet_server.api import pages
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import audit, incidents

router = APIRouter(prefix="/incidents", tags=["devices"], dependencies=[VIEWER], route_class=Act)


@router.get("")
def list_incidents(
    server: ServerOf,
    *,
    paging: PagingOf,
    is_open: Annotated[
        bool | None, Query(alias="open", description="Only those that are open, or only the others.")
    ] = None,
    device: Annotated[str | None, Query(max_length=63, description="Only of this device.")] = None,
) -> Page[Incident]:
    """What devices ran that they should not, the latest first."""
    with server.database.read() as connection:
        rows = incidents.page(
            connection,
            is_open=is_open,
            device_id=device,
            after=paging.after(tuple[pages.Moment, str]),
            limit=paging.wanted,
        )
    return paging.page(rows, key=lambda row: row.key, shape=lambda row: shape_of(Incident, row))


@router.get("/{incident_id}")
def read_incident(server: ServerOf, incident_id: str) -> Incident:
    """One incident."""
    return _read(server, incident_id)


@router.post("/{incident_id}/close")
def close_incident(server: ServerOf, caller: Operator, incident_id: str, asked: CloseRequest) -> Incident:
    """Say that somebody looked; the same is not opened again before the device was right once more."""
    _read(server, incident_id)
    with server.database.write() as connection:
        now = server.now()
        if not incidents.close(connection, incident_id, closed_by=caller.name, remark=asked.remark, now=now):
            raise ConflictError(f"incident {incident_id} is closed already; nothing is left to close")
        audit.append(connection, caller.name, "incident.closed", incident_id, {}, now, remark=asked.remark)
    return _read(server, incident_id)


def _read(server: Server, incident_id: str) -> Incident:
    with server.database.read() as connection:
        incident = incidents.get(connection, incident_id)
    if incident is None:
        raise NotFoundError(f"no incident {incident_id[:80]!r}; list them with: edgeops incident list")
    return shape_of(Incident, incident)
