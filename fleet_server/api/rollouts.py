"""Rollouts: asked for by people, run by the engine."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Body

from edgeops.api.shapes import (
    Installation,
    Page,
    Rollout,
    RolloutAbort,
    RolloutDecision,
    RolloutRequest,
    RolloutUndo,
    Wave,
    shape_of,
)
from edgeops.errors import NotFoundError
from edgeops.rollout.rollout import waits_for
from edgeops.rollout.terms import write_terms
from fleet_server import engine
from fleet_server import rollout_orders as orders
from fleet_server.access import Identity
from fleet_server.api.callers import VIEWER, Approver, Operator
from fleet_server.api.editions import Editions, EditionsOf, ShownEdition
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.previews import order_of
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import installations, rollouts
from fleet_server.db.database import Connection, Database

router = APIRouter(prefix="/rollouts", tags=["rollouts"], route_class=Act)

Said = Annotated[RolloutDecision | None, Body()]
SaidToAbort = Annotated[RolloutAbort | None, Body()]
SaidToUndo = Annotated[RolloutUndo | None, Body()]


@router.post("", status_code=201)
def create_rollout(server: ServerOf, caller: Operator, editions: ShownEdition, wanted: RolloutRequest) -> Rollout:
    """Begin to bring a published artifact to the devices that `to` selects, wave by wave."""
    order = order_of(wanted, created_by=caller.name)
    return _read(server, editions, engine.create_rollout(server.database, order, server.now()))


@router.get("", dependencies=[VIEWER])
def list_rollouts(server: ServerOf, *, paging: PagingOf, deployment: str | None = None) -> Page[Rollout]:
    """All rollouts with their waves, newest first; of one deployment, they are its history."""
    with server.database.read() as connection:
        rows = rollouts.page(connection, after=paging.after(str), deployment=deployment, limit=paging.wanted)
        waves = rollouts.waves_by_rollout(connection, [row.id for row in rows])
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: _rollout(row, waves[row.id]))


@router.get("/{rollout_id}", dependencies=[VIEWER])
def read_rollout(server: ServerOf, editions: ShownEdition, rollout_id: str) -> Rollout:
    """One rollout with its waves."""
    return _read(server, editions, rollout_id)


@router.get("/{rollout_id}/installations", dependencies=[VIEWER])
def list_installations(server: ServerOf, rollout_id: str, paging: PagingOf) -> Page[Installation]:
    """Each deployment's part in a rollout, by id."""
    with server.database.read() as connection:
        if rollouts.get(connection, rollout_id) is None:
            raise _unknown(rollout_id)
        rows = installations.of_rollout(connection, rollout_id, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=_installation)


@router.post("/{rollout_id}/submit")
def submit_rollout(
    server: ServerOf, caller: Operator, editions: EditionsOf, rollout_id: str, said: Said = None
) -> Rollout:
    """Begin a draft, or have it approved first."""
    return _direct(server, caller, editions, rollout_id, said, orders.submit_rollout)


@router.post("/{rollout_id}/approve")
def approve_rollout(
    server: ServerOf, caller: Approver, editions: EditionsOf, rollout_id: str, said: Said = None
) -> Rollout:
    """Let a rollout begin that awaits approval."""
    return _direct(server, caller, editions, rollout_id, said, orders.approve_rollout)


@router.post("/{rollout_id}/deny")
def deny_rollout(
    server: ServerOf, caller: Approver, editions: EditionsOf, rollout_id: str, said: Said = None
) -> Rollout:
    """End a rollout that awaits approval."""
    return _direct(server, caller, editions, rollout_id, said, orders.deny_rollout)


@router.post("/{rollout_id}/pause")
def pause_rollout(
    server: ServerOf, caller: Operator, editions: EditionsOf, rollout_id: str, said: Said = None
) -> Rollout:
    """Ask no further device; those that are at it go on."""
    return _direct(server, caller, editions, rollout_id, said, orders.pause_rollout)


@router.post("/{rollout_id}/resume")
def resume_rollout(
    server: ServerOf, caller: Operator, editions: EditionsOf, rollout_id: str, said: Said = None
) -> Rollout:
    """Ask devices again."""
    return _direct(server, caller, editions, rollout_id, said, orders.resume_rollout)


@router.post("/{rollout_id}/advance")
def advance_rollout(
    server: ServerOf, caller: Approver, editions: EditionsOf, rollout_id: str, said: RolloutDecision
) -> Rollout:
    """Let the present wave pass without proof: an override, which needs a remark."""
    return _direct(server, caller, editions, rollout_id, said, orders.advance_rollout)


@router.post("/{rollout_id}/abort")
def abort_rollout(
    server: ServerOf,
    caller: Operator,
    editions: EditionsOf,
    rollout_id: str,
    said: Annotated[RolloutAbort | None, Body()] = None,
) -> Rollout:
    """End a rollout: what was only offered is taken back; what committed stays, unless it is to `roll_back`."""
    abort = partial(orders.abort_rollout, roll_back=said is not None and said.roll_back)
    return _direct(server, caller, editions, rollout_id, said, abort)


@router.post("/{rollout_id}/undo", status_code=201)
def undo_rollout(
    server: ServerOf,
    caller: Operator,
    editions: EditionsOf,
    rollout_id: str,
    said: Annotated[RolloutUndo | None, Body()] = None,
) -> Rollout:
    """Bring what an earlier rollout brought to the same devices, as a new rollout, which is the answer."""
    wanted = said or RolloutUndo()
    undo = partial(orders.undo_rollout, to=wanted.to, waves=wanted.waves)
    return _direct(server, caller, editions, rollout_id, wanted, undo)


@router.post("/{rollout_id}/retry")
def retry_rollout(
    server: ServerOf, caller: Operator, editions: EditionsOf, rollout_id: str, said: Said = None
) -> Rollout:
    """Ask those again that ended badly; of a rollout that has ended as a new one, which then is the answer."""
    return _direct(server, caller, editions, rollout_id, said, orders.retry_rollout)


def _direct(  # noqa: PLR0917 - what every verb has, and which one it is
    server: Server,
    caller: Identity,
    editions: Editions,
    rollout_id: str,
    said: RolloutDecision | None,
    order: Callable[[Database, str, orders.By], str | None],
) -> Rollout:
    """Carry out an order if the rollout is as the caller saw it; the answer is it, or the one that began."""
    by = orders.By(name=caller.name, now=server.now(), remark="" if said is None else said.remark)
    with editions.unchanged(server.database, lambda connection: _revision(connection, rollout_id)):
        begun = order(server.database, rollout_id, by)
        return _read(server, editions, begun or rollout_id)


def _revision(connection: Connection, rollout_id: str) -> int | None:
    rollout = rollouts.get(connection, rollout_id)
    return None if rollout is None else rollout.revision


def _read(server: Server, editions: Editions, rollout_id: str) -> Rollout:
    with server.database.read() as connection:
        rollout = rollouts.get(connection, rollout_id)
        if rollout is None:
            raise _unknown(rollout_id)
        editions.show(rollout.revision)
        return _rollout(rollout, rollouts.waves_of(connection, rollout_id))


def _unknown(rollout_id: str) -> NotFoundError:
    return NotFoundError(f"no rollout {rollout_id[:80]!r}; list them with: edgeops rollout list")


def _rollout(rollout: rollouts.Rollout, waves: Sequence[rollouts.Wave]) -> Rollout:
    waiting = waits_for(rollout.state)
    return Rollout(
        id=rollout.id,
        model=rollout.model,
        version=rollout.version,
        variant=rollout.variant,
        digest=rollout.digest,
        target=rollout.target,
        deployment=rollout.deployment,
        selector=rollout.selector,
        intent=rollout.intent,
        policy=write_terms(rollout.policy),
        wanted_waves=rollout.wanted_waves,
        continuous=rollout.continuous,
        state=rollout.state,
        reason=rollout.reason,
        wave=rollout.wave,
        revision=rollout.revision,
        needs_approval=rollout.needs_approval,
        approved_by=rollout.approved_by,
        starts_at=rollout.starts_at,
        began_at=rollout.began_at,
        deadline_at=rollout.deadline_at,
        undoes=rollout.undoes,
        waits_for="" if waiting is None else waiting.words,
        created_by=rollout.created_by,
        created_at=rollout.created_at,
        finished_at=rollout.finished_at,
        waves=tuple(shape_of(Wave, wave) for wave in waves),
    )


def _installation(installation: installations.Installation) -> Installation:
    return Installation(
        id=installation.id,
        rollout_id=installation.rollout_id,
        wave=installation.wave,
        device_id=installation.device_id,
        deployment=installation.deployment,
        digest=installation.digest,
        state=installation.state,
        reason=installation.reason,
        detail=installation.detail,
        evidence=msgspec.to_builtins(installation.evidence),
        attempt=installation.attempt,
        not_before=installation.not_before,
        deadline_at=installation.deadline_at,
        offered_at=installation.offered_at,
        updated_at=installation.updated_at,
        finished_at=installation.finished_at,
    )
