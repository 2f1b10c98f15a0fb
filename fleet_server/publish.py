"""Lists the artifacts of a version in TUF, or takes them out: what is listed may run.

TUF is written first and the database after it, so a crash in between leaves a target that the database
does not mention yet; repeating the job mends that. Who may publish is decided by the API.
"""

from datetime import datetime

from edgeops.artifact.manifest import Variant
from edgeops.errors import ConflictError, NotFoundError
from edgeops.trust.repository import Repository
from fleet_server.config import ServerConfig
from fleet_server.db import models
from fleet_server.db.database import Database


def publish(
    config: ServerConfig, database: Database, model: str, version: int, *, variant: Variant | None, now: datetime
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
    with database.write() as connection:
        for artifact in artifacts:
            models.mark_published(connection, artifact, now)
    return artifacts


def withdraw(
    config: ServerConfig, database: Database, model: str, version: int, *, variant: Variant | None, now: datetime
) -> list[models.Artifact]:
    """Stop listing a version's variant, or all of them; harmless to repeat.

    Raises:
        NotFoundError: no such model, version or variant.
        ConfigError: the key of a role is not on this machine.
    """
    artifacts = _find(database, model, version, variant)
    repository = Repository.open(config.repository, config.keys)
    repository.withdraw([artifact.target for artifact in artifacts], now)
    with database.write() as connection:
        for artifact in artifacts:
            if artifact.is_published:
                models.mark_withdrawn(connection, artifact, now)
    return artifacts


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
