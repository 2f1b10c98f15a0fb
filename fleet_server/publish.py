"""Lists the artifacts of a version in TUF, or takes them out: what is listed may run.

A version that a person publishes is signed by the targets key, one that the fleet retrained by itself by its
model's delegated key. Where that key is not on this server, the version waits as AWAITING_SIGNATURE until a person
signed it elsewhere (`edgeops model sign`) and publishes it again.

TUF is written first and the database after it, so a crash in between leaves a target that the database
does not mention yet; repeating the job mends that. Who may publish is decided by the API.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from edgeops.artifact.manifest import Variant, target_path
from edgeops.digest import digest_bytes, digest_hex
from edgeops.errors import ConfigError, ConflictError, NotFoundError
from edgeops.trust.repository import Repository
from fleet_server.config import ServerConfig
from fleet_server.db import audit, models
from fleet_server.db.database import Connection, Database

#: A delegation ends without anybody writing anything.
_LOOK_AGAIN = timedelta(minutes=1)


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
    """List a version's variant, or all of them, with the targets key; as they stand then. Harmless to repeat.

    Without that key they await their signature; what was signed elsewhere meanwhile counts as published.

    Raises:
        NotFoundError: no such model, version or variant.
        ConflictError: the file of a variant is gone or damaged, or its promotion gate refused it.
        ConfigError: the key of snapshot or timestamp is not on this machine.
    """
    artifacts = _find(database, model, version, variant)
    _publish(config, database, artifacts, auto=False, published_by=published_by, now=now)
    return _find(database, model, version, variant)


def publish_auto(
    config: ServerConfig,
    database: Database,
    model: str,
    version: int,
    *,
    variant: Variant | None,
    published_by: str,
    now: datetime,
) -> list[models.Artifact]:
    """The same with the model's delegated key, for a version that nobody looked at: below `models/<model>/auto/`.

    Without a delegation they await the signature of the targets key.

    Raises:
        NotFoundError, ConflictError, ConfigError: as `publish`.
    """
    artifacts = _find(database, model, version, variant)
    _publish(config, database, artifacts, auto=True, published_by=published_by, now=now)
    return _find(database, model, version, variant)


def require_promotion(artifacts: Sequence[models.Artifact]) -> None:
    """Refuse to list what its promotion gate refused, unless somebody overrode that.

    Raises:
        ConflictError: it did, and nobody has.
    """
    for artifact in artifacts:
        promotion = artifact.describe().promotion
        if not promotion.may_be_listed:
            version = f"{artifact.model}@{artifact.version}"
            raise ConflictError(
                f"{version} {artifact.variant} did not pass its promotion gate: {promotion.failures}; train "
                f"a better one, or an approver overrides it: edgeops publish {version} --variant "
                f"{artifact.variant} --override REMARK"
            )


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
    """Stop listing a version's variant, or all of them; as they stand then. Harmless to repeat.

    Raises:
        NotFoundError: no such model, version or variant.
        ConfigError: the key of a role is not on this machine.
    """
    artifacts = _find(database, model, version, variant)
    repository = Repository.open(config.repository, config.keys)
    try:
        repository.withdraw([path for artifact in artifacts for path in _paths(artifact, auto=False)], now)
    except ConfigError as error:
        raise ConfigError(f"{error}: edgeops model withdraw {model}@{version} --keys DIR") from error
    # What nobody published is left as it is; what only waited for a signature waits no longer.
    asked_for = [artifact for artifact in artifacts if artifact.is_published or artifact.awaiting_signature_at]
    with database.write() as connection:
        for artifact in asked_for:
            models.mark_withdrawn(connection, artifact, now)
        _note(connection, withdrawn_by, "model.withdrawn", asked_for, now)
    return _find(database, model, version, variant)


def mirror(config: ServerConfig, database: Database, *, changed_by: str, now: datetime) -> None:
    """Write down at once what a change that people signed lists anew or no longer."""
    listed = _listed(Repository.open(config.repository, config.keys), now)
    with database.read() as connection:
        known, others = models.published_artifacts(connection), models.unpublished_artifacts(connection)
    gone = [one for one in known if _place(one, listed, auto=False) is None]
    signed = [one for one in others if _place(one, listed, auto=False) is not None]
    with database.write() as connection:
        for artifact in gone:
            models.mark_withdrawn(connection, artifact, now)
            _note(connection, changed_by, "model.withdrawn", [artifact], now)
        _mark_listed(connection, signed, listed, changed_by, now)


class Listing:
    """Notices what is listed no longer, or anew, though no job did it.

    A person took a delegation back or withdrew or signed a version with the offline key, or a delegation ended. What is
    missing, or there, twice in a row is so: a job writes TUF first and the database a moment later.
    """

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self._written: int | None = None
        self._looked: datetime | None = None
        self._missing: frozenset[str] = frozenset()
        self._found: frozenset[str] = frozenset()

    def follow(self, now: datetime) -> list[models.Artifact]:
        """Mark as withdrawn what is gone, which is returned, and as published what came; call it every second or so.

        Raises:
            TrustError: the repository is damaged.
        """
        written = (self._config.metadata / "timestamp.json").stat().st_mtime_ns
        fresh = self._looked is not None and now - self._looked < _LOOK_AGAIN
        if fresh and written == self._written and not self._missing and not self._found:
            return []
        self._written, self._looked = written, now
        return self._look(now)

    def _look(self, now: datetime) -> list[models.Artifact]:
        listed = _listed(Repository.open(self._config.repository, self._config.keys), now)
        with self._database.read() as connection:
            known, others = models.published_artifacts(connection), models.unpublished_artifacts(connection)
        places = {artifact.digest: _place(artifact, listed, auto=False) for artifact in known}
        missing = frozenset(digest for digest, place in places.items() if place is None)
        gone = [artifact for artifact in known if artifact.digest in missing & self._missing]
        self._missing = missing - {artifact.digest for artifact in gone}
        found = [one for one in others if _place(one, listed, auto=False) is not None]
        signed = [one for one in found if one.digest in self._found]
        self._found = frozenset(one.digest for one in found) - {one.digest for one in signed}
        moved = [
            (one, place) for one in known if (place := places[one.digest]) is not None and one.target not in listed
        ]
        if gone or moved or signed:
            with self._database.write() as connection:
                for artifact in gone:
                    models.mark_withdrawn(connection, artifact, now)
                    _note(connection, audit.REPOSITORY, "model.withdrawn", [artifact], now)
                for artifact, place in moved:
                    models.mark_published(connection, artifact, now, target=place)
                _mark_listed(connection, signed, listed, audit.REPOSITORY, now)
        return gone


def _publish(
    config: ServerConfig,
    database: Database,
    artifacts: Sequence[models.Artifact],
    *,
    auto: bool,
    published_by: str,
    now: datetime,
) -> None:
    require_promotion(artifacts)
    for artifact in artifacts:
        if not config.blob_path(artifact.digest).is_file():
            raise ConflictError(f"the file of {artifact.target} ({artifact.digest}) is gone; train the version again")
    repository = Repository.open(config.repository, config.keys)
    wanted = {_paths(artifact, auto=auto)[0]: artifact.descriptor for artifact in artifacts}
    repository.publish({path: content for path, content in wanted.items() if repository.can_sign(path, now)}, now)
    listed = _listed(repository, now)
    with database.write() as connection:
        fresh, waiting = [], []
        for artifact in artifacts:
            target = _place(artifact, listed, auto=auto)
            if target is None and artifact.awaiting_signature_at is None:
                models.mark_awaiting_signature(connection, artifact, now)
                waiting.append(artifact)
            elif target is not None and not (artifact.is_published and artifact.target == target):
                models.mark_published(connection, artifact, now, target=target)
                fresh.append(artifact)
        _note(connection, published_by, "model.published", fresh, now)
        _note(connection, published_by, "model.awaits-signature", waiting, now)


def _mark_listed(
    connection: Connection, signed: Sequence[models.Artifact], listed: Mapping[str, str], by: str, now: datetime
) -> None:
    for artifact in signed:
        place = _place(artifact, listed, auto=False)
        assert place is not None
        models.mark_published(connection, artifact, now, target=place)
        _note(connection, by, "model.published", [artifact], now)


def _listed(repository: Repository, now: datetime) -> dict[str, str]:
    """The SHA-256 of what may be used now, by path."""
    return {path: target.sha256 for path, target in repository.listed(at=now).items()}


def _place(artifact: models.Artifact, listed: Mapping[str, str], *, auto: bool) -> str | None:
    """Where an artifact is listed, looked for first where it was asked for; None = nowhere."""
    sha256 = digest_hex(digest_bytes(artifact.descriptor))
    return next((path for path in _paths(artifact, auto=auto) if listed.get(path) == sha256), None)


def _paths(artifact: models.Artifact, *, auto: bool) -> tuple[str, str]:
    """Where TUF may list it: as asked for, and the other way."""
    manifest = artifact.describe().manifest
    return target_path(manifest, auto=auto), target_path(manifest, auto=not auto)


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
