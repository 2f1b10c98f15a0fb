"""What people decide about single devices: pins and labels; and why one does not turn to another model."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from edgeops.api.shapes import (
    DeploymentWhy,
    Device,
    DeviceLabelsRequest,
    Hindrance,
    Id,
    Page,
    Pin,
    PinRequest,
    Why,
    shape_of,
)
from edgeops.rollout import pins as pinning
from fleet_server import roster, targets
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.devices import read_device
from fleet_server.api.editions import EditionsOf, edition_of
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import pins
from fleet_server.db.database import Connection
from fleet_server.why import Why as Held
from fleet_server.why import why

router = APIRouter(tags=["devices"], route_class=Act)


@router.get("/pins", dependencies=[VIEWER])
def list_pins(server: ServerOf, paging: PagingOf) -> Page[Pin]:
    """Which devices are pinned, by id; also what has ended by itself and was not removed."""
    with server.database.read() as connection:
        rows = pins.page(connection, after=paging.after(tuple[str, str]), limit=paging.wanted)
    return paging.page(rows, key=lambda row: (row.device_id, row.deployment or ""), shape=_pin)


@router.put("/devices/{device_id}/pin")
def pin_device(server: ServerOf, caller: Operator, editions: EditionsOf, device_id: str, wanted: PinRequest) -> Pin:
    """Keep a device, or one deployment of it, on a model: no rollout offers it another."""
    pin = pin_of(wanted, device_id, by=caller.name, now=server.now())
    with editions.unchanged(server.database, _edition_of(device_id, wanted.deployment), puts=True):
        pin, warning = targets.set_pin(server.database, pin)
    editions.show(edition_of(pin))
    return _pin(pin).model_copy(update={"warning": warning})


@router.delete("/devices/{device_id}/pin", status_code=204)
def unpin_device(
    server: ServerOf,
    caller: Operator,
    editions: EditionsOf,
    device_id: str,
    deployment: Annotated[Id | None, Query(description="The pin of this deployment alone.")] = None,
) -> Response:
    """Let rollouts have a device again."""
    with editions.unchanged(server.database, _edition_of(device_id, deployment)):
        targets.remove_pin(server.database, device_id, deployment, removed_by=caller.name, now=server.now())
    return Response(status_code=204)


@router.get("/devices/{device_id}/why", dependencies=[VIEWER])
def read_why(server: ServerOf, device_id: str) -> Why:
    """What holds each deployment of a device: gate, pin, window, incompatibility, silence, or nothing."""
    with server.database.read() as connection:
        device = roster.known(connection, device_id)
        found = why(connection, device, server.now())
    return Why(device_id=device_id, deployments=tuple(_why(one) for one in found))


@router.post("/devices/{device_id}/labels")
def label_device(server: ServerOf, caller: Operator, device_id: str, wanted: DeviceLabelsRequest) -> Device:
    """Give a device labels, and take others from it; those that are not named stay."""
    targets.set_labels(
        server.database, device_id, wanted.set, without=wanted.remove, set_by=caller.name, now=server.now()
    )
    return read_device(server, device_id)


def pin_of(wanted: PinRequest, device_id: str, *, by: str, now: datetime) -> pinning.Pin:
    """What somebody asks for, as it is kept."""
    return pinning.Pin(
        device_id=device_id,
        deployment=wanted.deployment,
        digest=wanted.digest,
        reason=wanted.reason,
        pinned_by=by,
        pinned_at=now,
        until=wanted.until,
    )


def _edition_of(device_id: str, deployment: str | None) -> Callable[[Connection], str | None]:
    def edition(connection: Connection) -> str | None:
        found = [one for one in pins.of(connection, device_id) if one.deployment == deployment]
        return edition_of(found[0]) if found else None

    return edition


def _pin(pin: pinning.Pin) -> Pin:
    return shape_of(Pin, pin).model_copy(update={"edition": edition_of(pin)})


def _why(one: Held) -> DeploymentWhy:
    situation = one.situation
    return DeploymentWhy(
        deployment=situation.deployment,
        active=situation.active,
        desired=situation.desired,
        rollout_id=None if situation.part is None else situation.part.rollout_id,
        hindrances=tuple(shape_of(Hindrance, each) for each in one.hindrances),
    )
