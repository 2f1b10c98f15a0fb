"""When two pieces of work are the same, and which job did it."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.data.rules import Rules
from edgeops.model.clock import ClockColumns
from edgeops.model.picture import read_picture
from edgeops.model.recording import read_recording
from fleet_server.db import jobs
from fleet_server.db.jobs import Forget, ImportDataset, JobState, Publish, Train
from fleet_server.known_work import known_job
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.work import READING, work_digest
from tests.stores import database_in

START = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO = ("sha256:" + digit * 64 for digit in "12")


def load(upload=ONE, name="gas", **rules):
    return ImportDataset(name=name, upload=upload, file_name="gas.csv", rules=Rules(**{"label": "y", **rules}))


def training(snapshot=ONE, **values):
    return Train(**{"dataset": "gas", "snapshot": snapshot, "model": "gas", "recipe": RecipeName.DENSE, **values})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (load(), load(upload=TWO)),
        (load(), load(seed=1)),
        (load(), load(name="gas-2")),
        (training(), training(snapshot=TWO)),
        (training(), training(seed=1)),
        (training(), training(options={"batch": 8})),
        (training(), training(recipe=RecipeName.CNN)),
    ],
)
def test_other_inputs_are_other_work(one, other):
    assert work_digest(one) != work_digest(other)


@pytest.mark.parametrize("decides", [read_picture, read_recording, ClockColumns])
def test_other_code_that_decides_what_rows_hold_is_other_work(decides):
    assert decides.__module__.startswith(tuple(f"{package}." for package in READING))


def test_the_same_asked_for_again_is_the_same_work():
    assert work_digest(load()) == work_digest(load())
    assert work_digest(training(options={"a": 1, "b": 2})) == work_digest(training(options={"b": 2, "a": 1}))


@pytest.mark.parametrize("request_", [training(snapshot=None), Publish(model="gas", version=1)])
def test_what_depends_on_the_moment_is_never_the_same_work(request_):
    assert work_digest(request_) is None


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


@pytest.fixture
def do(database):
    """Have a job for a request in a state; each is a second after the one before."""
    moments = (START + timedelta(seconds=number) for number in range(100))

    def do(request, state=JobState.SUCCEEDED):
        now = next(moments)
        with database.write() as connection:
            job = jobs.queue(connection, request, created_by="ada", now=now, work=work_digest(request))
            if state is JobState.SUCCEEDED:
                jobs.succeed(connection, job.id, result={"snapshot": ONE}, now=now)
            elif state is JobState.FAILED:
                jobs.fail(connection, job.id, error="no", now=now)
        return job.id

    return do


def known(database, request):
    with database.read() as connection:
        job = known_job(connection, request)
    return None if job is None else job.id


def test_work_that_failed_is_to_be_done(database, do):
    do(training(), JobState.FAILED)
    assert known(database, training()) is None


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUCCEEDED])
def test_a_job_that_waits_or_did_it_is_known(database, do, state):
    job = do(training(), state)
    assert known(database, training()) == job
    assert known(database, training(seed=5)) is None


def test_an_import_holds_until_another_one_of_its_dataset(database, do):
    first = do(load())
    do(load(name="other"))
    assert known(database, load()) == first
    second = do(load(seed=1))
    assert known(database, load()) is None
    assert known(database, load(seed=1)) == second


def test_a_failed_import_replaces_nothing(database, do):
    first = do(load())
    do(load(seed=1), JobState.FAILED)
    assert known(database, load()) == first


def test_what_was_forgotten_since_is_not_imported_again(database, do):
    first = do(load())
    do(Forget(dataset="gas", group="ann"))
    assert known(database, load()) == first
