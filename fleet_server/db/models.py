"""The store of models, their versions and the artifact of each variant.

The exact descriptor bytes that TUF signs are kept here; artifact files lie among the blobs. Whether a
device may run an artifact is said by TUF alone: `published_at` only mirrors it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from edgeops.artifact.manifest import Descriptor, Task, Variant, decode_descriptor
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.tables import artifacts, models, runs, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A name under which versions count up."""

    name: str
    task: Task
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What one run produced."""

    model: str
    version: int
    run_id: str
    created_at: datetime


class Standing(StrEnum):
    """Whether a variant may run, and what it lacks."""

    #: Nobody asked for it to be published.
    NOT_PUBLISHED = "not-published"
    #: Somebody did; the key that it needs is not on this server.
    AWAITING_SIGNATURE = "awaiting-signature"
    #: TUF lists it.
    PUBLISHED = "published"
    #: Taken back.
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One variant of one version."""

    digest: str
    model: str
    version: int
    variant: Variant
    size_bytes: int
    tflite_bytes: int
    #: Its TUF target path: where it is listed or, before that, where it would be with a person's signature.
    target: str
    #: The exact bytes that TUF signs.
    descriptor: bytes
    created_at: datetime
    awaiting_signature_at: datetime | None = None
    published_at: datetime | None
    withdrawn_at: datetime | None

    @property
    def is_published(self) -> bool:
        """Whether TUF listed it and nobody withdrew it since."""
        return self.published_at is not None and self.withdrawn_at is None

    @property
    def standing(self) -> Standing:
        """The moments in one word."""
        if self.is_published:
            return Standing.PUBLISHED
        if self.awaiting_signature_at is not None:
            return Standing.AWAITING_SIGNATURE
        return Standing.NOT_PUBLISHED if self.withdrawn_at is None else Standing.WITHDRAWN

    def describe(self) -> Descriptor:
        """The descriptor as a value."""
        return decode_descriptor(self.descriptor)


def next_version(connection: Connection, model: str) -> int:
    """The number the next version of `model` gets; versions count up from 1."""
    highest = connection.execute(select(func.max(versions.c.version)).where(versions.c.model == model)).scalar()
    return 1 if highest is None else int(highest) + 1


def latest_versions(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The highest version number of each of these models."""
    highest = select(versions.c.model, func.max(versions.c.version)).where(versions.c.model.in_(names))
    return {model: version for model, version in connection.execute(highest.group_by(versions.c.model))}  # noqa: C416 - rows are no pairs to mypy


def add_version(connection: Connection, model: str, version: int, *, task: Task, run_id: str, now: datetime) -> None:
    """Add a version, and the model with its first one."""
    if get(connection, model) is None:
        connection.execute(models.insert().values(name=model, task=task, created_at=now))
    connection.execute(versions.insert().values(model=model, version=version, run_id=run_id, created_at=now))


def add_artifact(connection: Connection, artifact: Artifact) -> None:
    """Add one variant of a version that exists."""
    connection.execute(
        artifacts.insert().values(
            digest=artifact.digest,
            model=artifact.model,
            version=artifact.version,
            variant=artifact.variant,
            size_bytes=artifact.size_bytes,
            tflite_bytes=artifact.tflite_bytes,
            target=artifact.target,
            descriptor=artifact.descriptor,
            created_at=artifact.created_at,
            awaiting_signature_at=artifact.awaiting_signature_at,
            published_at=artifact.published_at,
            withdrawn_at=artifact.withdrawn_at,
        )
    )


def mark_published(connection: Connection, artifact: Artifact, now: datetime, *, target: str) -> None:
    """Mirror that TUF lists it now as `target`."""
    _change(connection, artifact, target=target, published_at=now, withdrawn_at=None, awaiting_signature_at=None)
    _announce(connection, EventKind.MODEL_PUBLISHED, artifact, now)


def mark_awaiting_signature(connection: Connection, artifact: Artifact, now: datetime) -> None:
    """It shall be published, and the key for that is not here; so it is not listed either, whatever was before."""
    withdrawn_at = now if artifact.is_published else artifact.withdrawn_at
    _change(connection, artifact, awaiting_signature_at=now, withdrawn_at=withdrawn_at)
    _announce(connection, EventKind.MODEL_AWAITS_SIGNATURE, artifact, now)


def mark_withdrawn(connection: Connection, artifact: Artifact, now: datetime) -> None:
    """Mirror that TUF no longer lists it, and that it waits for no signature."""
    _change(connection, artifact, withdrawn_at=now, awaiting_signature_at=None)
    _announce(connection, EventKind.MODEL_WITHDRAWN, artifact, now)


def describe_anew(connection: Connection, artifact: Artifact, descriptor: bytes) -> None:
    """Put another descriptor in place of the one of an artifact, which nothing lists."""
    _change(connection, artifact, descriptor=descriptor)


def get(connection: Connection, name: str) -> Model | None:
    """One model, or None."""
    row = connection.execute(select(models).where(models.c.name == name)).one_or_none()
    return None if row is None else _model(row)


def page(connection: Connection, after: str | None, limit: int) -> list[Model]:
    """Models by name; `after` is the last name of the page before."""
    query = select(models).order_by(models.c.name).limit(limit)
    if after is not None:
        query = query.where(models.c.name > after)
    return [_model(row) for row in connection.execute(query)]


def get_version(connection: Connection, model: str, version: int) -> Version | None:
    """One version, or None."""
    row = connection.execute(
        select(versions).where(versions.c.model == model, versions.c.version == version)
    ).one_or_none()
    return None if row is None else _version(row)


def version_of_run(connection: Connection, run_id: str) -> Version | None:
    """What one run produced, or None."""
    row = connection.execute(select(versions).where(versions.c.run_id == run_id)).one_or_none()
    return None if row is None else _version(row)


def versions_of_runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, int]:
    """The version that each of these runs became, if it did, by run."""
    query = select(versions.c.run_id, versions.c.version).where(versions.c.run_id.in_(run_ids))
    return {run: version for run, version in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy


def learnt_from(connection: Connection, snapshots: Sequence[str]) -> list[tuple[Version, str]]:
    """The versions whose runs learnt from one of these snapshots, each with the snapshot's digest."""
    query = (
        select(versions, runs.c.snapshot)
        .join(runs, runs.c.id == versions.c.run_id)
        .where(runs.c.snapshot.in_(snapshots))
        .order_by(versions.c.model, versions.c.version)
    )
    return [(_version(row), row.snapshot) for row in connection.execute(query)]


def list_versions(connection: Connection, model: str) -> list[Version]:
    """The versions of a model, newest first."""
    query = select(versions).where(versions.c.model == model).order_by(versions.c.version.desc())
    return [_version(row) for row in connection.execute(query)]


def list_artifacts(connection: Connection, model: str, version: int) -> list[Artifact]:
    """The variants of one version, by name."""
    query = (
        select(artifacts)
        .where(artifacts.c.model == model, artifacts.c.version == version)
        .order_by(artifacts.c.variant)
    )
    return [_artifact(row) for row in connection.execute(query)]


def artifacts_by_version(connection: Connection, model: str) -> dict[int, list[Artifact]]:
    """The variants of every version of a model, by name."""
    found: dict[int, list[Artifact]] = defaultdict(list)
    for row in connection.execute(select(artifacts).where(artifacts.c.model == model).order_by(artifacts.c.variant)):
        found[row.version].append(_artifact(row))
    return found


def published_artifacts(connection: Connection) -> list[Artifact]:
    """Every artifact that TUF listed when this database was told last."""
    query = (
        select(artifacts)
        .where(artifacts.c.published_at.is_not(None), artifacts.c.withdrawn_at.is_(None))
        .order_by(artifacts.c.model, artifacts.c.version, artifacts.c.variant)
    )
    return [_artifact(row) for row in connection.execute(query)]


def unpublished_artifacts(connection: Connection) -> list[Artifact]:
    """Every other artifact: never published, waiting for a signature, or withdrawn."""
    query = (
        select(artifacts)
        .where(or_(artifacts.c.published_at.is_(None), artifacts.c.withdrawn_at.is_not(None)))
        .order_by(artifacts.c.model, artifacts.c.version, artifacts.c.variant)
    )
    return [_artifact(row) for row in connection.execute(query)]


def get_artifact(connection: Connection, model: str, version: int, variant: str) -> Artifact | None:
    """One variant of one version, or None."""
    query = select(artifacts).where(
        artifacts.c.model == model, artifacts.c.version == version, artifacts.c.variant == variant
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _artifact(row)


def artifact_by_digest(connection: Connection, digest: str) -> Artifact | None:
    """The artifact that has this digest, or None."""
    row = connection.execute(select(artifacts).where(artifacts.c.digest == digest)).one_or_none()
    return None if row is None else _artifact(row)


def _change(connection: Connection, artifact: Artifact, **values: object) -> None:
    connection.execute(update(artifacts).where(artifacts.c.digest == artifact.digest).values(**values))


def _announce(connection: Connection, kind: EventKind, artifact: Artifact, now: datetime) -> None:
    data = {"version": artifact.version, "variant": artifact.variant, "digest": artifact.digest}
    events.append(connection, kind, artifact.model, data, now)


def _model(row: Row[Any]) -> Model:
    return Model(name=row.name, task=Task(row.task), created_at=row.created_at)


def _version(row: Row[Any]) -> Version:
    return Version(model=row.model, version=row.version, run_id=row.run_id, created_at=row.created_at)


def _artifact(row: Row[Any]) -> Artifact:
    return Artifact(
        digest=row.digest,
        model=row.model,
        version=row.version,
        variant=Variant(row.variant),
        size_bytes=row.size_bytes,
        tflite_bytes=row.tflite_bytes,
        target=row.target,
        descriptor=row.descriptor,
        created_at=row.created_at,
        awaiting_signature_at=row.awaiting_signature_at,
        published_at=row.published_at,
        withdrawn_at=row.withdrawn_at,
    )
