"""Models: their versions, and which artifacts devices may run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from edgeops.api.shapes import (
    Artifact,
    Benchmark,
    Job,
    Model,
    Page,
    Promotion,
    PublishRequest,
    Requirements,
    Version,
    WithdrawRequest,
    shape_of,
)
from edgeops.artifact.manifest import Variant
from edgeops.errors import ConflictError, NotFoundError
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.jobs import queue_job
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.promises import may_fail
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import aliases, benchmarks, models, runs
from fleet_server.db.jobs import Publish, Withdraw
from fleet_server.publish import require_promotion

router = APIRouter(prefix="/models", tags=["models"], route_class=Act)

VersionNumber = Annotated[int, InPath(ge=1, le=999_999_999)]


@router.get("", dependencies=[VIEWER])
def list_models(server: ServerOf, paging: PagingOf) -> Page[Model]:
    """All models, by name."""
    with server.database.read() as connection:
        rows = models.page(connection, paging.after(str), paging.wanted)
        names = [row.name for row in rows]
        latest, holders = models.latest_versions(connection, names), aliases.holders(connection, names)
    return paging.page(
        rows,
        key=lambda row: row.name,
        shape=lambda row: _model(row, latest.get(row.name), holders.get(row.name, {})),
    )


@router.get("/{name}", dependencies=[VIEWER])
def read_model(server: ServerOf, name: str) -> Model:
    """One model with its versions, newest first."""
    with server.database.read() as connection:
        model = models.get(connection, name)
        if model is None:
            raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
        artifacts = models.artifacts_by_version(connection, name)
        versions = [_version(row, artifacts[row.version]) for row in models.list_versions(connection, name)]
        holders = aliases.holders(connection, [name]).get(name, {})
    return _model(model, versions[0].version if versions else None, holders, tuple(versions))


@router.get("/{name}/versions/{version}", dependencies=[VIEWER])
def read_version(server: ServerOf, name: str, version: VersionNumber) -> Version:
    """One version: its artifacts, what it answers, columns, channels, what to know about its reference, benchmarks."""
    row, artifacts = known_version(server, name, version)
    with server.database.read() as connection:
        run = runs.get(connection, row.run_id)
        measured = benchmarks.of_run(connection, row.run_id)
    warnings = () if run is None else run.warnings
    told = tuple(shape_of(Benchmark, one) for one in measured)
    shown = _version(row, artifacts).model_copy(update={"warnings": warnings, "benchmarks": told})
    if not artifacts:
        return shown
    # Variants differ in their tensors and thresholds, never in what goes in and comes out.
    manifest = artifacts[0].describe().manifest
    return shown.model_copy(
        update={
            "task": manifest.task,
            "labels": manifest.output.labels,
            "units": manifest.output.units,
            "columns": manifest.window.columns,
            "channels": tuple(channel.name for channel in manifest.channels),
        }
    )


@router.post("/{name}/versions/{version}/publish", status_code=202)
def publish_version(
    server: ServerOf, caller: Operator, name: str, version: VersionNumber, wanted: PublishRequest | None = None
) -> Job:
    """Sign and list the artifacts of a version that its promotion gate let pass; a job does it."""
    variant = None if wanted is None else wanted.variant
    require_promotion(known_artifacts(server, name, version, variant))
    return queue_job(server, caller, Publish(model=name, version=version, variant=variant))


@router.post("/{name}/versions/{version}/withdraw", status_code=202)
def withdraw_version(
    server: ServerOf, caller: Operator, name: str, version: VersionNumber, wanted: WithdrawRequest | None = None
) -> Job:
    """List the artifacts of a version no longer; a job does it."""
    variant = None if wanted is None else wanted.variant
    known_artifacts(server, name, version, variant)
    return queue_job(server, caller, Withdraw(model=name, version=version, variant=variant))


@router.get(
    "/{name}/versions/{version}/artifacts/{variant}",
    dependencies=[VIEWER],
    response_class=FileResponse,
    responses=may_fail(409),
)
def read_artifact(server: ServerOf, name: str, version: VersionNumber, variant: str) -> FileResponse:
    """The file of one variant, as devices get it."""
    artifact = _known_artifact(server, name, version, variant)
    path = file_of(server, artifact)
    return FileResponse(path, media_type="application/octet-stream", filename=f"{name}-{version}-{variant}.tflite")


@router.get("/{name}/versions/{version}/artifacts/{variant}/descriptor", dependencies=[VIEWER], response_class=Response)
def read_descriptor(server: ServerOf, name: str, version: VersionNumber, variant: str) -> Response:
    """The exact bytes that TUF signs for one variant."""
    artifact = _known_artifact(server, name, version, variant)
    return Response(artifact.descriptor, media_type="application/json")


def file_of(server: Server, artifact: models.Artifact) -> Path:
    """Where its file lies.

    Raises:
        ConflictError: it is gone.
    """
    path = server.blobs.path(artifact.digest)
    if not path.is_file():
        raise ConflictError(f"the file of {artifact.target} ({artifact.digest}) is gone; train the version again")
    return path


def known_artifacts(server: Server, name: str, version: int, variant: Variant | None) -> list[models.Artifact]:
    """One artifact of a version, or all.

    Raises:
        NotFoundError: there is none.
    """
    if variant is not None:
        return [_known_artifact(server, name, version, variant)]
    return known_version(server, name, version)[1]


def _known_artifact(server: Server, name: str, version: int, variant: str) -> models.Artifact:
    _, artifacts = known_version(server, name, version)
    found = next((artifact for artifact in artifacts if artifact.variant == variant), None)
    if found is None:
        raise _no_variant(name, version, variant, artifacts)
    return found


def known_version(server: Server, name: str, version: int) -> tuple[models.Version, list[models.Artifact]]:
    """A version and its artifacts.

    Raises:
        NotFoundError: there is none of that number.
    """
    with server.database.read() as connection:
        row = models.get_version(connection, name, version)
        artifacts = models.list_artifacts(connection, name, version)
    if row is None:
        raise NotFoundError(f"no version {version} of a model {name[:80]!r}; list them with: edgeops model list")
    return row, artifacts


def _no_variant(name: str, version: int, variant: str, artifacts: list[models.Artifact]) -> NotFoundError:
    known = ", ".join(sorted(artifact.variant for artifact in artifacts)) or "none"
    return NotFoundError(f"{name}@{version} has no {variant[:40]} artifact; it has {known}")


def _model(
    model: models.Model,
    latest_version: int | None,
    holders: Mapping[aliases.Alias, int],
    versions: tuple[Version, ...] | None = None,
) -> Model:
    return Model(
        name=model.name,
        task=model.task,
        created_at=model.created_at,
        latest_version=latest_version,
        champion=holders.get(aliases.Alias.CHAMPION),
        challenger=holders.get(aliases.Alias.CHALLENGER),
        versions=versions,
    )


def _version(version: models.Version, artifacts: list[models.Artifact]) -> Version:
    return Version(
        model=version.model,
        version=version.version,
        run_id=version.run_id,
        created_at=version.created_at,
        artifacts=tuple(_artifact(artifact) for artifact in artifacts),
    )


def _artifact(artifact: models.Artifact) -> Artifact:
    descriptor = artifact.describe()
    return Artifact(
        digest=artifact.digest,
        variant=artifact.variant,
        size_bytes=artifact.size_bytes,
        tflite_bytes=artifact.tflite_bytes,
        target=artifact.target,
        standing=artifact.standing,
        metrics=descriptor.manifest.metrics,
        requirements=shape_of(Requirements, descriptor.manifest.requirements),
        promotion=shape_of(Promotion, descriptor.promotion),
        latency_p50_ms=descriptor.latency_p50_ms,
        latency_p95_ms=descriptor.latency_p95_ms,
        memory_bytes=descriptor.memory_bytes,
        created_at=artifact.created_at,
        awaiting_signature_at=artifact.awaiting_signature_at,
        published_at=artifact.published_at,
        withdrawn_at=artifact.withdrawn_at,
    )
