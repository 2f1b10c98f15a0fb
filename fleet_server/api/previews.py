"""Previews of rollouts: the same plan as the creation's, told and not kept."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from fastapi import APIRouter

from edgeops.api.shapes import (
    FieldProblem,
    Placement,
    PlannedWave,
    RolloutPreview,
    RolloutPreviewRequest,
    RolloutRequest,
)
from edgeops.errors import InputError
from edgeops.rollout import targeting
from edgeops.rollout.objection import segment
from edgeops.rollout.pins import Pin
from edgeops.rollout.selector import Selector
from fleet_server.api.callers import Viewer
from fleet_server.api.once import Act
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.pins import pin_of
from fleet_server.api.server import ServerOf
from fleet_server.db import groups
from fleet_server.rollout_plans import Order, ToBe, plan_rollout

#: Not of the class `Act`: nothing is done, so that a repetition needs no memory.
router = APIRouter(prefix="/rollouts", tags=["rollouts"], route_class=Act)


@router.post("/preview")
def preview_rollout(
    server: ServerOf, caller: Viewer, paging: PagingOf, wanted: RolloutPreviewRequest
) -> RolloutPreview:
    """What a rollout would do if it were created now: every device that it means, its wave, and why it is left out.

    Nothing is kept; each part is computed anew.
    """
    now = server.now()
    to_be = ToBe(groups=_groups_to_be(wanted), pins=_pins_to_be(wanted, by=caller.name, now=now))
    with server.database.read() as connection:
        planned = plan_rollout(connection, order_of(wanted, created_by=""), now, to_be=to_be)
    plan = planned.plan
    waves = plan.wave_of()
    held_back = {one.id for wave in plan.waves if wave.control for one in wave.devices}
    after = paging.after(Ordinal)
    start = 0 if after is None else after + 1
    part = paging.page(
        tuple(enumerate(plan.placements))[start : start + paging.wanted],
        key=lambda row: row[0],
        shape=lambda row: _placement(row[1], waves, held_back),
    )
    return RolloutPreview(
        matched=len(plan.placements),
        asked=sum(one.is_in for one in plan.placements),
        totals=plan.totals(),
        waves=tuple(
            PlannedWave(position=number, size=len(wave.devices), selector=wave.selector, control=wave.control)
            for number, wave in enumerate(plan.waves)
        ),
        problems=tuple(FieldProblem(pointer=one.pointer, detail=one.detail) for one in planned.objections),
        items=part.items,
        next=part.next,
    )


def order_of(wanted: RolloutRequest, *, created_by: str) -> Order:
    """What is asked for, as it is planned and created."""
    return Order(
        model=wanted.model,
        version=wanted.version,
        variant=wanted.variant,
        deployment=wanted.deployment,
        selector=wanted.to,
        waves=wanted.waves,
        intent=wanted.intent,
        created_by=created_by,
        policy=wanted.policy,
        continuous=wanted.continuous,
        draft=wanted.draft,
        needs_approval=wanted.needs_approval,
        starts_at=wanted.starts_at,
    )


def _groups_to_be(wanted: RolloutPreviewRequest) -> dict[str, Selector]:
    means = {}
    for name, group in wanted.groups.items():
        try:
            means[name] = groups.meant(group.selector or "", group.device_ids or ())
        except InputError as error:
            pointer = f"#/groups/{segment(name)}/selector"
            raise InputError(str(error), fields=[(pointer, str(error))]) from error
    return means


def _pins_to_be(wanted: RolloutPreviewRequest, *, by: str, now: datetime) -> dict[str, dict[str | None, Pin | None]]:
    pins: dict[str, dict[str | None, Pin | None]] = defaultdict(dict)
    for one in wanted.pins:
        pins[one.device_id][one.deployment] = None if one.removed else pin_of(one, one.device_id, by=by, now=now)
    return pins


def _placement(one: targeting.Placement, waves: Mapping[str, int], held_back: Collection[str]) -> Placement:
    return Placement(
        device_id=one.device.id,
        name=one.device.name,
        online=one.device.online,
        standing=one.standing,
        reason=one.reason,
        wave=waves.get(one.device.id),
        control=one.device.id in held_back,
    )
