"""Real trainings: from a file to artifacts that answer, twice the same."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeops.artifact.manifest import USUAL_VARIANTS, MissingPolicy, Task, Transform, Variant
from edgeops.artifact.package import open_artifact, tflite_part
from edgeops.data.splits import Split
from edgeops.drift.finding import Finding, Kind, Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from edgeops.sketch.window import Sketcher
from edgeops.trust.repository import Repository
from fleet_server.datasets.snapshot import SnapshotFile, read_snapshot
from fleet_server.db import datasets, epochs, runs
from fleet_server.db.jobs import Job, JobState, Publish, Train, Withdraw
from fleet_server.db.models import Artifact
from fleet_server.db.runs import RunState
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.override import override_gate
from fleet_server.wall_clock import utc_now
from tests.ml.desk import Desk, write_clusters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("data"))
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def table(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A quick training on a table with gaps and heavy tails, and its dataset `table`."""
    file = write_clusters(tmp_path_factory.mktemp("source") / "table.npz", missing=True, heavy=True)
    desk.load(file, "table", label="y")
    return desk.train("table", RecipeName.DENSE, epochs=15)


@pytest.fixture(scope="module")
def digits(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The demonstration's training."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    file = tmp_path_factory.mktemp("source") / "digits.npz"
    np.savez(file, X=bundled.images.astype(np.float32), y=bundled.target)
    desk.load(file, "digits", label="y")
    return desk.train("digits", RecipeName.CNN)


def test_digits_are_told_apart_by_both_variants(desk: Desk, digits: Job) -> None:
    artifacts = desk.artifacts(digits)
    assert set(artifacts) == {"float32", "int8"}
    for artifact in artifacts.values():
        descriptor = artifact.describe()
        assert descriptor.manifest.metrics["accuracy"] >= 0.95
        assert descriptor.promotion.passed, descriptor.promotion.failures
    assert artifacts["int8"].tflite_bytes < 0.4 * artifacts["float32"].tflite_bytes


def test_images_are_watched_by_sixteen_channels(desk: Desk, digits: Job) -> None:
    names = [channel.name for channel in desk.artifacts(digits)["int8"].describe().manifest.channels]
    expected = ["brightness", "contrast", "sharpness", "clipped", "answer", "confidence", "margin"]
    assert names == expected + [f"projection-{index}" for index in range(9)]


def test_the_int8_file_takes_and_gives_integers(desk: Desk, digits: Job) -> None:
    manifest = desk.artifacts(digits)["int8"].describe().manifest
    assert [tensor.dtype for tensor in manifest.inputs + manifest.outputs] == ["int8"] * 3
    assert manifest.inputs[0].shape == (1, 8, 8, 1)
    assert manifest.outputs[manifest.output.answer].shape == (1, 10)
    assert manifest.outputs[manifest.output.embedding or 0].shape == (1, 32)
    assert manifest.requirements.ops["DEPTHWISE_CONV_2D"] >= 1
    assert manifest.requirements.ops["FULLY_CONNECTED"] < 12, "tflite-runtime 2.14 refuses version 12"
    assert manifest.lineage.calibration is not None


def test_an_artifact_answers_as_its_metrics_say_and_knows_its_golden_vectors(desk: Desk, digits: Job) -> None:
    snapshot = _snapshot(desk, digits)
    rows = snapshot.only(Split.EVALUATION)
    for artifact in desk.artifacts(digits).values():
        model = Model.load(desk.blobs.path(artifact.digest))
        answers = [int(model.predict(values[np.newaxis]).answer) for values in rows.values]
        assert np.mean(answers == rows.classes) == pytest.approx(model.manifest.metrics["accuracy"], abs=1e-6)
        assert check_golden(model, model.golden).ok


def test_the_reference_profile_holds_what_the_training_rows_gave(desk: Desk, digits: Job) -> None:
    snapshot = _snapshot(desk, digits)
    for artifact in desk.artifacts(digits).values():
        model = Model.load(desk.blobs.path(artifact.digest))
        profile = model.reference
        assert profile.names == tuple(channel.name for channel in model.manifest.channels)
        assert profile.summary().rows == snapshot.schema.split_rows[Split.TRAIN]
        row = snapshot.only(Split.TRAIN).values[0]
        channels = model.predict(row[np.newaxis]).channels
        assert channels[0] == pytest.approx(row.mean(), rel=1e-5)


def test_the_card_tells_what_the_model_is_worth(desk: Desk, table: Job) -> None:
    artifact = open_artifact(desk.blobs.path(desk.artifacts(table)["int8"].digest))
    accuracy = artifact.manifest.metrics["accuracy"]
    for part in ("# table 1 (int8)", "(idle, on, worn)", f"accuracy {accuracy:.4f}", "| worn |", "signed log1p"):
        assert part in artifact.card


def test_heavy_tails_and_gaps_are_seen_in_the_data(desk: Desk, table: Job) -> None:
    manifest = desk.artifacts(table)["float32"].describe().manifest
    assert manifest.task is Task.CLASSIFICATION
    assert manifest.preprocess.transform is Transform.SIGNED_LOG1P
    assert manifest.missing is MissingPolicy.NEUTRAL
    assert manifest.output.labels == ("idle", "on", "worn")
    assert manifest.metrics["accuracy"] > manifest.metrics["majority"]


def test_the_steps_of_a_training_reach_the_jobs_table(desk: Desk, table: Job) -> None:
    assert desk.steps(table) == [
        "starting",
        "reading rows",
        "loading TensorFlow",
        "training",
        "converting float32",
        "judging float32",
        "converting int8",
        "judging int8",
        "done",
    ]
    assert table.worker_pid is not None


def test_a_run_keeps_what_a_repetition_needs(desk: Desk, table: Job) -> None:
    assert table.result is not None
    with desk.database.read() as connection:
        run = runs.get(connection, table.result["run"])
    assert run is not None
    assert (run.state, run.seed, run.recipe, run.job_id) == (RunState.SUCCEEDED, 0, "dense", table.id)
    assert run.metrics["int8"]["accuracy"] == table.result["artifacts"]["int8"]["metrics"]["accuracy"]
    assert "keras" in run.environment.libraries
    assert run.calibration == desk.artifacts(table)["int8"].describe().manifest.lineage.calibration is not None
    assert {"training", "converting int8"} <= set(run.durations)


def test_every_epoch_of_a_run_can_be_read_afterwards(desk: Desk, table: Job) -> None:
    assert table.result is not None
    with desk.database.read() as connection:
        told = epochs.page(connection, table.result["run"], 0, 100)
    assert [one.number for one in told] == list(range(1, len(told) + 1))
    assert told[-1].training_loss < told[0].training_loss


def test_the_same_seed_repeats_every_byte_and_another_does_not(tmp_path: Path, desk: Desk, table: Job) -> None:
    """A second server, so that the version is the same too; its worker trained something else before."""
    other = Desk(tmp_path / "other")
    try:
        other.load(write_clusters(tmp_path / "first.npz"), "first", label="y")
        other.train("first", RecipeName.DENSE, epochs=2)
        other.load(write_clusters(tmp_path / "table.npz", missing=True, heavy=True), "table", label="y")
        again = other.train("table", RecipeName.DENSE, epochs=15)
        different = other.train("table", RecipeName.DENSE, epochs=15, seed=1)
        assert _digests(other.artifacts(again)) == _digests(desk.artifacts(table))
        weights, others = (_weights(other, job) for job in (again, different))
        assert weights != others
    finally:
        other.close()


def test_publishing_lists_the_descriptor_and_withdrawing_takes_it_out(desk: Desk, table: Job) -> None:
    repository = Repository.open(desk.config.repository, desk.config.keys)
    targets = {f"models/table/1-{variant}.json" for variant in USUAL_VARIANTS}
    desk.succeed(Publish(model="table", version=1))
    assert targets <= set(repository.listed())
    assert all(artifact.is_published for artifact in desk.artifacts(table).values())
    desk.succeed(Withdraw(model="table", version=1, variant=Variant.INT8))
    assert set(repository.listed()) & targets == {"models/table/1-float32.json"}
    published = {name: artifact.is_published for name, artifact in desk.artifacts(table).items()}
    assert published == {"float32": True, "int8": False}


def test_rows_in_time_order_are_summed_up_as_such_and_what_they_lack_is_told(desk: Desk, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = np.arange(600)
    day = np.sin(2 * np.pi * rows / 900)
    values = np.stack([day + 0.1 * random.normal(size=600), random.normal(size=600), np.full(600, 7.0)], axis=1)
    np.savez(tmp_path / "day.npz", X=values.astype(np.float32), y=(values[:, 1] > 0).astype(int))
    for name, in_time_order in (("ordered", True), ("shuffled", False)):
        desk.load(tmp_path / "day.npz", name, label="y", in_time_order=in_time_order)
        job = desk.train(name, RecipeName.DENSE, epochs=2)
        assert job.result is not None
        warnings = job.result["warnings"]
        reference = Model.load(desk.blobs.path(desk.artifacts(job)["int8"].digest)).reference
        assert reference is not None
        assert reference.ordered is in_time_order
        assert reference.summary().rows == (600 if in_time_order else 432), "held-out rows lie between the others"
        assert any("X2" in warning for warning in warnings), "a constant channel"
        assert any("X0" in warning for warning in warnings) is in_time_order, "a cycle longer than the reference"


def test_a_column_that_never_changed_is_no_drift_until_it_begins_to_and_then_it_is_told(
    desk: Desk, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(600, 3)).astype(np.float32)
    values[:, 2] = 7.0
    np.savez(tmp_path / "dead.npz", X=values, y=(values[:, 1] > 0).astype(int))
    desk.load(tmp_path / "dead.npz", "dead", label="y")
    model = Model.load(desk.blobs.path(desk.artifacts(desk.train("dead", RecipeName.DENSE))["int8"].digest))
    reference = model.reference
    assert reference is not None

    def judged(constant: float) -> Finding:
        windows = []
        for _ in range(3):
            sketcher = Sketcher(reference)
            for row in random.normal(size=(100, 3)).astype(np.float32):
                row[2] = constant
                sketcher.push(model.predict(row[np.newaxis]).channels)
            windows.append(sketcher.sketch())
        return judge(reference, windows, DriftPolicy(), channels=model.manifest.channels)

    same, begun = judged(7.0), judged(9.0)
    assert same.verdict is Verdict.STABLE, same.reason
    assert begun.kinds == (Kind.QUALITY,), begun.reason
    assert "X2 was 7 throughout the reference and is 9.00" in begun.reason


def test_what_its_gate_refused_is_published_only_when_somebody_overrides_it(desk: Desk, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    np.savez(tmp_path / "noise.npz", X=random.normal(size=(300, 3)), y=np.arange(300) % 10 < 1)
    desk.load(tmp_path / "noise.npz", "noise", label="y")
    artifacts = desk.artifacts(desk.train("noise", RecipeName.DENSE, epochs=1))
    assert not artifacts["int8"].describe().promotion.passed
    publishing = Publish(model="noise", version=1, variant=Variant.INT8)
    refused = desk.do(publishing)
    assert refused.state is JobState.FAILED
    assert "noise@1 int8 did not pass its promotion gate: keeps-what-it-knew: accuracy" in (refused.error or "")
    override_gate(
        desk.database, list(artifacts.values()), variant=Variant.INT8, by="ann", remark="a rehearsal", now=utc_now()
    )
    listed = desk.artifacts(desk.succeed(publishing))["int8"]
    override = listed.describe().promotion.override
    assert listed.is_published
    assert override is not None
    assert (override.by, override.remark) == ("ann", "a rehearsal")
    assert listed.digest == artifacts["int8"].digest, "the file is the same"


def test_what_cannot_be_done_fails_with_its_reason(desk: Desk, table: Job) -> None:
    assert table.state is JobState.SUCCEEDED
    for request, reason in (
        (Train(dataset="nothing", model="table", recipe=RecipeName.DENSE), "no dataset 'nothing'; import one first"),
        (Train(dataset="table", model="table", recipe=RecipeName.CNN), "recipe cnn needs images"),
        (Train(dataset="table", model="table", recipe=RecipeName.DENSE, options={"depth": 3.0}), "no option 'depth'"),
        (Publish(model="table", version=77), "has no version 77: it has 1"),
        (Publish(model="unknown", version=1), "there is no such model"),
    ):
        job = desk.do(request)
        assert job.state is JobState.FAILED
        assert reason in (job.error or "")


def test_a_worker_that_dies_fails_its_job_and_run_and_the_next_job_is_done(desk: Desk, table: Job) -> None:
    assert table.state is JobState.SUCCEEDED
    job = desk.queue(Train(dataset="table", model="table", recipe=RecipeName.DENSE))
    killer = threading.Thread(target=_kill_worker, args=(desk, job, "training"))
    killer.start()
    desk.desk.do_next()
    killer.join()
    job = desk.read(job)
    assert job.state is JobState.FAILED
    assert job.error == "the child process was ended by SIGKILL; was memory short? (at step 'training')"
    with desk.database.read() as connection:
        [run] = [run for run in runs.page(connection, None, 100) if run.job_id == job.id]
    assert run.state is RunState.FAILED
    desk.train("table", RecipeName.DENSE, epochs=1)


def _snapshot(desk: Desk, job: Job) -> SnapshotFile:
    assert isinstance(job.request, Train)
    with desk.database.read() as connection:
        head = datasets.head(connection, job.request.dataset)
    assert head is not None
    return read_snapshot(desk.blobs.path(head.digest))


def _digests(artifacts: dict[str, Artifact]) -> dict[str, str]:
    return {variant: artifact.digest for variant, artifact in artifacts.items()}


def _weights(desk: Desk, job: Job) -> bytes:
    return tflite_part(desk.blobs.read(desk.artifacts(job)["float32"].digest))


def _kill_worker(desk: Desk, job: Job, step: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = desk.read(job)
        if seen.step == step and seen.worker_pid is not None:
            os.kill(seen.worker_pid, signal.SIGKILL)
            return
        time.sleep(0.005)
