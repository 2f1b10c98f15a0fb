"""The desk where queued jobs are seen through, one by one, with their books kept in the database.

Heavy work is done by one warm child (`fleet_server.workshop`). A job that a crash of this process interrupted is
tried once more; one that has taken effect has also ended, in the same transaction, or may be repeated without
harm. What each kind of job does is in a file of its own.
"""

import logging
import shutil
import threading
from typing import Any, assert_never

from edgeops import limits
from edgeops.errors import EdgeOpsError
from fleet_server.bring_job import bring
from fleet_server.config import ServerConfig
from fleet_server.dataset_job import import_dataset, inspect_file
from fleet_server.db import datasets, jobs, models, runs
from fleet_server.db.database import Database
from fleet_server.db.jobs import (
    Bring,
    Forget,
    ImportDataset,
    InspectFile,
    Job,
    JobState,
    Publish,
    Reading,
    Reproduce,
    Retrain,
    Train,
    Withdraw,
)
from fleet_server.forget_job import forget
from fleet_server.ml.supervisor import StoppedError, Worker
from fleet_server.publish import publish, withdraw
from fleet_server.reproduce_job import reproduce
from fleet_server.retrain_job import retrain
from fleet_server.train_job import train
from fleet_server.wall_clock import utc_now
from fleet_server.workshop import FOLDER_PREFIX, Workshop

_log = logging.getLogger(__name__)


class JobDesk:
    """Takes jobs from the queue and sees them through; use it from one thread."""

    def __init__(self, config: ServerConfig, database: Database, stop: threading.Event) -> None:
        self._config = config
        self._database = database
        self._shop = Workshop(config, database, stop)
        self._blobs = self._shop.blobs

    def warm_up(self) -> None:
        """Let the worker import TensorFlow now."""
        self._shop.worker.warm_up()

    def recover(self) -> None:
        """Deal with jobs that ran when this process ended: once more, or, the second time, failed.

        Call it only while no other process works on this data folder.
        """
        for left_behind in (
            *self._config.run.glob(f"{FOLDER_PREFIX}*"),
            *self._config.run.glob(f"{Worker.FOLDER_PREFIX}*"),
        ):
            shutil.rmtree(left_behind, ignore_errors=True)
        at = utc_now()
        with self._database.write() as connection:
            for job in jobs.running(connection):
                what = f"the server ended while the job was at {job.step!r}"
                runs.fail_unfinished(connection, job.id, error=what, now=at)
                if job.error is None:
                    jobs.requeue(connection, job.id, interruption=f"{what}; queued again", now=at)
                else:
                    jobs.fail(connection, job.id, error=f"{what}, for the second time; start it again", now=at)
        self._blobs.drop_incoming(before=at - limits.INCOMING_LIFE)
        with self._database.read() as connection:
            read = jobs.uploads(connection, JobState.SUCCEEDED, JobState.FAILED)
            erased = datasets.erased(connection)
        for digest in erased:
            self._blobs.remove(digest)
        self._drop_uploads({upload for upload in read if self._blobs.exists(upload)})

    def do_next(self) -> bool:
        """Do the oldest queued job; False when there is none."""
        with self._database.read() as connection:
            if not jobs.has_queued(connection):
                return False
        with self._database.write() as connection:
            job = jobs.claim(connection, utc_now())
        if job is not None:
            self._see_through(job)
        return job is not None

    def close(self) -> None:
        """End the workers."""
        self._shop.close()

    def _see_through(self, job: Job) -> None:
        _log.info("job.started id=%s kind=%s", job.id, job.kind)
        try:
            self._do(job)
        except StoppedError:
            with self._database.write() as connection:
                runs.fail_unfinished(connection, job.id, error="the server was stopped", now=utc_now())
                jobs.requeue(connection, job.id, interruption=job.error, now=utc_now())
        except EdgeOpsError as error:
            self._fail(job, str(error))
        except Exception as error:  # noqa: BLE001 - a job's bug must not end the process that serves all others
            _log.exception("job.crashed id=%s kind=%s", job.id, job.kind)
            self._fail(job, f"internal error ({type(error).__name__}); the log of the jobs process says more")
        else:
            _log.info("job.succeeded id=%s kind=%s", job.id, job.kind)
        if isinstance(job.request, Reading):
            self._drop_uploads({job.request.upload})

    def _fail(self, job: Job, error: str) -> None:
        with self._database.write() as connection:
            runs.fail_unfinished(connection, job.id, error=error, now=utc_now())
            jobs.fail(connection, job.id, error=error, now=utc_now())
        _log.warning("job.failed id=%s kind=%s error=%s", job.id, job.kind, error)

    def _drop_uploads(self, uploads: set[str]) -> None:
        """Delete files that were read or refused, but none that waits, or is a snapshot or artifact as well."""
        if not uploads:
            return
        # The write lock keeps the API from queueing a job for the same file meanwhile.
        with self._database.write() as connection:
            for upload in uploads - jobs.uploads(connection, JobState.QUEUED, JobState.RUNNING):
                named = datasets.get_snapshot(connection, upload) or models.artifact_by_digest(connection, upload)
                if named is None and not datasets.is_quarantine(connection, upload):
                    self._blobs.remove(upload)

    def _do(self, job: Job) -> None:
        """Do a job; it has ended well when this returns."""
        request = job.request
        match request:
            case ImportDataset():
                import_dataset(self._shop, job, request)
            case InspectFile():
                inspect_file(self._shop, job, request)
            case Forget():
                forget(self._shop, job, request)
            case Train():
                train(self._shop, job, request)
            case Retrain():
                retrain(self._shop, job, request)
            case Bring():
                bring(self._shop, job, request)
            case Reproduce():
                reproduce(self._shop, job, request)
            case Publish(model=model, version=version, variant=variant):
                listed = publish(
                    self._config,
                    self._database,
                    model,
                    version,
                    variant=variant,
                    published_by=job.created_by,
                    now=utc_now(),
                )
                self._shop.succeed(job, _listing(model, version, listed))
            case Withdraw(model=model, version=version, variant=variant):
                listed = withdraw(
                    self._config,
                    self._database,
                    model,
                    version,
                    variant=variant,
                    withdrawn_by=job.created_by,
                    now=utc_now(),
                )
                self._shop.succeed(job, _listing(model, version, listed))
            case _:
                assert_never(request)


def _listing(model: str, version: int, artifacts: list[models.Artifact]) -> dict[str, Any]:
    listed = [{"variant": one.variant.value, "target": one.target, "digest": one.digest} for one in artifacts]
    return {"model": model, "version": version, "artifacts": listed}
