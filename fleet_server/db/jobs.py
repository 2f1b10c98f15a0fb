"""The store of jobs: what was asked, how far it is, how it ended.

Every change announces itself in `events` in the same transaction. This store decides no order but
first come, first served, and runs nothing: `fleet_server.job_desk` does.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, get_args

import msgspec
from sqlalchemy import Connection, Row, select, update

from edgeops import limits
from edgeops.artifact.manifest import USUAL_VARIANTS, Variant
from edgeops.data.rules import Rules
from edgeops.errors import InputError
from edgeops.model.brought import Instructions
from edgeops.protocol.messages import Digest, Id
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import jobs


class JobState(StrEnum):
    """Where a job stands."""

    #: Waits for a worker.
    QUEUED = "queued"
    #: A worker has it.
    RUNNING = "running"
    #: Ended well; `result` says what came of it.
    SUCCEEDED = "succeeded"
    #: Ended badly; `error` says why.
    FAILED = "failed"


#: Positive and within SQLite's and TensorFlow's integers.
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=999_999_999)]


class ImportDataset(msgspec.Struct, frozen=True, kw_only=True, tag="dataset"):
    """Read an uploaded file into an immutable snapshot."""

    name: Id
    #: The uploaded file among the blobs, and how its sender called it.
    upload: Digest
    file_name: str
    rules: Rules


class InspectFile(msgspec.Struct, frozen=True, kw_only=True, tag="inspect"):
    """Look at an uploaded file; nothing of it is kept."""

    upload: Digest
    file_name: str


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag="forget"):
    """Make a snapshot without a group the newest of a dataset."""

    dataset: Id
    group: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    #: Delete the snapshots that hold the group, and what was refused of them.
    erase: bool = False


class Train(msgspec.Struct, frozen=True, kw_only=True, tag="train"):
    """Train a model on a snapshot of a dataset, in some variants."""

    dataset: Id
    #: The snapshot of it; None = the newest when the job begins.
    snapshot: Digest | None = None
    model: Id
    #: One of EdgeOps, or a file of the owner's.
    recipe: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}\Z")]
    #: The owner's file as it was when this was asked for.
    recipe_file: Digest | None = None
    seed: Seed = 0
    epochs: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_EPOCHS)] | None = None
    #: What the recipe takes beside that, by name.
    options: dict[str, float | str] = {}
    variants: tuple[Variant, ...] = USUAL_VARIANTS
    #: So many trainings more, each judged on training rows that it was not shown; None = none.
    folds: Annotated[int, msgspec.Meta(ge=2, le=20)] | None = None


class Retrain(msgspec.Struct, frozen=True, kw_only=True, tag="retrain"):
    """Heal a model that drifted: learn from its snapshot and all labels bought since, and judge the result."""

    #: The retraining that this is a step of.
    retraining: Id
    model: Id
    #: The artifact that drifted, and where it runs.
    digest: Digest
    deployment: Id
    #: Windows closed from then on show the inputs that it is healed on; None = all there are.
    since: datetime | None = None
    #: Devices left out, with all that ever came from them.
    without_devices: tuple[Id, ...] = ()
    seed: Seed = 0
    #: None = as the drifted model was trained.
    epochs: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_EPOCHS)] | None = None
    #: How much one bought row counts against an imported one.
    label_weight: Annotated[float, msgspec.Meta(gt=0.0, le=1_000.0)] = 5.0
    #: Sign it with the model's delegated key when it passed its promotion gate; else it waits for a person.
    sign: bool = False


class Bring(msgspec.Struct, frozen=True, kw_only=True, tag="bring"):
    """Make a version of an uploaded model, judged on the rows of a snapshot."""

    model: Id
    #: The uploaded file among the blobs, and how its sender called it.
    upload: Digest
    file_name: str
    #: The digest of a snapshot.
    snapshot: Digest
    instructions: Instructions = Instructions()
    variants: tuple[Variant, ...] = USUAL_VARIANTS


class Reproduce(msgspec.Struct, frozen=True, kw_only=True, tag="reproduce"):
    """Train a version once more and compare the files; nothing else is kept of it."""

    model: Id
    version: VersionNumber


class Publish(msgspec.Struct, frozen=True, kw_only=True, tag="publish"):
    """List the variants of a version in TUF; None = all."""

    model: Id
    version: VersionNumber
    variant: Variant | None = None


class Withdraw(msgspec.Struct, frozen=True, kw_only=True, tag="withdraw"):
    """Take the variants of a version out of TUF; None = all."""

    model: Id
    version: VersionNumber
    variant: Variant | None = None


Request = ImportDataset | InspectFile | Forget | Train | Retrain | Bring | Reproduce | Publish | Withdraw
#: What reads an uploaded file.
Reading = ImportDataset | InspectFile | Bring


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work."""

    id: str
    kind: str
    request: Request
    state: JobState
    step: str
    #: Between 0 and 1.
    progress: float
    result: dict[str, Any] | None
    #: Why it failed; while it waits or runs: how its first attempt was interrupted.
    error: str | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker_pid: int | None


def queue(
    connection: Connection, request: Request, *, created_by: str, now: datetime, work: Digest | None = None
) -> Job:
    """Add a job at the end of the queue; `work` names what is done, so that `of_work` finds it.

    Raises:
        InputError: a value of the request is out of its bounds.
    """
    try:
        parameters = msgspec.to_builtins(request)
        msgspec.convert(parameters, Request)
    except msgspec.ValidationError as error:
        raise InputError(f"this cannot be queued: {error}") from error
    job_id = new_id("job", now)
    kind = _kind(type(request))
    connection.execute(
        jobs.insert().values(
            id=job_id,
            kind=kind,
            parameters=parameters,
            state=JobState.QUEUED,
            created_by=created_by,
            created_at=now,
            work=work,
        )
    )
    events.append(connection, EventKind.JOB_QUEUED, job_id, {"kind": kind}, now)
    job = get(connection, job_id)
    assert job is not None
    return job


def claim(connection: Connection, now: datetime) -> Job | None:
    """Take the oldest queued job; call it inside a write transaction."""
    job_id = connection.execute(
        select(jobs.c.id).where(jobs.c.state == JobState.QUEUED).order_by(jobs.c.created_at, jobs.c.id).limit(1)
    ).scalar()
    if job_id is None:
        return None
    _change(connection, job_id, now, state=JobState.RUNNING, step="starting", started_at=now)
    return get(connection, job_id)


def progress(
    connection: Connection,
    job_id: str,
    *,
    step: str,
    share: float,
    now: datetime,
    worker_pid: int | None = None,
) -> None:
    """Tell how far a running job is: the step's name and the share done (0 to 1)."""
    _change(connection, job_id, now, step=step, progress=min(max(share, 0.0), 1.0), worker_pid=worker_pid)


def succeed(connection: Connection, job_id: str, *, result: dict[str, Any], now: datetime) -> None:
    """End a job well."""
    _change(
        connection,
        job_id,
        now,
        state=JobState.SUCCEEDED,
        step="done",
        progress=1.0,
        result=result,
        error=None,
        finished_at=now,
    )


def fail(connection: Connection, job_id: str, *, error: str, now: datetime) -> None:
    """End a job badly; its last step stays readable."""
    _change(connection, job_id, now, state=JobState.FAILED, error=error, finished_at=now)


def requeue(connection: Connection, job_id: str, *, interruption: str | None, now: datetime) -> None:
    """Put a job back into its place in the queue; `interruption` stays readable as its error until it succeeds."""
    _change(
        connection,
        job_id,
        now,
        state=JobState.QUEUED,
        step="",
        progress=0.0,
        error=interruption,
        started_at=None,
        worker_pid=None,
    )


def has_queued(connection: Connection) -> bool:
    """Whether `claim` would find something."""
    return connection.execute(select(jobs.c.id).where(jobs.c.state == JobState.QUEUED).limit(1)).first() is not None


def running(connection: Connection) -> list[Job]:
    """Jobs that a worker has, or had when the process ended."""
    rows = connection.execute(select(jobs).where(jobs.c.state == JobState.RUNNING).order_by(jobs.c.id))
    return [_job(row) for row in rows]


def uploads(connection: Connection, *states: JobState) -> set[str]:
    """The uploaded files that jobs in one of these states read."""
    reading = jobs.c.kind.in_([_kind(request) for request in get_args(Reading)])
    asked = select(jobs.c.parameters).where(reading, jobs.c.state.in_(states))
    return {parameters["upload"] for parameters in connection.execute(asked).scalars()}


def get(connection: Connection, job_id: str) -> Job | None:
    """One job, or None."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else _job(row)


def of_work(connection: Connection, work: Digest) -> Job | None:
    """The newest job that did this work, does it or will do it; None = none, or it failed."""
    query = select(jobs).where(jobs.c.work == work, jobs.c.state != JobState.FAILED)
    row = connection.execute(query.order_by(jobs.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _job(row)


def last_import(connection: Connection, dataset: str) -> Job | None:
    """The newest job that made the newest snapshot of a dataset out of a file, or None."""
    asked = jobs.c.kind == _kind(ImportDataset), jobs.c.state == JobState.SUCCEEDED
    for row in connection.execute(select(jobs).where(*asked).order_by(jobs.c.id.desc())):
        if row.parameters["name"] == dataset:
            return _job(row)
    return None


def page(connection: Connection, after: str | None, limit: int) -> list[Job]:
    """Jobs, newest first; `after` is the id of the last job of the page before."""
    query = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(jobs.c.id < after)
    return [_job(row) for row in connection.execute(query)]


def _change(connection: Connection, job_id: str, now: datetime, **values: object) -> None:
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
    told = {name: value for name, value in values.items() if name in ("state", "step", "progress")}
    events.append(connection, EventKind.JOB_CHANGED, job_id, told, now)


def _kind(request: type[Request]) -> str:
    return str(request.__struct_config__.tag)


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        request=msgspec.convert(row.parameters, Request),
        state=JobState(row.state),
        step=row.step,
        progress=row.progress,
        result=row.result,
        error=row.error,
        created_by=row.created_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker_pid=row.worker_pid,
    )
