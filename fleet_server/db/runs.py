"""The store of runs: one training, with everything needed to repeat it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from edgeops.artifact.manifest import USUAL_VARIANTS, Variant
from edgeops.learning.environment import Environment
from edgeops.protocol.messages import Digest
from fleet_server.db.tables import runs

_UNKNOWN = Environment()


class RunState(StrEnum):
    """Where a run stands."""

    #: A worker trains.
    RUNNING = "running"
    #: Became a version of its model.
    SUCCEEDED = "succeeded"
    #: Ended without a version; `error` says why.
    FAILED = "failed"


class Healing(msgspec.Struct, frozen=True, kw_only=True):
    """What a run healed, and how; windows and nominated samples that it was shown are not kept."""

    #: Artifacts of the model that drifted.
    champion: dict[Variant, Digest]
    #: How much one bought row counted against an imported one.
    label_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training."""

    id: str
    job_id: str
    model: str
    snapshot: str
    recipe: str
    seed: int
    #: Epochs (None = the recipe's own) and the recipe's options.
    parameters: dict[str, Any]
    variants: tuple[Variant, ...]
    #: None = a training of its own.
    healing: Healing | None
    environment: Environment
    #: Seconds by step.
    durations: dict[str, float]
    #: By variant: what the judge measured.
    metrics: dict[str, dict[str, float]]
    #: `variants`: `edgeops.learning.scrutiny.Scrutiny` of each; `folds`: `edgeops.learning.folds.Folds`, if asked for.
    judgement: dict[str, Any]
    #: Digest of the inputs that int8 took its ranges from.
    calibration: str | None
    #: What a person should know of the data.
    warnings: tuple[str, ...]
    state: RunState
    error: str | None
    created_at: datetime
    finished_at: datetime | None


def start(
    connection: Connection,
    run_id: str,
    *,
    job_id: str,
    model: str,
    snapshot: str,
    recipe: str,
    seed: int,
    parameters: dict[str, Any],
    now: datetime,
    variants: tuple[Variant, ...] = USUAL_VARIANTS,
    environment: Environment = _UNKNOWN,
    healing: Healing | None = None,
) -> None:
    """Write down that a run begins."""
    connection.execute(
        runs.insert().values(
            id=run_id,
            job_id=job_id,
            model=model,
            snapshot=snapshot,
            recipe=recipe,
            seed=seed,
            parameters=parameters,
            variants=variants,
            healing=healing,
            environment=environment,
            durations={},
            metrics={},
            judgement={},
            state=RunState.RUNNING,
            created_at=now,
        )
    )


def note_durations(connection: Connection, run_id: str, durations: dict[str, float]) -> None:
    """Write down how long each step took so far, in seconds."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(durations=durations))


def succeed(
    connection: Connection,
    run_id: str,
    *,
    metrics: dict[str, dict[str, float]],
    now: datetime,
    calibration: str | None = None,
    warnings: tuple[str, ...] = (),
) -> None:
    """End a run well."""
    done = {
        "state": RunState.SUCCEEDED,
        "metrics": metrics,
        "calibration": calibration,
        "warnings": warnings,
        "finished_at": now,
    }
    connection.execute(update(runs).where(runs.c.id == run_id).values(done))


def judged(connection: Connection, run_id: str, judgement: dict[str, Any]) -> None:
    """Keep what was found when a run's files were judged."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(judgement=judgement))


def forget_groups(connection: Connection, snapshots: Sequence[str]) -> None:
    """Name no group any more in what runs of these snapshots found: rows of one were erased."""
    query = select(runs.c.id, runs.c.judgement).where(runs.c.snapshot.in_(snapshots))
    for row in connection.execute(query).all():
        variants = {name: {**found, "slices": []} for name, found in row.judgement.get("variants", {}).items()}
        judged(connection, row.id, {**row.judgement, "variants": variants})


def fail_unfinished(connection: Connection, job_id: str, *, error: str, now: datetime) -> None:
    """End the runs that a job left behind when it was interrupted."""
    connection.execute(
        update(runs)
        .where(runs.c.job_id == job_id, runs.c.state == RunState.RUNNING)
        .values(state=RunState.FAILED, error=error, finished_at=now)
    )


def get(connection: Connection, run_id: str) -> Run | None:
    """One run, or None."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    return None if row is None else _run(row)


def succeeded_of(connection: Connection, job_id: str) -> Run | None:
    """The run of a job that became a version, or None."""
    query = select(runs).where(runs.c.job_id == job_id, runs.c.state == RunState.SUCCEEDED)
    row = connection.execute(query).one_or_none()
    return None if row is None else _run(row)


def page(connection: Connection, after: str | None, limit: int, *, model: str | None = None) -> list[Run]:
    """Runs, newest first, of all models or one; `after` is the id of the last run of the page before."""
    query = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(runs.c.id < after)
    if model is not None:
        query = query.where(runs.c.model == model)
    return [_run(row) for row in connection.execute(query)]


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        job_id=row.job_id,
        model=row.model,
        snapshot=row.snapshot,
        recipe=row.recipe,
        seed=row.seed,
        parameters=row.parameters,
        variants=tuple(Variant(one) for one in row.variants),
        healing=None if row.healing is None else msgspec.convert(row.healing, Healing),
        environment=msgspec.convert(row.environment, Environment),
        durations=row.durations,
        metrics=row.metrics,
        judgement=row.judgement,
        calibration=row.calibration,
        warnings=tuple(row.warnings),
        state=RunState(row.state),
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
