"""The store of benchmarks: which devices were asked to try an artifact, and what came of it.

The command itself is posted in the outbox by who asks, in the same transaction. What a result is worth is decided in
`edgeops.rollout.blessing`. Results stay as long as the run that they belong to.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, or_, select, update

from edgeops.protocol.messages import Presence
from edgeops.rollout.blessing import Outcome
from edgeops.rollout.installation import InstallationState
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import artifacts, benchmarks, devices, installations, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One request to one device."""

    #: The command's id.
    id: str
    #: The rollout, or the name of the token, that asked first.
    asked_by: str
    #: That trained the version.
    run_id: str
    model: str
    version: int
    variant: str
    digest: str
    device_id: str
    #: Whose source the model must fit as well; None = no matter.
    deployment: str | None
    #: As it was asked; once it has answered, as it says.
    device_class: str
    asked_at: datetime
    repeated_at: datetime | None
    #: On the service clock.
    ends_at: datetime
    #: None while nobody has answered.
    ended_at: datetime | None
    outcome: Outcome | None
    #: Why, for people.
    detail: str
    #: What was measured, by the names of `edgeops.protocol.messages.Benchmarked`.
    result: dict[str, Any] | None


def add(
    connection: Connection,
    digest: str,
    *,
    asked_by: str,
    device_id: str,
    deployment: str | None,
    ends_at: datetime,
    now: datetime,
) -> Benchmark:
    """Remember that a device is to try an artifact; its id is the command's."""
    of_artifact = (
        select(artifacts.c.model, artifacts.c.version, artifacts.c.variant, versions.c.run_id)
        .join(versions, (versions.c.model == artifacts.c.model) & (versions.c.version == artifacts.c.version))
        .where(artifacts.c.digest == digest)
    )
    artifact = connection.execute(of_artifact).one()
    own_class = connection.execute(select(devices.c.device_class).where(devices.c.id == device_id)).scalar_one()
    benchmark_id = new_id("benchmark", now)
    connection.execute(
        benchmarks.insert().values(
            id=benchmark_id,
            asked_by=asked_by,
            run_id=artifact.run_id,
            model=artifact.model,
            version=artifact.version,
            variant=artifact.variant,
            digest=digest,
            device_id=device_id,
            deployment=deployment,
            device_class=own_class,
            asked_at=now,
            ends_at=ends_at,
        )
    )
    found = get(connection, benchmark_id)
    assert found is not None
    return found


def get(connection: Connection, benchmark_id: str) -> Benchmark | None:
    """One benchmark, or None."""
    return next(iter(_some(connection, benchmarks.c.id == benchmark_id)), None)


def of_run(connection: Connection, run_id: str) -> tuple[Benchmark, ...]:
    """All of the version that a run trained, newest first."""
    return _some(connection, benchmarks.c.run_id == run_id)


def open_on(connection: Connection, device_id: str, digest: str) -> Benchmark | None:
    """The one of an artifact that a device has not answered yet, if there is one."""
    own = (benchmarks.c.device_id == device_id) & (benchmarks.c.digest == digest) & benchmarks.c.ended_at.is_(None)
    return next(iter(_some(connection, own)), None)


def of_digest(connection: Connection, digest: str) -> tuple[Benchmark, ...]:
    """All of one artifact, newest first."""
    return _some(connection, benchmarks.c.digest == digest)


def due(connection: Connection, *, clock: datetime, repeated_before: datetime) -> tuple[Benchmark, ...]:
    """Those whose time is over, and those of devices that are online and were asked last before that moment."""
    online = select(devices.c.id).where(
        devices.c.presence == Presence.ONLINE, devices.c.quarantined.is_(False), devices.c.removed_at.is_(None)
    )
    silent = or_(benchmarks.c.repeated_at.is_(None), benchmarks.c.repeated_at < repeated_before)
    ready = benchmarks.c.device_id.in_(online) & silent
    return _some(connection, benchmarks.c.ended_at.is_(None) & ((benchmarks.c.ends_at <= clock) | ready))


def mark_repeated(connection: Connection, benchmark_id: str, now: datetime) -> None:
    """Remember that it was asked for."""
    connection.execute(update(benchmarks).where(benchmarks.c.id == benchmark_id).values(repeated_at=now))


def end(
    connection: Connection,
    benchmark: Benchmark,
    *,
    outcome: Outcome,
    detail: str,
    device_class: str | None = None,
    result: dict[str, Any] | None = None,
    now: datetime,
) -> None:
    """Take in what came of it; an end that comes late takes the place of one for want of an answer."""
    connection.execute(
        update(benchmarks)
        .where(benchmarks.c.id == benchmark.id)
        .values(
            ended_at=now,
            outcome=outcome,
            detail=detail,
            result=result,
            device_class=device_class or benchmark.device_class,
        )
    )
    data = {"device": benchmark.device_id, "digest": benchmark.digest, "outcome": outcome, "detail": detail}
    events.append(connection, EventKind.BENCHMARK_ENDED, benchmark.id, data, now)


@dataclass(frozen=True, slots=True)
class ClassMembers:
    """Devices of one class that a rollout means and has not finished with."""

    devices: tuple[str, ...]
    online: tuple[str, ...]


#: Devices of a class that are named or asked.
_MEMBERS = 5


def classes_in(connection: Connection, rollout_id: str) -> dict[str, ClassMembers]:
    """By class, some of the devices that a rollout is to ask."""
    own = (
        (installations.c.rollout_id == rollout_id)
        & (installations.c.state == InstallationState.PENDING)
        & devices.c.removed_at.is_(None)
    )
    joined = select(devices.c.device_class).join(installations, installations.c.device_id == devices.c.id).where(own)
    found: dict[str, ClassMembers] = {}
    for name in connection.execute(joined.distinct().order_by(devices.c.device_class)).scalars():
        query = (
            select(devices.c.id, devices.c.presence, devices.c.quarantined)
            .join(installations, installations.c.device_id == devices.c.id)
            .where(own, devices.c.device_class == name)
            .order_by(devices.c.presence.desc(), devices.c.id)
            .limit(_MEMBERS)
        )
        rows = connection.execute(query).all()
        ready = [row.id for row in rows if row.presence == Presence.ONLINE and not row.quarantined]
        found[name] = ClassMembers(tuple(row.id for row in rows), tuple(ready))
    return found


def blessed_classes(connection: Connection, digest: str) -> frozenset[str]:
    """The classes of which a device has ever blessed the artifact."""
    own = (benchmarks.c.digest == digest) & (benchmarks.c.outcome == Outcome.BLESSED)
    return frozenset(connection.execute(select(benchmarks.c.device_class).where(own).distinct()).scalars())


def class_of(connection: Connection, device_ids: Collection[str]) -> dict[str, str]:
    """The class of each device, as it reported last."""
    query = select(devices.c.id, devices.c.device_class).where(devices.c.id.in_(list(device_ids)))
    return {row.id: row.device_class for row in connection.execute(query)}


def _some(connection: Connection, which: ColumnElement[bool]) -> tuple[Benchmark, ...]:
    query = select(benchmarks).where(which).order_by(benchmarks.c.id.desc())
    return tuple(_benchmark(row) for row in connection.execute(query))


def _benchmark(row: Row[Any]) -> Benchmark:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    values["outcome"] = None if row.outcome is None else Outcome(row.outcome)
    return Benchmark(**values)
