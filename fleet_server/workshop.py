"""Where jobs are worked on: workers, the blobs and the books, as every kind of job needs them.

Use it from one thread. What a job does step by step is written in a file per kind (`dataset_job`, `train_job`,
`retrain_job`); in which order jobs come and how one fails, `job_desk` decides.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import msgspec

from edgeops import limits
from edgeops.artifact.manifest import decode_descriptor, target_path
from edgeops.errors import DatasetError, PlatformError
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import jobs, models
from fleet_server.db.database import Database
from fleet_server.db.jobs import Job
from fleet_server.ml import frames
from fleet_server.ml.recipes.folder import last_line, recipe_file
from fleet_server.ml.supervisor import Worker
from fleet_server.wall_clock import utc_now

#: Progress within a step is written at most this often.
_PROGRESS_S = 0.5
#: Of the folders for files on their way.
FOLDER_PREFIX = "job-"


class Workshop:
    """What a job works with."""

    def __init__(self, config: ServerConfig, database: Database, stop: threading.Event) -> None:
        self.config = config
        self.database = database
        self.blobs = Blobs(config)
        config.run.mkdir(parents=True, exist_ok=True)
        self.worker = Worker(stop=stop, folder=config.run)
        self._reader = Worker(stop=stop, folder=config.run, memory_bytes=limits.IMPORT_MEMORY_BYTES)

    def work(
        self, job: Job, task: frames.Work, *, on_progress: Callable[[frames.Progress], None] = lambda _: None
    ) -> frames.Imported | frames.Inspected | frames.Built:
        """Let the worker do a task, and write down how far it is.

        `on_progress` is told everything that the worker tells.

        Raises:
            DatasetError: the task was refused; the message is the worker's.
            PlatformError: the worker died or took too long.
            StoppedError: this process is told to stop.
        """
        noted, noted_at = "", 0.0

        def note(progress: frames.Progress) -> None:
            nonlocal noted, noted_at
            on_progress(progress)
            if progress.step == noted and time.monotonic() - noted_at < _PROGRESS_S:
                return
            noted, noted_at = progress.step, time.monotonic()
            self.note(job, progress.step, progress.share)

        ending = self._worker_for(task).run(task, timeout=limits.JOB_TIMEOUT, on_progress=note)
        # What read a file of a person does nothing after that.
        self._reader.close()
        if isinstance(task, frames.Build) and task.recipes is not None:
            # Nobody knows what the owner's code left behind, and a training repeats whatever was trained before.
            self.worker.close()
        match ending:
            case frames.Refused(reason=reason):
                raise DatasetError(reason)
            case frames.Crashed(reason=reason):
                whose = _blamed(task, ending)
                raise PlatformError(f"{whose}{reason} (at step {noted!r})" if noted else f"{whose}{reason}")
            case frames.Imported() | frames.Inspected() | frames.Built():
                return ending
            case _:
                assert_never(ending)

    def _worker_for(self, task: frames.Work) -> Worker:
        return self._reader if isinstance(task, frames.Apart) else self.worker

    def note(self, job: Job, step: str, share: float) -> None:
        """Tell how far a job is."""
        with self.database.write() as connection:
            jobs.progress(
                connection,
                job.id,
                step=step,
                share=share,
                now=utc_now(),
                worker_pid=self._reader.pid or self.worker.pid,
            )

    def succeed(self, job: Job, result: dict[str, Any]) -> None:
        """End a job well that has no other row to write."""
        with self.database.write() as connection:
            jobs.succeed(connection, job.id, result=result, now=utc_now())

    def keep_snapshot(self, file: Path) -> tuple[str, int]:
        """Put a snapshot among the blobs: digest and size; the row that names it comes after."""
        with file.open("rb") as content:
            return self.blobs.put_file(content, max_bytes=limits.MAX_SNAPSHOT_BYTES)

    def keep_quarantine(self, file: Path, digest: str) -> None:
        """Put refused rows among the blobs; the schema of the snapshot beside them names them."""
        with file.open("rb") as content:
            kept, _ = self.blobs.put_file(content, max_bytes=limits.MAX_QUARANTINE_BYTES)
        assert kept == digest, "a schema names the quarantine that was written with it"

    def keep_artifact(self, model: str, version: int, built: frames.BuiltVariant) -> models.Artifact:
        """Put an artifact among the blobs; the row that names it comes after."""
        digest = self.blobs.put(Path(built.file).read_bytes())
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
            created_at=utc_now(),
            published_at=None,
            withdrawn_at=None,
        )

    def close(self) -> None:
        """End the workers."""
        self.worker.close()
        self._reader.close()

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder for files on their way, beside where they go."""
        with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=self.config.run) as folder:
            yield Path(folder)


def _blamed(task: frames.Work, crashed: frames.Crashed) -> str:
    """The file of a recipe of the owner's own that was under way, and its line; "" = it was none."""
    if not isinstance(task, frames.Build) or task.recipes is None:
        return ""
    file = recipe_file(Path(task.recipes), task.recipe)
    return f"{file.name}{last_line(file, crashed.last_words)}: "


def figures(artifact: models.Artifact) -> dict[str, Any]:
    """What a job's result tells of one variant."""
    descriptor = artifact.describe()
    return {
        "digest": artifact.digest,
        "size_bytes": artifact.size_bytes,
        "tflite_bytes": artifact.tflite_bytes,
        "metrics": descriptor.manifest.metrics,
        "latency_p50_ms": descriptor.latency_p50_ms,
        "latency_p95_ms": descriptor.latency_p95_ms,
        "promotion": promotion(artifact),
    }


def promotion(artifact: models.Artifact) -> dict[str, Any]:
    """What the promotion gate said of one variant."""
    said: dict[str, Any] = msgspec.to_builtins(artifact.describe().promotion)
    return said
