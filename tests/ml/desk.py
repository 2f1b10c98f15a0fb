"""A job desk over a real data folder, for tests that train."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from edgeops.data.rules import Rules
from edgeops.learning.reproduction import Reproduction
from edgeops.trust.repository import Repository
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import events, jobs, models
from fleet_server.db.database import Database
from fleet_server.db.jobs import ImportDataset, Job, JobState, Reproduce, Request, Train
from fleet_server.db.migrate import upgrade
from fleet_server.job_desk import JobDesk
from fleet_server.ml.recipes.names import RecipeName


class Desk:
    """Queues a request, lets it be done, and hands back the job."""

    def __init__(self, folder: Path) -> None:
        self.config = ServerConfig(folder)
        self.database = Database.in_folder(self.config.db)
        upgrade(self.database)
        Repository.create(self.config.repository, self.config.keys, datetime.now(UTC))
        self.blobs = Blobs(self.config)
        self.desk = JobDesk(self.config, self.database, threading.Event())

    def close(self) -> None:
        self.desk.close()
        self.database.close()

    def queue(self, request: Request) -> Job:
        with self.database.write() as connection:
            return jobs.queue(connection, request, created_by="test", now=datetime.now(UTC))

    def read(self, job: Job) -> Job:
        with self.database.read() as connection:
            found = jobs.get(connection, job.id)
        assert found is not None
        return found

    def do(self, request: Request) -> Job:
        job = self.queue(request)
        assert self.desk.do_next()
        return self.read(job)

    def succeed(self, request: Request) -> Job:
        job = self.do(request)
        assert job.state is JobState.SUCCEEDED, job.error
        return job

    def load(self, file: Path, name: str, **options: object) -> Job:
        request = ImportDataset(
            name=name,
            upload=self.blobs.put(file.read_bytes()),
            file_name=file.name,
            rules=msgspec.convert(options, Rules),
        )
        return self.succeed(request)

    def train(
        self, dataset: str, recipe: RecipeName, *, seed: int = 0, epochs: int | None = None, **options: float | str
    ) -> Job:
        return self.succeed(
            Train(dataset=dataset, model=dataset, recipe=recipe, seed=seed, epochs=epochs, options=options)
        )

    def reproduce(self, model: str, version: int = 1) -> Reproduction:
        return msgspec.convert(self.succeed(Reproduce(model=model, version=version)).result, Reproduction)

    def artifacts(self, job: Job) -> dict[str, models.Artifact]:
        assert job.result is not None
        with self.database.read() as connection:
            found = models.list_artifacts(connection, job.result["model"], job.result["version"])
        return {artifact.variant.value: artifact for artifact in found}

    def steps(self, job: Job) -> list[str]:
        with self.database.read() as connection:
            news = events.after(connection, 0, ["job.changed"], limit=1000)
        steps = [event.data["step"] for event in news if event.subject == job.id and event.data.get("step")]
        return [step for place, step in enumerate(steps) if step not in steps[:place]]


def write_clusters(path: Path, *, rows: int = 300, missing: bool = False, heavy: bool = False) -> Path:
    """A table of three classes that can be told apart, most of the time."""
    random = np.random.default_rng(11)
    classes = np.arange(rows) % 3
    values = random.normal(size=(rows, 5)) + classes[:, None] * [2.0, -1.5, 0.0, 1.0, 0.0]
    if heavy:
        values = np.sign(values) * np.expm1(np.abs(values) * 3)
    if missing:
        values[random.random(values.shape) < 0.05] = np.nan
    names = np.array(["idle", "on", "worn"])[classes]
    np.savez(path, X=values.astype(np.float32), y=names)
    return path
