"""The job that trains a model, and what every training has in common with a healing one.

The version is written down together with the end of its run, so that a crash leaves no half of it.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgeops.artifact.manifest import Variant
from edgeops.data.schema import Schema
from edgeops.errors import ConflictError, NotFoundError
from edgeops.learning.environment import Environment
from fleet_server import gathering
from fleet_server.datasets.buying import Bought
from fleet_server.db import aliases, datasets, jobs, models, promotion_policies, runs
from fleet_server.db.aliases import Alias
from fleet_server.db.database import Connection
from fleet_server.db.identifiers import new_id
from fleet_server.db.jobs import Job, Train
from fleet_server.ml import frames
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.surroundings import look_around
from fleet_server.run_book import RunBook
from fleet_server.wall_clock import utc_now
from fleet_server.workshop import Workshop, figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is trained on what, and how."""

    model: str
    snapshot: str
    recipe: str
    seed: int
    epochs: int | None
    options: dict[str, float | str]
    variants: tuple[Variant, ...]
    folds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of it; not written down yet."""

    run: str
    model: str
    version: int
    built: frames.Built
    artifacts: tuple[models.Artifact, ...]


def train(shop: Workshop, job: Job, request: Train) -> None:
    """See a training through.

    Raises:
        NotFoundError: no such dataset.
        ConflictError: the model does another task than the dataset is for.
        DatasetError: the rows or an option do not fit the recipe.
    """
    with shop.database.read() as connection:
        snapshot = _snapshot(connection, request)
        champion = champion_of(connection, request.model, snapshot.schema)
    course = Course(
        model=request.model,
        snapshot=snapshot.digest,
        recipe=request.recipe,
        seed=request.seed,
        epochs=request.epochs,
        options=request.options,
        variants=request.variants,
        folds=request.folds,
    )
    recent = gathering.recent(shop.database, request.model, snapshot.schema.columns)
    trained = train_on(shop, job, course, champion=champion, recent=recent)
    with shop.database.write() as connection:
        write_down(connection, trained)
        # With the version in one transaction: after a crash it would be trained once more, as another one.
        jobs.succeed(connection, job.id, result=result_of(connection, trained.run), now=utc_now())


def train_on(
    shop: Workshop,
    job: Job,
    course: Course,
    *,
    champion: Sequence[models.Artifact],
    healing: frames.Healing | None = None,
    recent: Sequence[Bought] = (),
) -> Trained:
    """Begin a run, let the worker build all variants, and keep their files.

    They are compared with the artifacts of a champion, if there are any, also on `recent` labels of devices' samples.

    Raises:
        DatasetError: the rows or an option do not fit the recipe.
    """
    environment = look_around()
    with shop.database.write() as connection:
        version = models.next_version(connection, course.model)
        run = new_id("run", utc_now())
        runs.start(
            connection,
            run,
            job_id=job.id,
            model=course.model,
            snapshot=course.snapshot,
            recipe=course.recipe,
            seed=course.seed,
            parameters={"epochs": course.epochs, **course.options},
            variants=course.variants,
            environment=environment,
            now=utc_now(),
            healing=_healed(champion, healing),
        )
    with shop.workplace() as folder, closing(RunBook(shop.database, run)) as book:
        task = build_task(
            shop,
            course,
            environment,
            version=version,
            run=run,
            folder=folder,
            champion=champion,
            healing=healing,
            recent=recent,
        )
        ending = shop.work(job, task, on_progress=book.take)
        assert isinstance(ending, frames.Built), ending
        artifacts = tuple(shop.keep_artifact(course.model, version, built) for built in ending.variants)
    return Trained(run=run, model=course.model, version=version, built=ending, artifacts=artifacts)


def build_task(
    shop: Workshop,
    course: Course,
    environment: Environment,
    *,
    version: int,
    run: str,
    folder: Path,
    champion: Sequence[models.Artifact] = (),
    healing: frames.Healing | None = None,
    recent: Sequence[Bought] = (),
) -> frames.Build:
    """What the worker is asked for; artifacts go into `folder`, and the gate is the one of today."""
    with shop.database.read() as connection:
        policy, learnt = promotion_policies.get(connection, course.model), learnt_by(connection, shop, champion)
    return frames.Build(
        snapshot=str(shop.blobs.path(course.snapshot)),
        snapshot_digest=course.snapshot,
        model=course.model,
        version=version,
        run=run,
        recipe=course.recipe,
        recipes=None if course.recipe in set(RecipeName) else str(shop.config.recipes),
        seed=course.seed,
        epochs=course.epochs,
        options=course.options,
        variants=course.variants,
        folds=course.folds,
        commit=environment.commit,
        difference=environment.difference,
        built_at=utc_now().isoformat(timespec="seconds"),
        host=environment.host,
        destination=str(folder),
        champion={one.variant: str(shop.blobs.path(one.digest)) for one in champion},
        champion_snapshot=learnt,
        recent=listed(recent, folder),
        healing=healing,
        policy=policy,
    )


def listed(recent: Sequence[Bought], folder: Path) -> str | None:
    """Labelled samples as a file for the worker; None = there are none."""
    if not recent:
        return None
    file = folder / "recent"
    file.write_bytes(msgspec.msgpack.encode(recent))
    return str(file)


def write_down(connection: Connection, trained: Trained) -> None:
    """End the run, add the version with its artifacts."""
    manifests = [one.describe().manifest for one in trained.artifacts]
    runs.succeed(
        connection,
        trained.run,
        metrics={built.variant.value: built.metrics for built in trained.built.variants},
        calibration=next((one.lineage.calibration for one in manifests if one.lineage.calibration), None),
        warnings=trained.built.warnings,
        now=utc_now(),
    )
    runs.judged(connection, trained.run, _judgement(trained.built))
    models.add_version(
        connection, trained.model, trained.version, task=manifests[0].task, run_id=trained.run, now=utc_now()
    )
    for artifact in trained.artifacts:
        models.add_artifact(connection, artifact)


def _judgement(built: frames.Built) -> dict[str, Any]:
    found: dict[str, Any] = {
        "variants": {one.variant.value: msgspec.to_builtins(one.scrutiny) for one in built.variants}
    }
    if built.shares:
        found["shares"] = msgspec.to_builtins(built.shares)
    if built.folds is not None:
        folds = built.folds
        found["folds"] = msgspec.to_builtins(folds) | {"mean": folds.mean, "spread": folds.spread}
    return found


def result_of(connection: Connection, run_id: str) -> dict[str, Any]:
    """What a job tells of the version that its run became."""
    run, version = runs.get(connection, run_id), models.version_of_run(connection, run_id)
    assert run is not None and version is not None, "it was written down"  # noqa: PT018 - for the type checker
    artifacts = models.list_artifacts(connection, version.model, version.version)
    return {
        "run": run.id,
        "model": version.model,
        "version": version.version,
        "artifacts": {artifact.variant.value: figures(artifact) for artifact in artifacts},
        "warnings": list(run.warnings),
    }


def _snapshot(connection: Connection, request: Train) -> datasets.Snapshot:
    if request.snapshot is None:
        found = datasets.head(connection, request.dataset)
    else:
        found = datasets.get_snapshot(connection, request.snapshot)
    if found is None:
        raise NotFoundError(f"no dataset {request.dataset!r}; import one first")
    if found.erased_at is not None:
        raise ConflictError(
            f"the rows of snapshot {found.digest} were erased at {found.erased_at:%Y-%m-%d %H:%M} UTC; train again on "
            "the newest snapshot"
        )
    return found


def champion_of(connection: Connection, name: str, schema: Schema) -> tuple[models.Artifact, ...]:
    """What a new version is compared with: the champion, where it answers the same from the same columns."""
    model = models.get(connection, name)
    if model is None:
        return ()
    if model.task != schema.task:
        raise ConflictError(
            f"{name} does {model.task}, the dataset is for {schema.task}; give its model another name with --model"
        )
    version = aliases.holders(connection, [name]).get(name, {}).get(Alias.CHAMPION)
    if version is None:
        return ()
    artifacts = models.list_artifacts(connection, name, version)
    manifests = [one.describe().manifest for one in artifacts]
    is_alike = all(
        (one.window.columns, one.output.labels, one.output.units) == (schema.columns, schema.classes, schema.units)
        for one in manifests
    )
    return tuple(artifacts) if is_alike else ()


def learnt_by(connection: Connection, shop: Workshop, champion: Sequence[models.Artifact]) -> str | None:
    """The file of the snapshot that a champion learnt from; None = there is none any more."""
    for artifact in champion:
        snapshot = datasets.get_snapshot(connection, artifact.describe().manifest.lineage.snapshot)
        if snapshot is not None and snapshot.erased_at is None:
            return str(shop.blobs.path(snapshot.digest))
    return None


def _healed(champion: Sequence[models.Artifact], healing: frames.Healing | None) -> runs.Healing | None:
    if healing is None:
        return None
    return runs.Healing(champion={one.variant: one.digest for one in champion}, label_weight=healing.label_weight)
