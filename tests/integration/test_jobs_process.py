"""The jobs process as it is started: it ends cleanly, and nothing is lost when it does not."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edgeops.data.rules import Rules
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import jobs, runs
from fleet_server.db.database import Database
from fleet_server.db.jobs import ImportDataset, Job, JobState, Request, Train
from fleet_server.db.runs import RunState
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.setup import init

pytestmark = pytest.mark.slow

DEADLINE_S = 120.0


class Site:
    """A data folder and the jobs processes that were started on it."""

    def __init__(self, folder: Path) -> None:
        self.config = ServerConfig(folder)
        init(self.config, now=datetime.now(UTC))
        self.database = Database.in_folder(self.config.db)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "fleet_server.cli", "jobs", "--data", str(self.config.data)])
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.database.close()

    def queue(self, request: Request) -> Job:
        with self.database.write() as connection:
            return jobs.queue(connection, request, created_by="test", now=datetime.now(UTC))

    def read(self, job: Job) -> Job:
        with self.database.read() as connection:
            found = jobs.get(connection, job.id)
        assert found is not None
        return found

    def wait(self, job: Job, until: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + DEADLINE_S
        while not until(seen := self.read(job)):
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)
        return seen

    def queue_import(self) -> Job:
        file = self.config.data / "table.npz"
        random = np.random.default_rng(1)
        classes = np.arange(90) % 2
        np.savez(file, X=(random.normal(size=(90, 3)) + classes[:, None]).astype(np.float32), y=classes)
        upload = Blobs(self.config).put(file.read_bytes())
        return self.queue(ImportDataset(name="table", upload=upload, file_name="table.npz", rules=Rules(label="y")))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def has_ended(job: Job) -> bool:
    return job.state in (JobState.SUCCEEDED, JobState.FAILED)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_stop_ends_the_process_and_leaves_its_job_in_the_queue(site: Site) -> None:
    process = site.start()
    assert site.wait(site.queue_import(), has_ended).state is JobState.SUCCEEDED
    job = site.queue(Train(dataset="table", model="table", recipe=RecipeName.DENSE, epochs=1))
    worker = site.wait(job, lambda seen: seen.worker_pid is not None).worker_pid
    assert worker is not None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert is_gone(worker)
    job = site.read(job)
    assert (job.state, job.error) == (JobState.QUEUED, None)


@pytest.mark.long
def test_a_job_is_tried_once_more_after_a_crash_and_fails_clearly_after_the_second(site: Site) -> None:
    process = site.start()
    site.wait(site.queue_import(), has_ended)
    job = site.queue(Train(dataset="table", model="table", recipe=RecipeName.DENSE, epochs=1))
    workers: list[int | None] = [None]
    for _ in range(2):
        workers.append(site.wait(job, lambda seen: seen.worker_pid not in workers).worker_pid)
        process.kill()
        process.wait()
        deadline = time.monotonic() + DEADLINE_S
        while not is_gone(workers[-1] or 0):
            assert time.monotonic() < deadline, "the worker outlived its parent"
            time.sleep(0.01)
        process = site.start()
    ended = site.wait(job, has_ended)
    assert ended.state is JobState.FAILED
    assert "for the second time; start it again" in (ended.error or "")
    again = site.queue(Train(dataset="table", model="table", recipe=RecipeName.DENSE, epochs=1))
    assert site.wait(again, has_ended).state is JobState.SUCCEEDED
    with site.database.read() as connection:
        states = [run.state for run in runs.page(connection, None, 10)]
    assert states == [RunState.SUCCEEDED, RunState.FAILED, RunState.FAILED]


def test_a_second_jobs_process_on_the_same_data_is_refused_and_takes_no_job_from_the_first(site: Site) -> None:
    first = site.start()
    assert site.wait(site.queue_import(), has_ended).state is JobState.SUCCEEDED
    second = site.start()
    assert second.wait(timeout=30) == 2
    assert first.poll() is None


def test_what_a_killed_process_left_behind_is_cleared_away(site: Site) -> None:
    for name in ("job-abc", "worker-abc"):
        (site.config.run / name).mkdir()
        (site.config.run / name / "half.npz").write_bytes(b"half")
    site.start()
    assert site.wait(site.queue_import(), has_ended).state is JobState.SUCCEEDED
    assert not (site.config.run / "job-abc").exists()
    assert not (site.config.run / "worker-abc").exists()
