"""Bringing a model by a job: whatever ends it, the books hold a whole version or none."""

import os
import signal
import threading
from datetime import timedelta

import pytest

from edgeops.learning.labels import Given, LabelSource
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import aliases, jobs, models, runs, samples
from fleet_server.db.jobs import Bring, JobState, Retrain
from fleet_server.db.runs import RunState
from fleet_server.job_desk import JobDesk
from fleet_server.labelling import take_labels
from fleet_server.ml import frames
from fleet_server.ml.supervisor import Worker
from tests.contract.rig import START
from tests.contract.trained import add_dataset
from tests.golden.tiny import HERE as GOLDEN
from tests.golden.tiny import LABELS, tiny_rows, tiny_tflite
from tests.ml.brought import Place
from tests.models.bad import HERE as BAD
from tests.stores import ON_BOTH, database_in

MINUTE = timedelta(minutes=1)
on_both = ON_BOTH


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path)
    config.run.mkdir(parents=True)
    return config


@pytest.fixture
def database(config):
    database = database_in(config.db)
    yield database
    database.close()


@pytest.fixture
def desk(database, config):
    desk = JobDesk(config, database, threading.Event())
    yield desk
    desk.close()


@pytest.fixture
def request_of(config, database):
    snapshot = add_dataset(config, database, START)

    def request(content):
        upload = Blobs(config).put(content)
        return Bring(model="own", upload=upload, file_name="own.tflite", snapshot=snapshot)

    return request


def queue(database, request):
    with database.write() as connection:
        return jobs.queue(connection, request, created_by="ann", now=START)


def books(database, job):
    with database.read() as connection:
        return (
            jobs.get(connection, job.id),
            [run.state for run in runs.page(connection, None, 10)],
            [one.version for one in models.list_versions(connection, "own")],
        )


@on_both
def test_a_brought_model_is_written_down_whole(database, desk, config, request_of):
    job = queue(database, request_of(tiny_tflite()))
    assert desk.do_next()
    job, states, versions = books(database, job)
    assert (job.state, states, versions) == (JobState.SUCCEEDED, [RunState.SUCCEEDED], [1])
    with database.read() as connection:
        run = runs.get(connection, job.result["run"])
        (artifact,) = models.list_artifacts(connection, "own", 1)
    assert (run.recipe, run.parameters["digest"]) == ("brought", job.request.upload)
    assert "numpy" in run.environment.libraries
    assert "asking for first answers" in run.durations
    assert not config.blob_path(job.request.upload).exists()
    lineage = artifact.describe().manifest.lineage
    assert (lineage.recipe, lineage.brought, lineage.snapshot) == ("brought", job.request.upload, job.request.snapshot)


@on_both
def test_a_job_that_the_server_did_not_survive_is_done_once_more(database, desk, config, request_of):
    job = queue(database, request_of(tiny_tflite()))
    with database.write() as connection:
        jobs.claim(connection, START)
        runs.start(
            connection, "run-half", job_id=job.id, model="own", snapshot=job.request.snapshot, recipe="brought", seed=0,
            parameters={}, now=START,
        )  # fmt: skip
    (config.run / "job-left").mkdir()
    desk.recover()
    assert not (config.run / "job-left").exists()
    assert desk.do_next()
    job, states, versions = books(database, job)
    assert (job.state, states, versions) == (JobState.SUCCEEDED, [RunState.FAILED, RunState.SUCCEEDED], [1])


def test_a_brought_model_is_not_healed_by_labels(database, desk, request_of):
    queue(database, request_of(tiny_tflite()))
    assert desk.do_next()
    with database.read() as connection:
        (artifact,) = models.list_artifacts(connection, "own", 1)
    job = queue(database, Retrain(retraining="ret-1", model="own", digest=artifact.digest, deployment="pump1"))
    assert desk.do_next()
    assert "own@1 was brought as a file, and nothing here knows how to train it" in books(database, job)[0].error


def answered(database, artifact, rows, *, since):
    """Inputs that two devices sent as samples; their ids."""
    made = [
        samples.SampleRow(
            id=f"edge-{number % 2}.{number}", device_id=f"edge-{number % 2}", deployment="pump1",
            digest=artifact.digest, nomination="n-1", input_id=str(number), answered_at=since, received_at=since,
            readings=row.astype("<f4").tobytes(), answer=0.0, confidence=0.5, weight=1.0, by_chance=False,
            shadow_answer=None,
        )
        for number, row in enumerate(rows)
    ]  # fmt: skip
    with database.write_telemetry() as connection:
        samples.add(connection, made)
    return [one["id"] for one in made]


def rule(database, version, name):
    with database.read() as connection:
        (artifact,) = models.list_artifacts(connection, "own", version)
    return next(one for one in artifact.describe().promotion.rules if one.name == name)


def test_a_next_version_is_judged_on_what_people_labelled_since_beside_the_champion(database, desk, request_of):
    queue(database, request_of(tiny_tflite()))
    assert desk.do_next()
    told = rule(database, 1, "answers-recent-labels")
    assert told.passed
    assert "people labelled no sample" in told.reason
    assert "nobody here knows whether it saw them" in rule(database, 1, "keeps-what-it-knew").reason
    with database.write() as connection:
        (first,) = models.list_artifacts(connection, "own", 1)
        aliases.assign(connection, "own", aliases.Alias.CHAMPION, 1, START, actor="me", reason="rolled out")
    rows, classes = tiny_rows(30, seed=77)
    ids = answered(database, first, rows, since=START)
    given = [Given(sample_id, LABELS[place]) for sample_id, place in zip(ids, classes, strict=True)]
    take_labels(database, given[:20], source=LabelSource.PERSON, author="ann", now=START)
    take_labels(database, given[20:], source=LabelSource.FEEDBACK, author="edge-0", now=START)

    queue(database, request_of(tiny_tflite()))
    assert desk.do_next()
    told = rule(database, 2, "answers-recent-labels")
    assert told.passed
    assert "on 20 samples of 2 devices that people labelled, of which nobody here knows" in told.reason
    assert "which may have learnt from all of them" in told.reason
    assert told.measured["champion"] == told.measured["accuracy"]


def test_a_child_that_is_killed_leaves_nothing_and_the_next_job_is_done(database, desk, config, request_of):
    job = queue(database, request_of((BAD / "hanging.tflite").read_bytes()))
    stop = threading.Event()

    def kill():
        while not stop.wait(0.01):
            seen = books(database, job)[0]
            if seen.step == "asking for first answers":
                os.kill(seen.worker_pid, signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    assert desk.do_next()
    stop.set()
    killer.join()
    ended, states, versions = books(database, job)
    assert (ended.state, states, versions) == (JobState.FAILED, [RunState.FAILED], [])
    assert "was ended by SIGKILL; was memory short? (at step 'asking for first answers')" in ended.error
    assert not config.blob_path(job.request.upload).exists()
    again = queue(database, request_of(tiny_tflite()))
    assert desk.do_next()
    assert books(database, again)[0].state is JobState.SUCCEEDED


@pytest.fixture
def worker():
    worker = Worker(stop=threading.Event(), memory_bytes=2 * 1024**3)
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (BAD / "hanging.tflite", "ended by SIGALRM; the model did not answer in time, and may never"),
        (BAD / "crashing.tflite", "ended by SIGFPE"),
    ],
)
def test_a_model_that_does_not_answer_ends_its_child_alone(worker, tmp_path, file, words):
    task = Place(tmp_path).task(file, labels=LABELS, patience_s=1.0)
    ending = worker.run(task, timeout=MINUTE, on_progress=lambda _progress: None)
    assert isinstance(ending, frames.Crashed)
    assert words in ending.reason


def test_a_model_that_wants_more_memory_than_it_may_is_told(worker, tmp_path):
    task = Place(tmp_path).task(GOLDEN / "tiny-hungry-float32.tflite", labels=LABELS)
    ending = worker.run(task, timeout=MINUTE, on_progress=lambda _progress: None)
    assert isinstance(ending, frames.Refused)
    assert "the model fails at its first answer" in ending.reason
