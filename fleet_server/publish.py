"""Lists the artifacts of a version in TUF, or takes them out: what is listed may run.

TUF is written first and the database after it, so a crash in between leaves a target that the database
does not mention yet; repeating the job mends that. Who may publish is decided by the API.
"""

from collections.abc import Sequence
from datetime import datetime

from edgeops.artifact.manifest import Variant
from edgeops.errors import ConflictError, NotFoundError
from edgeops.trust.repository import Repository
from fleet_server.config import ServerConfig
from fleet_server.db import audit, models
from fleet_server.db.database import Connection, Database


def publish(
    config: ServerConfig,
    database: Database,
    model: str,
    version: int,
    *,
    variant: Variant | None,
    published_by: str,
    now: datetime,
) -> list[models.Artifact]:
    """List a version's variant, or all of them; harmless to repeat.

    Raises:
        NotFoundError: no such model, version or variant.
        ConflictError: the file of a variant is gone or damaged.
        ConfigError: the key of a role is not on this machine.
    """
    artifacts = _find(database, model, version, variant)
    for artifact in artifacts:
        if not config.blob_path(artifact.digest).is_file():
            raise ConflictError(f"the file of {artifact.target} ({artifact.digest}) is gone; train the version again")
    repository = Repository.open(config.repository, config.keys)
    repository.publish({artifact.target: artifact.descriptor for artifact in artifacts}, now)
    fresh = [artifact for artifact in artifacts if not artifact.is_published]
    with database.write() as connection:
        for artifact in fresh:
            models.mark_published(connection, artifact, now)
        _note(connection, published_by, "model.published", fresh, now)
    return artifacts


def withdraw(
    config: ServerConfig,
    database: Database,
    model: str,
    version: int,
    *,
    variant: Variant | None,
    withdrawn_by: str,
    now: datetime,
) -> list[models.Artifact]:
    """Stop listing a version's variant, or all of them; harmless to repeat.

    Raises:
        NotFoundError: no such model, version or variant.
        ConfigError: the key of a role is not on this machine.
    """
    artifacts = _find(database, model, version, variant)
    repository = Repository.open(config.repository, config.keys)
    repository.withdraw([artifact.target for artifact in artifacts], now)
    listed = [artifact for artifact in artifacts if artifact.is_published]
    with database.write() as connection:
        for artifact in listed:
            models.mark_withdrawn(connection, artifact, now)
        _note(connection, withdrawn_by, "model.withdrawn", listed, now)
    return artifacts


def _note(connection: Connection, actor: str, action: str, artifacts: Sequence[models.Artifact], now: datetime) -> None:
    """Into the audit trail, unless nothing changed: a job that is repeated decides nothing anew."""
    if artifacts:
        subject = f"{artifacts[0].model}@{artifacts[0].version}"
        audit.append(connection, actor, action, subject, {one.variant: one.digest for one in artifacts}, now)


def _find(database: Database, model: str, version: int, variant: Variant | None) -> list[models.Artifact]:
    with database.read() as connection:
        if models.get_version(connection, model, version) is None:
            numbers = [str(one.version) for one in models.list_versions(connection, model)]
            known = f"it has {', '.join(numbers[:10])}" if numbers else "there is no such model; train one first"
            raise NotFoundError(f"model {model!r} has no version {version}: {known}")
        artifacts = models.list_artifacts(connection, model, version)
    chosen = [artifact for artifact in artifacts if variant in (None, artifact.variant)]
    if not chosen:
        names = ", ".join(artifact.variant for artifact in artifacts)
        raise NotFoundError(f"version {version} of model {model!r} has no variant {variant}; it has {names}")
    return chosen
