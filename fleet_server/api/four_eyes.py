"""Four eyes: whether somebody else than who began a rollout has to approve it or override its gate."""

from typing import Annotated

from fastapi import APIRouter, Body

from edgeops.api.shapes import EyesDemand, FourEyes, RolloutDecision, shape_of
from fleet_server import four_eyes
from fleet_server.api.callers import VIEWER, Admin
from fleet_server.api.once import Act
from fleet_server.api.server import Server, ServerOf

router = APIRouter(prefix="/four-eyes", tags=["rollouts"], route_class=Act)

Said = Annotated[RolloutDecision | None, Body()]


@router.get("", dependencies=[VIEWER])
def read_four_eyes(server: ServerOf) -> FourEyes:
    """Whether they are demanded."""
    return _read(server)


@router.put("")
def demand_four_eyes(server: ServerOf, caller: Admin, said: Said = None) -> FourEyes:
    """Have nobody approve or override what they began."""
    remark = "" if said is None else said.remark
    four_eyes.demand_four_eyes(server.database, by=caller.name, remark=remark, now=server.now())
    return _read(server)


@router.delete("")
def waive_four_eyes(server: ServerOf, caller: Admin) -> FourEyes:
    """Let one person begin and approve."""
    four_eyes.waive_four_eyes(server.database, by=caller.name, now=server.now())
    return _read(server)


def _read(server: Server) -> FourEyes:
    with server.database.read() as connection:
        present = four_eyes.four_eyes(connection)
    return FourEyes(demand=None if present is None else shape_of(EyesDemand, present))
