"""What a run leaves behind while it goes on: its epochs, its steps, and why it failed."""

import math

import pytest

from edgeops.learning.environment import Environment
from fleet_server.db import epochs, runs
from fleet_server.ml.epoch import Epoch
from fleet_server.ml.frames import Progress
from fleet_server.ml.surroundings import instruction_sets, look_around
from fleet_server.run_book import RunBook
from tests.contract.rig import START
from tests.stores import ON_BOTH, database_in
from tests.unit.run_rows import add_run

pytestmark = ON_BOTH


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


@pytest.fixture
def run(database):
    with database.write() as connection:
        return add_run(connection, "tiny", START)


def epoch(number, *, training=0.5):
    return Epoch(number=number, training_loss=training, validation_loss=0.25, learning_rate=1e-3, elapsed_s=number / 8)


def passed(database, run, *, after=0):
    with database.read() as connection:
        return epochs.page(connection, run, after, 100)


def test_what_is_told_stands_in_the_book_when_it_is_closed(database, run):
    book = RunBook(database, run)
    for number in (1, 2, 3):
        book.take(Progress(step="training", share=0.2, epoch=epoch(number)))
    book.take(Progress(step="judging int8", share=0.9))
    book.close()
    assert passed(database, run) == [epoch(1), epoch(2), epoch(3)]
    assert passed(database, run, after=2) == [epoch(3)]
    with database.read() as connection:
        found = runs.get(connection, run)
    assert list(found.durations) == ["waiting for the worker", "training", "judging int8"]
    assert all(seconds >= 0 for seconds in found.durations.values())


def test_a_loss_that_is_no_number_is_kept_as_none(database, run):
    book = RunBook(database, run)
    for number, loss in enumerate((math.nan, math.inf), start=1):
        book.take(Progress(step="training", share=0.2, epoch=epoch(number, training=loss)))
    book.close()
    assert [math.isnan(one.training_loss) for one in passed(database, run)] == [True, True]


def test_a_failed_run_stays_with_its_reason_and_its_environment(database, run):
    environment = Environment(python="3.11", libraries={"keras": "3.15"}, difference="sha256:" + "0" * 64)
    with database.write() as connection:
        snapshot = runs.get(connection, run).snapshot
        runs.start(
            connection, "run-2", job_id="job-2", model="tiny", snapshot=snapshot, recipe="dense", seed=1,
            parameters={"epochs": 3}, environment=environment, now=START,
        )  # fmt: skip
        runs.fail_unfinished(connection, "job-2", error="class 'on' has no row", now=START)
        found = runs.get(connection, "run-2")
        of_others = runs.page(connection, None, 10, model="other")
    assert (found.state, found.error) == (runs.RunState.FAILED, "class 'on' has no row")
    assert found.environment == environment
    assert of_others == []


def test_instruction_sets_are_those_that_decide_about_kernels():
    assert instruction_sets({"flags": "fpu avx2 fma sse4_2 avx512f lahf_lm"}) == ("avx2", "avx512f", "fma", "sse4_2")
    assert instruction_sets({"Features": "fp asimd evtstrm crc32"}) == ("asimd",)
    assert instruction_sets({}) == ()


def test_the_place_of_a_training_is_known_without_tensorflow():
    here = look_around()
    assert here.python
    assert here.architecture
    assert here.threads == 1
    assert "numpy" in here.libraries
