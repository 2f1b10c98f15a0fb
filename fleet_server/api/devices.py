"""Devices: who they are, what they shall run, what they do run."""

from fastapi import APIRouter

from edgeops.api.shapes import DeploymentReport, DesiredDeployment, Device, DeviceFacts, Page, shape_of
from edgeops.errors import NotFoundError
from edgeops.protocol.messages import Desired
from fleet_server.api.callers import VIEWER
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import devices

router = APIRouter(prefix="/devices", tags=["devices"], dependencies=[VIEWER])


@router.get("")
def list_devices(server: ServerOf, paging: PagingOf) -> Page[Device]:
    """All enrolled devices, by id."""
    with server.database.read() as connection:
        rows = devices.page(connection, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=_device)


@router.get("/{device_id}")
def read_device(server: ServerOf, device_id: str) -> Device:
    """One device, with what it shall run."""
    device = known_device(server, device_id)
    with server.database.read() as connection:
        desired = devices.desired_of(connection, device_id)
    return _device(device, desired)


def known_device(server: Server, device_id: str) -> devices.Device:
    """An enrolled device.

    Raises:
        NotFoundError: it is unknown or removed.
    """
    with server.database.read() as connection:
        device = devices.get(connection, device_id)
    if device is None or device.removed_at is not None:
        raise NotFoundError(f"no device {device_id[:80]!r}; list them with: edgeops devices list")
    return device


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


def _device(device: devices.Device, desired: Desired | None = None) -> Device:
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
        desired=() if desired is None else tuple(shape_of(DesiredDeployment, one) for one in desired.deployments),
    )
