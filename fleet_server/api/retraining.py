"""Retraining: its policy, what fired and how far it came, and what people ask of it."""

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter

from edgeops import limits
from edgeops.api.shapes import (
    NominationAnswer,
    Page,
    Retraining,
    RetrainingPolicy,
    RetrainingPolicyRequest,
    RetrainingRequest,
    shape_of,
)
from edgeops.errors import InputError, NotFoundError
from edgeops.learning.healing_groups import missing_groups
from edgeops.learning.triggers import RetrainPolicy, read_policy
from edgeops.rollout.terms import write_terms
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.editions import EditionsOf, ShownEdition, edition_of
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import groups, label_queue, models, nominations, policies, retrainings
from fleet_server.db.database import Connection
from fleet_server.retraining_orders import cancel_retraining, start_retraining

router = APIRouter(tags=["retraining"], route_class=Act)


@router.get("/models/{name}/retraining/policy", dependencies=[VIEWER])
def read_retraining_policy(server: ServerOf, editions: ShownEdition, name: str) -> RetrainingPolicy:
    """How a model is retrained."""
    with server.database.read() as connection:
        _require_model(connection, name)
        policy = policies.get(connection, name)
    edition = edition_of(policy)
    editions.show(edition)
    return _policy(policy).model_copy(update={"edition": edition})


@router.put("/models/{name}/retraining/policy")
def write_retraining_policy(
    server: ServerOf, caller: Operator, editions: EditionsOf, name: str, wanted: RetrainingPolicyRequest
) -> RetrainingPolicy:
    """Make this the policy of a model; what is left out is the default."""
    unchanged = editions.unchanged(
        server.database, lambda connection: edition_of(policies.get(connection, name)), puts=True
    )
    with unchanged, server.database.write() as connection:
        _require_model(connection, name)
        policy = read_policy(wanted.model_dump(mode="json", exclude_none=True))
        _require_groups(connection, policy)
        policies.put(connection, name, policy, updated_by=caller.name, now=server.now())
    edition = edition_of(policy)
    editions.show(edition)
    return _policy(policy).model_copy(update={"edition": edition})


@router.post("/models/{name}/retrainings", status_code=201)
def start(server: ServerOf, caller: Operator, name: str, wanted: RetrainingRequest | None = None) -> Retraining:
    """Retrain a model now, or approve what is proposed."""
    asked = wanted or RetrainingRequest()
    retraining_id = start_retraining(
        server.database,
        name,
        started_by=caller.name,
        now=server.now(),
        labels_wanted=asked.labels,
        random_share=asked.random_share,
        without_devices=asked.without_devices,
        deployment=asked.deployment,
        remark=asked.remark,
    )
    return _read(server, retraining_id)


@router.get("/models/{name}/retrainings", dependencies=[VIEWER])
def list_retrainings_of_model(server: ServerOf, name: str, paging: PagingOf) -> Page[Retraining]:
    """Every firing of a trigger of one model, newest first."""
    with server.database.read() as connection:
        _require_model(connection, name)
    return _list(server, paging, name)


@router.get("/retrainings", dependencies=[VIEWER])
def list_retrainings(server: ServerOf, paging: PagingOf) -> Page[Retraining]:
    """Every firing of a trigger, newest first."""
    return _list(server, paging, None)


@router.get("/retrainings/{retraining_id}", dependencies=[VIEWER])
def read_retraining(server: ServerOf, retraining_id: str) -> Retraining:
    """One retraining, with its nominations."""
    return _read(server, retraining_id)


@router.post("/retrainings/{retraining_id}/cancel")
def cancel(server: ServerOf, caller: Operator, retraining_id: str) -> Retraining:
    """End a retraining; the model that runs goes on."""
    cancel_retraining(server.database, retraining_id, cancelled_by=caller.name, now=server.now())
    return _read(server, retraining_id)


def _list(server: Server, paging: PagingOf, model: str | None) -> Page[Retraining]:
    with server.database.read() as connection:
        rows = retrainings.page(connection, model=model, after=paging.after(str), limit=paging.wanted)
        queues = {row.id: label_queue.counts(connection, row.id) for row in rows if row.labels_wanted}
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: _retraining(row, queues.get(row.id, {})))


def _read(server: Server, retraining_id: str) -> Retraining:
    with server.database.read() as connection:
        row = retrainings.get(connection, retraining_id)
        if row is None:
            raise NotFoundError(f"no retraining {retraining_id[:80]!r}; list them with: edgeops retrain history")
        asked = nominations.of_asker(connection, retraining_id)
        shown = _retraining(row, label_queue.counts(connection, retraining_id))
    return shown.model_copy(update={"nominations": tuple(shape_of(NominationAnswer, one) for one in asked)})


def _retraining(row: retrainings.Retraining, queue: Mapping[label_queue.ItemState, int]) -> Retraining:
    return Retraining(
        id=row.id,
        model=row.model,
        deployment=row.deployment,
        digest=row.digest,
        trigger=row.trigger,
        evidence=msgspec.to_builtins(row.evidence),
        decision=row.decision,
        cause=row.cause,
        reason=row.reason,
        policy=_policy(row.policy),
        without_devices=row.without_devices,
        state=row.state,
        entered_at=row.entered_at,
        detail=row.detail,
        labels_wanted=row.labels_wanted,
        queue={state.value: count for state, count in sorted(queue.items())},
        job_id=row.job_id,
        snapshot=row.snapshot,
        version=row.version,
        rollout_id=row.rollout_id,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
    )


def _policy(policy: RetrainPolicy) -> RetrainingPolicy:
    values = {**msgspec.to_builtins(policy), "rollout_policy": write_terms(policy.rollout_policy)}
    return RetrainingPolicy.model_validate(values)


def _require_groups(connection: Connection, policy: RetrainPolicy) -> None:
    """No healing is to fail for want of a group when its labels were bought."""
    objections = tuple(missing_groups(policy, groups.names(connection, limit=limits.MAX_GROUPS)))
    if objections:
        words = "; ".join(one.detail for one in objections)
        raise InputError(words, fields=[(one.pointer, one.detail) for one in objections])


def _require_model(connection: Connection, name: str) -> None:
    if models.get(connection, name) is None:
        raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
