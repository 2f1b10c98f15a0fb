"""Where models came from and where they ran."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import Answered, LearntSnapshot, Lineage, Page, Stay, shape_of
from edgeops.errors import NotFoundError
from fleet_server.api.callers import VIEWER
from fleet_server.api.devices import known_device
from fleet_server.api.models import VersionNumber
from fleet_server.api.pages import PagingOf
from fleet_server.api.runs import shown_run
from fleet_server.api.server import ServerOf
from fleet_server.db import datasets, models, runs, stays, telemetry
from fleet_server.db.database import Connection

router = APIRouter(tags=["models"], dependencies=[VIEWER])


@router.get("/models/{name}/history")
def list_history(
    server: ServerOf,
    paging: PagingOf,
    name: str,
    version: Annotated[int | None, Query(ge=1, le=999_999_999, description="Only of this version.")] = None,
) -> Page[Stay]:
    """On which deployments of which devices a model ran, from when to when; what came last comes first."""
    with server.database.read() as connection:
        if models.get(connection, name) is None:
            raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
        rows = stays.page(connection, name, version=version, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.installation, shape=lambda row: shape_of(Stay, row))


@router.get("/models/{name}/versions/{version}/lineage")
def read_lineage(server: ServerOf, name: str, version: VersionNumber) -> Lineage:
    """What a version was made of: its run, and the snapshots that it learnt from with all their parents."""
    with server.database.read() as connection:
        known = models.get_version(connection, name, version)
        if known is None:
            raise NotFoundError(f"no version {version} of a model {name[:80]!r}; list them with: edgeops model list")
        run = runs.get(connection, known.run_id)
        assert run is not None, "a version has a run"
        champion = _champion(connection, run)
        learnt = tuple(_snapshots(connection, run.snapshot))
    return Lineage(
        model=name, version=version, run=shown_run(run, {run.id: version}), snapshots=learnt, champion=champion
    )


@router.get("/devices/{device_id}/lineage")
def read_answered(
    server: ServerOf,
    device_id: str,
    deployment: Annotated[str, Query(max_length=100)],
    input_id: Annotated[
        str | None, Query(alias="input", max_length=100, description="Its id; without it the latest answer.")
    ] = None,
) -> Page[Answered]:
    """Which version answered an input, the latest answer first."""
    known_device(server, device_id)
    with server.database.read_telemetry() as connection:
        if input_id is None:
            latest = telemetry.latest_predictions(connection, device_id)
            found = tuple(one for one in latest if one.deployment == deployment)
        else:
            found = telemetry.answers_to(connection, device_id, deployment, input_id)
    with server.database.read() as connection:
        return Page(items=tuple(_answered(connection, device_id, one) for one in found))


def _snapshots(connection: Connection, digest: str | None) -> Iterator[LearntSnapshot]:
    while digest is not None and (one := datasets.get_snapshot(connection, digest)) is not None:
        schema = one.schema
        yield LearntSnapshot(
            digest=one.digest,
            dataset=one.dataset,
            rows=one.rows,
            source=schema.source,
            bought_rows=schema.bought_rows,
            devices=schema.devices,
            without=schema.without,
            created_at=one.created_at,
            erased_at=one.erased_at,
        )
        digest = one.parent


def _champion(connection: Connection, run: runs.Run) -> int | None:
    digests = () if run.healing is None else tuple(run.healing.champion.values())
    found = (models.artifact_by_digest(connection, one) for one in digests)
    return next((one.version for one in found if one is not None), None)


def _answered(connection: Connection, device_id: str, one: telemetry.Prediction) -> Answered:
    artifact = models.artifact_by_digest(connection, one.digest)
    return Answered(
        device=device_id,
        deployment=one.deployment,
        input_id=one.input_id,
        answered_at=one.answered_at,
        digest=one.digest,
        model=None if artifact is None else artifact.model,
        version=None if artifact is None else artifact.version,
        variant=None if artifact is None else artifact.variant,
    )
