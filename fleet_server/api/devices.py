"""Devices: who they are, what they shall run, what they do run; and how they leave."""

from collections.abc import Iterable

from fastapi import APIRouter, Response

from edgeops.api.shapes import DeploymentReport, DesiredDeployment, Device, DeviceFacts, Page, shape_of
from edgeops.errors import NotFoundError
from edgeops.protocol import messages
from fleet_server import roster
from fleet_server.api.callers import VIEWER, Admin, Operator
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import devices

router = APIRouter(prefix="/devices", tags=["devices"], dependencies=[VIEWER], route_class=Act)


@router.get("")
def list_devices(server: ServerOf, paging: PagingOf) -> Page[Device]:
    """All enrolled devices, by id."""
    with server.database.read() as connection:
        rows = devices.page(connection, after=paging.after(str), limit=paging.wanted)
        wanted = devices.wanted_by_device(connection, [row.id for row in rows])
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: _device(row, wanted[row.id]))


@router.get("/{device_id}")
def read_device(server: ServerOf, device_id: str) -> Device:
    """One device, with what it shall run."""
    with server.database.read() as connection:
        device = roster.known(connection, device_id)
        wanted = devices.wanted_by_device(connection, [device_id])
    return _device(device, wanted[device_id])


@router.delete("/{device_id}", status_code=204)
def remove_device(server: ServerOf, caller: Admin, device_id: str) -> Response:
    """Take a device out of the fleet for good: keys and broker account are revoked, what it said stays."""
    roster.remove(server.config, server.database, device_id, removed_by=caller.name, now=server.now())
    return Response(status_code=204)


@router.post("/{device_id}/release")
def release_device(server: ServerOf, caller: Operator, device_id: str) -> Device:
    """Believe a device again that was in quarantine."""
    roster.release(server.database, device_id, released_by=caller.name, now=server.now())
    return read_device(server, device_id)


def known_device(server: Server, device_id: str) -> devices.Device:
    """An enrolled device.

    Raises:
        NotFoundError: it is unknown or removed.
    """
    with server.database.read() as connection:
        return roster.known(connection, device_id)


def require_deployment(device: devices.Device, deployment: str | None) -> None:
    """Nothing, when the device reports this deployment or none is asked for.

    Raises:
        NotFoundError: it does not.
    """
    reported = () if device.reported is None else device.reported.deployments
    names = [one.deployment for one in reported]
    if deployment is not None and deployment not in names:
        known = f"it reports {', '.join(names)}" if names else "it has reported none yet"
        raise NotFoundError(f"device {device.id} has no deployment {deployment[:80]!r}; {known}")


def _device(device: devices.Device, wanted: Iterable[messages.DesiredDeployment]) -> Device:
    reported = device.reported
    return Device(
        id=device.id,
        name=device.name,
        hardware=device.hardware,
        labels=dict(device.labels),
        enrolled_at=device.enrolled_at,
        presence=device.presence,
        quarantined=device.quarantined,
        agent_version=device.agent_version,
        last_seen_at=device.last_seen_at,
        reported_at=device.reported_at,
        facts=None if reported is None else shape_of(DeviceFacts, reported.facts),
        deployments=() if reported is None else tuple(shape_of(DeploymentReport, one) for one in reported.deployments),
        counters={} if reported is None else reported.counters,
        detail="" if reported is None else reported.detail,
        desired=tuple(shape_of(DesiredDeployment, one) for one in wanted),
    )
