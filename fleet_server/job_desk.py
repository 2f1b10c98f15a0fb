"""The desk where queued jobs are seen through, one by one, with their books kept in the database.

Heavy work is done by one warm child (`fleet_server.ml.supervisor`). A job that a crash of this process
interrupted is tried once more; one that has taken effect has also ended, in the same transaction, or may be
repeated without harm. What a job computes is decided elsewhere.
"""

import logging
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_never

from edgeops import limits
from edgeops.artifact.manifest import decode_descriptor, target_path
from edgeops.errors import DatasetError, EdgeOpsError, NotFoundError, PlatformError
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import datasets, jobs, models, runs
from fleet_server.db.database import Database
from fleet_server.db.identifiers import new_id
from fleet_server.db.jobs import ImportDataset, Job, JobState, Publish, Train, Withdraw
from fleet_server.ml import frames
from fleet_server.ml.supervisor import StoppedError, Worker
from fleet_server.publish import publish, withdraw

_log = logging.getLogger(__name__)

#: Progress within a step is written at most this often.
_PROGRESS_S = 0.5
#: Of the folders for files on their way.
_PREFIX = "job-"


class JobDesk:
    """Takes jobs from the queue and sees them through; use it from one thread."""

    def __init__(self, config: ServerConfig, database: Database, stop: threading.Event) -> None:
        self._config = config
        self._database = database
        self._blobs = Blobs(config)
        self._stop = stop
        config.run.mkdir(parents=True, exist_ok=True)
        self._worker = Worker(stop=stop, folder=config.run)

    def warm_up(self) -> None:
        """Let the worker import TensorFlow now."""
        self._worker.warm_up()

    def recover(self) -> None:
        """Deal with jobs that ran when this process ended: once more, or, the second time, failed.

        Call it only while no other process works on this data folder.
        """
        for left_behind in (*self._config.run.glob(f"{_PREFIX}*"), *self._config.run.glob(f"{Worker.FOLDER_PREFIX}*")):
            shutil.rmtree(left_behind, ignore_errors=True)
        now = _now()
        with self._database.write() as connection:
            for job in jobs.running(connection):
                what = f"the server ended while the job was at {job.step!r}"
                runs.fail_unfinished(connection, job.id, error=what, now=now)
                if job.error is None:
                    jobs.requeue(connection, job.id, interruption=f"{what}; queued again", now=now)
                else:
                    jobs.fail(connection, job.id, error=f"{what}, for the second time; start it again", now=now)
        self._blobs.drop_incoming(before=now - limits.INCOMING_LIFE)
        with self._database.read() as connection:
            imported = jobs.uploads(connection, JobState.SUCCEEDED, JobState.FAILED)
        self._drop_uploads({upload for upload in imported if self._blobs.exists(upload)})

    def do_next(self) -> bool:
        """Do the oldest queued job; False when there is none."""
        with self._database.read() as connection:
            if not jobs.has_queued(connection):
                return False
        with self._database.write() as connection:
            job = jobs.claim(connection, _now())
        if job is not None:
            self._see_through(job)
        return job is not None

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _see_through(self, job: Job) -> None:
        _log.info("job.started id=%s kind=%s", job.id, job.kind)
        try:
            self._do(job)
        except StoppedError:
            with self._database.write() as connection:
                runs.fail_unfinished(connection, job.id, error="the server was stopped", now=_now())
                jobs.requeue(connection, job.id, interruption=job.error, now=_now())
        except EdgeOpsError as error:
            self._fail(job, str(error))
        except Exception as error:  # noqa: BLE001 - a job's bug must not end the process that serves all others
            _log.exception("job.crashed id=%s kind=%s", job.id, job.kind)
            self._fail(job, f"internal error ({type(error).__name__}); the log of the jobs process says more")
        else:
            _log.info("job.succeeded id=%s kind=%s", job.id, job.kind)
        if isinstance(job.request, ImportDataset):
            self._drop_uploads({job.request.upload})

    def _fail(self, job: Job, error: str) -> None:
        with self._database.write() as connection:
            runs.fail_unfinished(connection, job.id, error=error, now=_now())
            jobs.fail(connection, job.id, error=error, now=_now())
        _log.warning("job.failed id=%s kind=%s error=%s", job.id, job.kind, error)

    def _drop_uploads(self, uploads: set[str]) -> None:
        """Delete files that were imported or refused, but none that waits, or is a snapshot or artifact as well."""
        if not uploads:
            return
        # The write lock keeps the API from queueing an import of the same file meanwhile.
        with self._database.write() as connection:
            for upload in uploads - jobs.uploads(connection, JobState.QUEUED, JobState.RUNNING):
                named = datasets.get_snapshot(connection, upload) or models.artifact_by_digest(connection, upload)
                if named is None:
                    self._blobs.remove(upload)

    def _do(self, job: Job) -> None:
        """Do a job; it has ended well when this returns."""
        request = job.request
        match request:
            case ImportDataset():
                self._import(job, request)
            case Train():
                self._train(job, request)
            case Publish(model=model, version=version, variant=variant):
                done = publish(
                    self._config,
                    self._database,
                    model,
                    version,
                    variant=variant,
                    published_by=job.created_by,
                    now=_now(),
                )
                self._succeed(job, _listing(model, version, done))
            case Withdraw(model=model, version=version, variant=variant):
                done = withdraw(
                    self._config,
                    self._database,
                    model,
                    version,
                    variant=variant,
                    withdrawn_by=job.created_by,
                    now=_now(),
                )
                self._succeed(job, _listing(model, version, done))
            case _:
                assert_never(request)

    def _succeed(self, job: Job, result: dict[str, Any]) -> None:
        with self._database.write() as connection:
            jobs.succeed(connection, job.id, result=result, now=_now())

    def _import(self, job: Job, request: ImportDataset) -> None:
        with self._workplace() as folder:
            file = folder / "snapshot.npz"
            task = frames.Import(
                source=str(self._blobs.path(request.upload)),
                file_name=request.file_name,
                label=request.label,
                features=request.features,
                exclude=request.exclude,
                where=request.where,
                hold_out=request.hold_out,
                seed=request.seed,
                destination=str(file),
            )
            ending = self._work(job, task)
            assert isinstance(ending, frames.Imported), ending
            with file.open("rb") as content:
                digest, size_bytes = self._blobs.put_file(content, max_bytes=limits.MAX_SNAPSHOT_BYTES)
        with self._database.write() as connection:
            snapshot = datasets.add_snapshot(
                connection,
                request.name,
                digest,
                size_bytes=size_bytes,
                schema=ending.schema,
                created_by=job.created_by,
                now=_now(),
            )
            schema = snapshot.schema
            result = {
                "dataset": request.name,
                "snapshot": digest,
                "rows": schema.rows,
                "columns": len(schema.columns),
                "classes": list(schema.classes),
                "train_rows": schema.split_rows[0],
                "validation_rows": schema.split_rows[1],
                "evaluation_rows": schema.split_rows[2],
            }
            jobs.succeed(connection, job.id, result=result, now=_now())

    def _train(self, job: Job, request: Train) -> None:
        with self._database.write() as connection:
            snapshot = datasets.head(connection, request.dataset)
            if snapshot is None:
                raise NotFoundError(f"no dataset {request.dataset!r}; import one first")
            version = models.next_version(connection, request.model)
            run = new_id("run", _now())
            runs.start(
                connection,
                run,
                job_id=job.id,
                model=request.model,
                snapshot=snapshot.digest,
                recipe=request.recipe,
                seed=request.seed,
                parameters={"epochs": request.epochs, **request.options},
                now=_now(),
            )
        with self._workplace() as folder:
            commit, host = _commit(), platform.node()
            task = frames.Build(
                snapshot=str(self._blobs.path(snapshot.digest)),
                snapshot_digest=snapshot.digest,
                model=request.model,
                version=version,
                run=run,
                recipe=request.recipe,
                seed=request.seed,
                epochs=request.epochs,
                options=request.options,
                commit=commit,
                built_at=_now().isoformat(timespec="seconds"),
                host=host,
                destination=str(folder),
            )
            ending = self._work(job, task)
            assert isinstance(ending, frames.Built), ending
            artifacts = [self._keep(request.model, version, built) for built in ending.variants]
        with self._database.write() as connection:
            metrics = {built.variant.value: built.metrics for built in ending.variants}
            environment = {"libraries": ending.libraries, "host": host, "commit": commit}
            runs.succeed(connection, run, metrics=metrics, environment=environment, now=_now())
            task_kind = artifacts[0].describe().manifest.task
            models.add_version(connection, request.model, version, task=task_kind, run_id=run, now=_now())
            for artifact in artifacts:
                models.add_artifact(connection, artifact)
            result = {
                "run": run,
                "model": request.model,
                "version": version,
                "artifacts": {artifact.variant.value: _figures(artifact) for artifact in artifacts},
            }
            # With the version in one transaction: after a crash it would be trained once more, as another one.
            jobs.succeed(connection, job.id, result=result, now=_now())

    def _keep(self, model: str, version: int, built: frames.BuiltVariant) -> models.Artifact:
        """Put an artifact among the blobs; the row that names it comes after."""
        digest = self._blobs.put(Path(built.file).read_bytes())
        descriptor = decode_descriptor(built.descriptor)
        assert descriptor.digest == digest, "a descriptor names the file it was made of"
        return models.Artifact(
            digest=digest,
            model=model,
            version=version,
            variant=built.variant,
            size_bytes=descriptor.size_bytes,
            tflite_bytes=built.tflite_bytes,
            target=target_path(descriptor.manifest),
            descriptor=built.descriptor,
            created_at=_now(),
            published_at=None,
            withdrawn_at=None,
        )

    def _work(self, job: Job, task: frames.Import | frames.Build) -> frames.Imported | frames.Built:
        """Let the worker do a task, and write down how far it is.

        Raises:
            DatasetError: the task was refused; the message is the worker's.
            PlatformError: the worker died or took too long.
            StoppedError: this process is told to stop.
        """
        noted, noted_at = "", 0.0

        def note(progress: frames.Progress) -> None:
            nonlocal noted, noted_at
            if progress.step == noted and time.monotonic() - noted_at < _PROGRESS_S:
                return
            noted, noted_at = progress.step, time.monotonic()
            with self._database.write() as connection:
                jobs.progress(
                    connection,
                    job.id,
                    step=progress.step,
                    share=progress.share,
                    now=_now(),
                    worker_pid=self._worker.pid,
                )

        ending = self._worker.run(task, timeout=limits.JOB_TIMEOUT, on_progress=note)
        match ending:
            case frames.Refused(reason=reason):
                raise DatasetError(reason)
            case frames.Crashed(reason=reason):
                raise PlatformError(f"{reason} (at step {noted!r})" if noted else reason)
            case frames.Imported() | frames.Built():
                return ending
            case _:
                assert_never(ending)

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        """A folder for files on their way, beside where they go."""
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=self._config.run) as folder:
            yield Path(folder)


def _figures(artifact: models.Artifact) -> dict[str, Any]:
    descriptor = artifact.describe()
    return {
        "digest": artifact.digest,
        "size_bytes": artifact.size_bytes,
        "tflite_bytes": artifact.tflite_bytes,
        "metrics": descriptor.manifest.metrics,
        "latency_p50_ms": descriptor.latency_p50_ms,
        "latency_p95_ms": descriptor.latency_p95_ms,
        "promotion": {"passed": descriptor.promotion.passed, "reasons": list(descriptor.promotion.reasons)},
    }


def _listing(model: str, version: int, artifacts: list[models.Artifact]) -> dict[str, Any]:
    listed = [{"variant": one.variant.value, "target": one.target, "digest": one.digest} for one in artifacts]
    return {"model": model, "version": version, "artifacts": listed}


def _commit() -> str:
    """The commit of the code that trains, when it runs from a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    asked = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _now() -> datetime:
    return datetime.now(UTC)
