"""The queue of jobs, and what it tells."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgeops.artifact.manifest import Variant
from edgeops.data.rules import Rules
from edgeops.errors import InputError
from fleet_server.db import events, jobs
from fleet_server.db.database import Database
from fleet_server.db.jobs import ImportDataset, Job, JobState, Publish, Train
from fleet_server.ml.recipes.names import RecipeName
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

START = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = "sha256:" + "0" * 64


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = database_in(tmp_path)
    yield database
    database.close()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def queue(database: Database, version: int = 1, seconds: float = 0) -> Job:
    with database.write() as connection:
        return jobs.queue(connection, Publish(model="pump", version=version), created_by="ada", now=at(seconds))


def claim(database: Database, seconds: float = 100) -> Job | None:
    with database.write() as connection:
        return jobs.claim(connection, at(seconds))


def read(database: Database, job: Job) -> Job:
    with database.read() as connection:
        found = jobs.get(connection, job.id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "request_",
    [
        ImportDataset(name="gas", upload=UPLOAD, file_name="gas.npz", rules=Rules(label="gas", where=("batch=1,2",))),
        Train(dataset="gas", model="gas", recipe=RecipeName.DENSE, seed=3, options={"batch": 32.0}),
        Publish(model="gas", version=2, variant=Variant.INT8),
    ],
)
def test_a_request_comes_back_as_it_was_queued(database: Database, request_: jobs.Request) -> None:
    with database.write() as connection:
        job = jobs.queue(connection, request_, created_by="ada", now=START)
    assert read(database, job) == job
    assert (job.request, job.state, job.created_by) == (request_, JobState.QUEUED, "ada")


@pytest.mark.parametrize(
    "request_",
    [
        Train(dataset="gas", model="gas", recipe="../magic"),  # type: ignore[arg-type]
        Train(dataset="../gas", model="gas", recipe=RecipeName.DENSE),
        Publish(model="gas", version=0),
        ImportDataset(name="gas", upload=UPLOAD, file_name="gas.npz", rules=Rules(label="gas", hold_out=1.0)),
    ],
)
def test_a_request_out_of_bounds_is_not_queued(database: Database, request_: jobs.Request) -> None:
    with database.write() as connection, pytest.raises(InputError, match="this cannot be queued"):
        jobs.queue(connection, request_, created_by="ada", now=START)


def test_jobs_are_claimed_first_come_first_served_and_once(database: Database) -> None:
    first, second = queue(database, seconds=1), queue(database, seconds=2)
    claimed = [claim(database), claim(database), claim(database)]
    assert [job and job.id for job in claimed] == [first.id, second.id, None]
    assert claimed[0] is not None
    assert claimed[0].state is JobState.RUNNING


def test_progress_and_endings_are_kept_and_announced(database: Database) -> None:
    good, bad = queue(database, seconds=1), queue(database, seconds=2)
    claim(database)
    claim(database)
    with database.write() as connection:
        jobs.progress(connection, good.id, step="training", share=0.4, now=at(101), worker_pid=7)
        jobs.succeed(connection, good.id, result={"run": "r"}, now=at(102))
        jobs.fail(connection, bad.id, error="no such version", now=at(103))
        told = [
            (event.subject, event.data.get("state"), event.data.get("step")) for event in events.after(connection, 0)
        ]
    good, bad = read(database, good), read(database, bad)
    assert (good.state, good.progress, good.result, good.finished_at) == (
        JobState.SUCCEEDED,
        1.0,
        {"run": "r"},
        at(102),
    )
    assert (bad.state, bad.error) == (JobState.FAILED, "no such version")
    assert (good.id, None, "training") in told
    assert told[-2:] == [(good.id, "succeeded", "done"), (bad.id, "failed", None)]


def test_an_interrupted_job_goes_back_to_its_place_and_remembers_why(database: Database) -> None:
    first, second = queue(database, seconds=1), queue(database, seconds=2)
    claim(database)
    with database.write() as connection:
        assert [job.id for job in jobs.running(connection)] == [first.id]
        jobs.requeue(connection, first.id, interruption="the server ended", now=at(200))
    again = claim(database)
    assert again is not None
    assert (again.id, again.error) == (first.id, "the server ended")
    assert read(database, second).state is JobState.QUEUED


def test_pages_go_from_new_to_old_without_gaps(database: Database) -> None:
    made = [queue(database, version=number, seconds=number).id for number in range(1, 8)]
    seen, after = list[str](), None
    with database.read() as connection:
        while rows := jobs.page(connection, after, 3):
            seen += [job.id for job in rows]
            after = rows[-1].id
    assert seen == made[::-1]
