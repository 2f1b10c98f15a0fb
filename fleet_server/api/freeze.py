"""The fleet-wide freeze: no device is asked for anything new while it lasts."""

from typing import Annotated

from fastapi import APIRouter, Body

from edgeops.api.shapes import Freeze, Freezing, RolloutDecision, shape_of
from fleet_server import rollout_freeze
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.once import Act
from fleet_server.api.server import Server, ServerOf

router = APIRouter(prefix="/freeze", tags=["rollouts"], route_class=Act)

Said = Annotated[RolloutDecision | None, Body()]


@router.get("", dependencies=[VIEWER])
def read_freeze(server: ServerOf) -> Freezing:
    """Whether devices are asked."""
    return _read(server)


@router.put("")
def freeze_fleet(server: ServerOf, caller: Operator, said: Said = None) -> Freezing:
    """Ask no device from now on; what is taken back is taken back."""
    remark = "" if said is None else said.remark
    rollout_freeze.freeze(server.database, by=caller.name, remark=remark, now=server.now())
    return _read(server)


@router.delete("")
def thaw_fleet(server: ServerOf, caller: Operator) -> Freezing:
    """Ask devices again."""
    rollout_freeze.thaw(server.database, by=caller.name, remark="", now=server.now())
    return _read(server)


def _read(server: Server) -> Freezing:
    with server.database.read() as connection:
        present = rollout_freeze.frozen(connection)
    return Freezing(freeze=None if present is None else shape_of(Freeze, present))
