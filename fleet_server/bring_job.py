"""The job that makes a version of a model that a person brings.

As a training's, the version is written down together with the end of its run, so that a crash leaves no half of it.
"""

from contextlib import closing
from typing import Any

import msgspec

from edgeops import limits
from edgeops.errors import ConflictError, NotFoundError
from fleet_server import gathering
from fleet_server.db import datasets, jobs, models, promotion_policies, runs
from fleet_server.db.identifiers import new_id
from fleet_server.db.jobs import Bring, Job
from fleet_server.ml import frames
from fleet_server.ml.surroundings import look_around
from fleet_server.run_book import RunBook
from fleet_server.train_job import Trained, champion_of, learnt_by, listed, result_of, write_down
from fleet_server.wall_clock import utc_now
from fleet_server.workshop import Workshop


def bring(shop: Workshop, job: Job, request: Bring) -> None:
    """See it through.

    Raises:
        NotFoundError: no such snapshot.
        ConflictError: its rows were erased, or the model does another task than the snapshot is for.
        DatasetError: the file is no model that a device could run, or does not fit; the message is the worker's.
    """
    with shop.database.read() as connection:
        snapshot = datasets.get_snapshot(connection, request.snapshot)
        if snapshot is None:
            raise NotFoundError(f"no snapshot {request.snapshot}")
        if snapshot.erased_at is not None:
            raise ConflictError(
                f"snapshot {snapshot.digest} was erased because a group of it was; judge the model by a newer one: "
                f"edgeops dataset show {snapshot.dataset}"
            )
        champion = champion_of(connection, request.model, snapshot.schema)
    recent = gathering.recent(shop.database, request.model, snapshot.schema.columns)
    environment = look_around()
    with shop.database.write() as connection:
        version = models.next_version(connection, request.model)
        run = new_id("run", utc_now())
        runs.start(
            connection,
            run,
            job_id=job.id,
            model=request.model,
            snapshot=snapshot.digest,
            recipe=frames.Bring.recipe,
            seed=frames.Bring.seed,
            parameters=_parameters(request),
            variants=request.variants,
            environment=environment,
            now=utc_now(),
        )
        policy, learnt = promotion_policies.get(connection, request.model), learnt_by(connection, shop, champion)
    with shop.workplace() as folder, closing(RunBook(shop.database, run)) as book:
        task = frames.Bring(
            source=str(shop.blobs.path(request.upload)),
            source_digest=request.upload,
            file_name=request.file_name,
            instructions=request.instructions,
            snapshot=str(shop.blobs.path(snapshot.digest)),
            snapshot_digest=snapshot.digest,
            model=request.model,
            version=version,
            run=run,
            variants=request.variants,
            commit=environment.commit,
            difference=environment.difference,
            built_at=utc_now().isoformat(timespec="seconds"),
            host=environment.host,
            destination=str(folder),
            champion={one.variant: str(shop.blobs.path(one.digest)) for one in champion},
            champion_snapshot=learnt,
            recent=listed(recent, folder),
            policy=policy,
            patience_s=limits.FIRST_ANSWERS.total_seconds(),
        )
        ending = shop.work(job, task, on_progress=book.take)
        assert isinstance(ending, frames.Built), ending
        artifacts = tuple(shop.keep_artifact(request.model, version, built) for built in ending.variants)
    brought = Trained(run=run, model=request.model, version=version, built=ending, artifacts=artifacts)
    with shop.database.write() as connection:
        write_down(connection, brought)
        jobs.succeed(connection, job.id, result=result_of(connection, run), now=utc_now())


def _parameters(request: Bring) -> dict[str, Any]:
    """What was said of the file, and which one it was."""
    said = {name: value for name, value in msgspec.to_builtins(request.instructions).items() if value}
    return {"file": request.file_name, "digest": request.upload, **said}
