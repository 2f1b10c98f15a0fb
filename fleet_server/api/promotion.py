"""The promotion gate: what a model's rules tolerate, and who goes past it."""

import msgspec
from fastapi import APIRouter

from edgeops.api.shapes import Job, OverrideRequest, PromotionPolicy, PromotionPolicyRequest
from edgeops.errors import NotFoundError
from edgeops.learning import promotion_policy as limits_of
from fleet_server.api.callers import VIEWER, Approver
from fleet_server.api.editions import Editions, EditionsOf, ShownEdition, edition_of
from fleet_server.api.jobs import queue_job
from fleet_server.api.models import VersionNumber, known_artifacts
from fleet_server.api.once import Act
from fleet_server.api.server import ServerOf
from fleet_server.db import models, promotion_policies
from fleet_server.db.database import Connection
from fleet_server.db.jobs import Publish
from fleet_server.override import override_gate

router = APIRouter(prefix="/models/{name}", tags=["models"], route_class=Act)


@router.get("/promotion/policy", dependencies=[VIEWER])
def read_promotion_policy(server: ServerOf, editions: ShownEdition, name: str) -> PromotionPolicy:
    """What the rules of a model tolerate."""
    with server.database.read() as connection:
        _require_model(connection, name)
        policy = promotion_policies.get(connection, name)
    return _shown(editions, policy)


@router.put("/promotion/policy")
def write_promotion_policy(
    server: ServerOf, caller: Approver, editions: EditionsOf, name: str, wanted: PromotionPolicyRequest
) -> PromotionPolicy:
    """Make these the limits that the next versions of a model are judged by; what is left out is the default."""
    unchanged = editions.unchanged(
        server.database, lambda connection: edition_of(promotion_policies.get(connection, name)), puts=True
    )
    with unchanged, server.database.write() as connection:
        _require_model(connection, name)
        policy = limits_of.read_promotion_policy(wanted.model_dump(exclude_none=True))
        promotion_policies.put(connection, name, policy, updated_by=caller.name, now=server.now())
    return _shown(editions, policy)


@router.post("/versions/{version}/override", status_code=202)
def override_promotion_gate(
    server: ServerOf, caller: Approver, name: str, version: VersionNumber, wanted: OverrideRequest
) -> Job:
    """Go past the promotion gate of a version, which a job then signs and lists; nobody of their own, by four eyes."""
    artifacts = known_artifacts(server, name, version, wanted.variant)
    override_gate(
        server.database, artifacts, variant=wanted.variant, by=caller.name, remark=wanted.remark, now=server.now()
    )
    return queue_job(server, caller, Publish(model=name, version=version, variant=wanted.variant))


def _shown(editions: Editions, policy: limits_of.PromotionPolicy) -> PromotionPolicy:
    edition = edition_of(policy)
    editions.show(edition)
    return PromotionPolicy(**msgspec.to_builtins(policy), edition=edition)


def _require_model(connection: Connection, name: str) -> None:
    if models.get(connection, name) is None:
        raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
