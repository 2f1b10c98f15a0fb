"""Rollouts: asked for by people, run by the engine."""

from collections.abc import Sequence

import msgspec
from fastapi import APIRouter

from edgeops.api.shapes import Installation, Page, Rollout, RolloutRequest, Wave, shape_of
from edgeops.errors import NotFoundError
from fleet_server import engine
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.editions import Editions, EditionsOf, ShownEdition
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import rollouts
from fleet_server.db.database import Connection
from fleet_server.rollout_plans import Order

router = APIRouter(prefix="/rollouts", tags=["rollouts"], route_class=Act)


@router.post("", status_code=201)
def create_rollout(server: ServerOf, caller: Operator, editions: ShownEdition, wanted: RolloutRequest) -> Rollout:
    """Begin to bring a published artifact to the devices that `to` selects, wave by wave."""
    order = Order(
        model=wanted.model,
        version=wanted.version,
        variant=wanted.variant,
        deployment=wanted.deployment,
        selector=wanted.to,
        waves=wanted.waves,
        intent=wanted.intent,
        created_by=caller.name,
    )
    return _read(server, editions, engine.create_rollout(server.database, order, server.now()))


@router.get("", dependencies=[VIEWER])
def list_rollouts(server: ServerOf, paging: PagingOf) -> Page[Rollout]:
    """All rollouts with their waves, newest first."""
    with server.database.read() as connection:
        rows = rollouts.page(connection, after=paging.after(str), limit=paging.wanted)
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
        rows = rollouts.installations_of(connection, rollout_id, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=_installation)


@router.post("/{rollout_id}/abort")
def abort_rollout(server: ServerOf, caller: Operator, editions: EditionsOf, rollout_id: str) -> Rollout:
    """End a rollout: what committed stays, what was only offered is taken back."""
    with editions.unchanged(server.database, lambda connection: _revision(connection, rollout_id)):
        engine.abort_rollout(server.database, rollout_id, aborted_by=caller.name, now=server.now())
        return _read(server, editions, rollout_id)


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
        policy=msgspec.to_builtins(rollout.policy),
        state=rollout.state,
        reason=rollout.reason,
        wave=rollout.wave,
        revision=rollout.revision,
        created_by=rollout.created_by,
        created_at=rollout.created_at,
        finished_at=rollout.finished_at,
        waves=tuple(shape_of(Wave, wave) for wave in waves),
    )


def _installation(installation: rollouts.Installation) -> Installation:
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
        offered_at=installation.offered_at,
        updated_at=installation.updated_at,
        finished_at=installation.finished_at,
    )
