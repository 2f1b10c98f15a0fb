"""Models: their versions, and which artifacts devices may run."""

from typing import Annotated

from fastapi import APIRouter, Path

from edgeops.api.shapes import Artifact, Job, Model, Page, PublishRequest, Version, WithdrawRequest
from edgeops.artifact.manifest import Variant
from edgeops.errors import NotFoundError
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.jobs import queue_job
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import models
from fleet_server.db.jobs import Publish, Withdraw

router = APIRouter(prefix="/models", tags=["models"])

VersionNumber = Annotated[int, Path(ge=1, le=999_999_999)]


@router.get("", dependencies=[VIEWER])
def list_models(server: ServerOf, paging: PagingOf) -> Page[Model]:
    """All models, by name."""
    with server.database.read() as connection:
        rows = models.page(connection, paging.after(str), paging.wanted)
        latest = models.latest_versions(connection, [row.name for row in rows])
    return paging.page(rows, key=lambda row: row.name, shape=lambda row: _model(row, latest.get(row.name)))


@router.get("/{name}", dependencies=[VIEWER])
def read_model(server: ServerOf, name: str) -> Model:
    """One model with its versions, newest first."""
    with server.database.read() as connection:
        model = models.get(connection, name)
        if model is None:
            raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
        artifacts = models.artifacts_by_version(connection, name)
        versions = [_version(row, artifacts[row.version]) for row in models.list_versions(connection, name)]
    return _model(model, versions[0].version if versions else None, tuple(versions))


@router.get("/{name}/versions/{version}", dependencies=[VIEWER])
def read_version(server: ServerOf, name: str, version: VersionNumber) -> Version:
    """One version with its artifacts, labels, columns and channels."""
    row, artifacts = _known(server, name, version)
    shown = _version(row, artifacts)
    if not artifacts:
        return shown
    # Variants differ in their tensors and thresholds, never in what goes in and comes out.
    manifest = artifacts[0].describe().manifest
    return shown.model_copy(
        update={
            "labels": manifest.output.labels,
            "columns": manifest.window.columns,
            "channels": tuple(channel.name for channel in manifest.channels),
        }
    )


@router.post("/{name}/versions/{version}/publish", status_code=202)
def publish_version(
    server: ServerOf, caller: Operator, name: str, version: VersionNumber, wanted: PublishRequest | None = None
) -> Job:
    """Sign and list the artifacts of a version; a job does it."""
    variant = _known_variant(server, name, version, None if wanted is None else wanted.variant)
    return queue_job(server, caller, Publish(model=name, version=version, variant=variant))


@router.post("/{name}/versions/{version}/withdraw", status_code=202)
def withdraw_version(
    server: ServerOf, caller: Operator, name: str, version: VersionNumber, wanted: WithdrawRequest | None = None
) -> Job:
    """List the artifacts of a version no longer; a job does it."""
    variant = _known_variant(server, name, version, None if wanted is None else wanted.variant)
    return queue_job(server, caller, Withdraw(model=name, version=version, variant=variant))


def _known(server: Server, name: str, version: int) -> tuple[models.Version, list[models.Artifact]]:
    with server.database.read() as connection:
        row = models.get_version(connection, name, version)
        artifacts = models.list_artifacts(connection, name, version)
    if row is None:
        raise NotFoundError(f"no version {version} of a model {name[:80]!r}; list them with: edgeops model list")
    return row, artifacts


def _known_variant(server: Server, name: str, version: int, variant: str | None) -> Variant | None:
    _, artifacts = _known(server, name, version)
    variants = {artifact.variant for artifact in artifacts}
    if variant is not None and variant not in variants:
        raise NotFoundError(
            f"{name}@{version} has no {variant} artifact; it has {', '.join(sorted(variants)) or 'none'}"
        )
    return None if variant is None else Variant(variant)


def _model(model: models.Model, latest_version: int | None, versions: tuple[Version, ...] | None = None) -> Model:
    return Model(
        name=model.name,
        task=model.task,
        created_at=model.created_at,
        latest_version=latest_version,
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
        metrics=descriptor.manifest.metrics,
        latency_p50_ms=descriptor.latency_p50_ms,
        latency_p95_ms=descriptor.latency_p95_ms,
        memory_bytes=descriptor.memory_bytes,
        created_at=artifact.created_at,
        published_at=artifact.published_at,
        withdrawn_at=artifact.withdrawn_at,
    )
