"""What the stores hold comes out of the API whole, named and in the client's types."""

import io
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.roles import Role
from edgeops.artifact.manifest import USUAL_VARIANTS, Task, Variant, encode_value, target_path
from edgeops.artifact.package import open_artifact, tflite_part
from edgeops.data.rules import Rules
from edgeops.errors import ConflictError, InputError, NotFoundError, UnreachableError, WaitTimeoutError
from edgeops.folder import open_folder
from edgeops.learning.environment import Environment
from edgeops.protocol.messages import (
    DeploymentState,
    DesiredDeployment,
    DeviceFacts,
    Paired,
    Phase,
    Presence,
    Reported,
    UpdateState,
    encode,
)
from edgeops.sketch.packing import pack
from edgeops.sketch.reference import decode_reference
from edgeops.sketch.window import Sketcher
from fleet_server.blobs import Blobs
from fleet_server.datasets.snapshot import encode_snapshot
from fleet_server.db import datasets, devices, epochs, ingest, jobs, models, runs
from fleet_server.ml.epoch import Epoch
from fleet_server.ml.recipes.names import RecipeName
from tests.contract.rig import START, ApiRig
from tests.golden.tiny import COLUMNS, LABELS, tiny_artifact, tiny_descriptor, tiny_rows
from tests.imported import import_file

pytestmark = pytest.mark.slow

DEVICE = "camera-0001"
DEPLOYMENT = "meter"
FACTS = DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1 << 30, disk_free_bytes=20
)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    rig.enrol_device(DEVICE, name="camera", labels={"hall": "3"})
    rig.digest = add_model(rig)
    add_reports(rig)
    add_dataset(rig, tmp_path_factory.mktemp("upload") / "blobs.csv")
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def client(rig):
    return rig.client(Role.OPERATOR)


def add_model(rig):
    """`tiny` in version 1, int8 published and float32 not; the digest of the first."""
    digests = {}
    with rig.database.write() as connection:
        models.add_version(connection, "tiny", 1, task=Task.CLASSIFICATION, run_id=add_run(rig, connection), now=START)
        for variant in USUAL_VARIANTS:
            data = tiny_artifact("tiny", 1, variant)
            descriptor = tiny_descriptor(data)
            digests[variant] = Blobs(rig.config).put(data)
            models.add_artifact(
                connection,
                models.Artifact(
                    digest=descriptor.digest,
                    model="tiny",
                    version=1,
                    variant=variant,
                    size_bytes=len(data),
                    tflite_bytes=len(tflite_part(data)),
                    target=target_path(descriptor.manifest),
                    descriptor=encode_value(descriptor),
                    created_at=START,
                    published_at=START if variant is Variant.INT8 else None,
                    withdrawn_at=None,
                ),
            )
    return digests[Variant.INT8]


def add_run(rig, connection):
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    snapshot = "sha256:" + "0" * 64
    connection.exec_driver_sql("INSERT INTO datasets (name, created_at, created_by) VALUES ('seed', 0, 'me')")
    connection.exec_driver_sql(
        "INSERT INTO snapshots (digest, dataset, created_at, rows, size_bytes, schema) VALUES (?, 'seed', 0, 0, 0, '{}')",
        (snapshot,),
    )
    runs.start(
        connection,
        "run-1",
        job_id="job-1",
        model="tiny",
        snapshot=snapshot,
        recipe="dense",
        seed=7,
        parameters={},
        environment=Environment(python="3.11"),
        now=START,
    )
    metrics = {"int8": {"accuracy": 0.97}}
    runs.succeed(connection, "run-1", metrics=metrics, now=START)
    connection.exec_driver_sql("UPDATE datasets SET head = NULL WHERE name = 'seed'")
    return "run-1"


def running(digest):
    """What a device reports that runs this."""
    return Reported(
        desired_epoch=1,
        desired_revision=1,
        facts=FACTS,
        deployments=(DeploymentState(deployment=DEPLOYMENT, state=UpdateState.COMMITTED, active=digest),),
        counters={"spool.dropped": 2},
    )


def add_reports(rig):
    """Two windows of 100 rows and three answers."""
    with rig.database.write() as connection:
        devices.set_presence(
            connection, DEVICE, presence=Presence.ONLINE, session_counter=1, agent_version="0.1", now=START
        )
        devices.set_reported(connection, DEVICE, running(rig.digest), now=START)
    with rig.database.write_telemetry() as connection:
        unknown = {"digest": "sha256:" + "f" * 64}
        paired = {"paired": encode(PAIRED)}
        ingest.add_windows(connection, [window(rig, 0), window(rig, 1, **paired), window(rig, 2, **unknown, **paired)])
        ingest.put_predictions(
            connection, [prediction(rig, "0", 2.0, 0), prediction(rig, "1", 0.0, 5), prediction(rig, "2", math.inf, 3)]
        )


def sketch_of(rig, rows):
    artifact = open_artifact(Blobs(rig.config).path(rig.digest))
    sketcher = Sketcher(decode_reference(artifact.reference))
    values = np.full((len(rows), len(artifact.manifest.channels)), 0.5, np.float32)
    values[:, : len(COLUMNS)] = rows
    sketcher.add(values)
    return pack(sketcher.sketch())


PAIRED = Paired(
    shadow=bytes.fromhex("5a" * 32),
    rows=20,
    errors=1,
    shadow_errors=2,
    skipped=3,
    latency_p50_us=5,
    latency_p95_us=6,
    shadow_latency_p50_us=7,
    shadow_latency_p95_us=8,
    cells=(6, 1, 0, 2, 5, 0, 0, 0, 6),
    unmatched=4,
)


def window(rig, number, **values):
    rows, _ = tiny_rows(100, seed=number)
    rows[:10, 0] = np.nan
    return {
        "device_id": DEVICE,
        "spool": b"spoolspo",
        "seq": number,
        "deployment": DEPLOYMENT,
        "digest": rig.digest,
        "phase": Phase.LIVE,
        "closed_at": START + timedelta(minutes=number),
        "received_at": START + timedelta(minutes=number),
        "duration_ms": 1000,
        "rows": 100,
        "source_rows": 100,
        "errors": 1,
        "dropped": 2,
        "latency_p50_us": 10,
        "latency_p95_us": 20,
        "record_bytes": 500,
        "sketch": sketch_of(rig, rows),
        "paired": b"",
    } | values


def prediction(rig, input_id, answer, second):
    return {
        "device_id": DEVICE,
        "deployment": DEPLOYMENT,
        "digest": rig.digest,
        "input_id": input_id,
        "phase": Phase.LIVE,
        "answer": answer,
        "confidence": 0.9,
        "answered_at": START + timedelta(seconds=second),
        "received_at": START + timedelta(seconds=second),
    }


def add_dataset(rig, path):
    rows, classes = tiny_rows(200)
    lines = [",".join((*COLUMNS, "colour"))]
    lines += [",".join([*map(str, row), LABELS[one]]) for row, one in zip(rows, classes, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    snapshot = import_file(path, file_name="blobs.csv", label="colour", hold_out=0.2, seed=1)
    data = encode_snapshot(snapshot)
    digest = Blobs(rig.config).put(data)
    with rig.database.write() as connection:
        datasets.add_snapshot(
            connection, "colours", digest, size_bytes=len(data), schema=snapshot.schema, created_by="me", now=START
        )
    rig.imported = snapshot


# -- devices ------------------------------------------------------------------------


def test_a_device_shows_what_it_said_last(client, rig):
    device = client.device(DEVICE)
    assert (device.name, device.labels, device.presence, device.agent_version) == (
        "camera",
        {"hall": "3"},
        "online",
        "0.1",
    )
    assert device.facts.arch == "x86_64"
    assert device.counters == {"spool.dropped": 2}
    (deployment,) = device.deployments
    assert (deployment.deployment, deployment.state, deployment.active) == (DEPLOYMENT, "committed", rig.digest)
    assert [one.id for one in client.devices()] == [DEVICE]


def test_a_list_of_devices_says_what_each_shall_run(client, rig):
    wanted = DesiredDeployment(deployment=DEPLOYMENT, target="models/tiny/1-int8.json", digest=rig.digest)
    with rig.database.write() as connection:
        devices.set_desired(connection, DEVICE, wanted, START)
    (listed,) = client.devices()
    assert [one.digest for one in listed.desired] == [rig.digest]
    assert listed == client.device(DEVICE)


def test_a_window_names_its_channels_and_measures_them(client, rig):
    first = next(client.telemetry(DEVICE))
    rows, _ = tiny_rows(100, seed=0)
    assert [channel.name for channel in first.channels] == [*COLUMNS, "answer", "confidence", "margin"]
    x1, x2 = first.channels[:2]
    assert (x1.count, x1.missing, x2.count, x2.missing) == (90, 10, 100, 0)
    assert x2.mean == pytest.approx(rows[:, 1].mean(), abs=0.05)
    assert x2.std == pytest.approx(rows[:, 1].std(), abs=0.05)
    assert x2.min == pytest.approx(rows[:, 1].min(), abs=0.1)
    assert x2.max == pytest.approx(rows[:, 1].max(), abs=0.1)
    assert x2.histogram is None
    assert (first.rows, first.errors, first.dropped, first.record_bytes) == (100, 1, 2, 500)


def test_a_window_of_an_unknown_artifact_is_shown_without_channels(client):
    *_, last = client.telemetry(DEVICE)
    assert last.digest == "sha256:" + "f" * 64
    assert last.channels == ()


def test_a_window_says_what_a_shadow_answered_and_how_often_it_disagreed(client):
    alone, beside, unknown = client.telemetry(DEVICE)
    assert alone.paired is None
    shown = beside.paired
    assert (shown.shadow, shown.rows, shown.cells) == ("sha256:" + "5a" * 32, 20, PAIRED.cells)
    assert (shown.errors, shown.shadow_errors, shown.skipped, shown.unmatched) == (1, 2, 3, 4)
    assert (shown.latency_p50_us, shown.latency_p95_us) == (5, 6)
    assert (shown.shadow_latency_p50_us, shown.shadow_latency_p95_us) == (7, 8)
    assert shown.disagreements == 3
    assert unknown.paired.disagreements is None


def test_one_channel_comes_with_its_histogram(client):
    first = next(client.telemetry(DEVICE, channel="x1"))
    (channel,) = first.channels
    assert sum(channel.histogram) == channel.count == 90
    assert len(channel.histogram) == 32


def test_an_unknown_channel_is_told_with_the_ones_there_are(client):
    with pytest.raises(InputError, match=r"channel: no channel 'x9'.*x1"):
        list(client.telemetry(DEVICE, channel="x9"))


def test_windows_are_chosen_by_time_and_deployment(client):
    def closed(**query):
        return [(one.closed_at - START) // timedelta(minutes=1) for one in client.telemetry(DEVICE, **query)]

    assert closed() == [0, 1, 2]
    assert closed(since=START + timedelta(minutes=1)) == [1, 2]
    assert closed(until=START + timedelta(minutes=1)) == [0]
    assert closed(since=START + timedelta(minutes=1), until=START + timedelta(minutes=2)) == [1]
    assert closed(deployment=DEPLOYMENT, since=START + timedelta(minutes=9)) == []


def test_a_moment_without_a_zone_is_refused(client):
    with pytest.raises(InputError, match="from"):
        list(client.telemetry(DEVICE, since=datetime(2026, 1, 1)))  # noqa: DTZ001 - the point
    assert len(list(client.telemetry(DEVICE, since=datetime(2026, 1, 1, tzinfo=UTC)))) == 3


def test_an_unknown_deployment_is_told_with_the_ones_there_are(client):
    for question in (client.predictions(DEVICE, "gas"), client.telemetry(DEVICE, deployment="gas")):
        with pytest.raises(NotFoundError, match=f"'gas'.*{DEPLOYMENT}"):
            list(question)


def test_answers_carry_their_labels(client, rig):
    answers = list(client.predictions(DEVICE, DEPLOYMENT, rig.digest))
    assert [(one.input_id, one.label) for one in answers] == [("0", "blue"), ("1", "red"), ("2", None)]
    assert math.isnan(answers[2].answer)
    (latest,) = client.latest_predictions(DEVICE)
    assert latest.input_id == "1"


# -- data, runs, models ---------------------------------------------------------------


def test_a_dataset_gives_its_rows_without_labels_and_its_labels_without_rows(client, rig):
    dataset = client.dataset("colours")
    assert [one.digest for one in dataset.snapshots] == [dataset.head.digest]
    assert {one.snapshots for one in client.datasets()} == {None}
    assert dataset.head.details["columns"] == list(COLUMNS)
    assert dataset.head.rows == 200
    rows = np.load(io.BytesIO(client.dataset_rows("colours")))
    assert set(rows.files) == {"id", "X", "columns"}
    lines = client.dataset_labels("colours").decode().splitlines()
    assert lines[0].startswith("id,label")
    assert [int(line.split(",")[0]) for line in lines[1:]] == rows["id"].tolist()
    assert len(rows["X"]) == rig.imported.schema.split_rows[2]


def test_a_dataset_that_is_compared_with_itself_differs_in_nothing(client, rig):
    digest = client.dataset("colours").head.digest
    found = client.dataset_difference("colours", digest)
    assert (found.old, found.new, found.rows) == (digest, digest, (200, 200))
    assert not any((found.moved, found.classes, found.rules))
    with pytest.raises(NotFoundError, match="no snapshot sha256:1"):
        client.dataset_difference("colours", "sha256:" + "1" * 64)
    with pytest.raises(NotFoundError, match="no row was refused"):
        client.dataset_quarantine("colours")


def test_an_upload_becomes_a_blob_and_a_job_with_all_its_fields(client, rig, tmp_path):
    path = tmp_path / "gas drift.csv"
    path.write_text("a,b,gas\n1,2,x\n")
    job = client.import_dataset(
        path, name="gas", label="gas", features="a, b", where=["batch=1,2", "b=2"], exclude="c", hold_out=0.25, seed=3
    )
    assert (job.kind, job.state, job.created_by) == ("dataset", "queued", "a operator")
    with rig.database.read() as connection:
        request = jobs.get(connection, job.id).request
    assert Blobs(rig.config).read(request.upload) == path.read_bytes()
    assert request == jobs.ImportDataset(
        name="gas",
        upload=request.upload,
        file_name="gas drift.csv",
        rules=Rules(
            label="gas",
            features=("a", "b"),
            exclude=("c",),
            where=("batch=1,2", "b=2"),
            hold_out=0.25,
            seed=3,
        ),
    )


def test_a_folder_is_sent_as_a_zip_that_is_learnt_by_its_classes(client, rig, tmp_path):
    for kind in ("on", "off"):
        (tmp_path / "lamps" / kind).mkdir(parents=True)
        (tmp_path / "lamps" / kind / "1.png").write_bytes(kind.encode())
    job = client.import_dataset(tmp_path / "lamps", name="lamps", pattern="(?P<class>o)", size="8x12", grey=True)
    with rig.database.read() as connection:
        request = jobs.get(connection, job.id).request
    with open_folder(Blobs(rig.config).path(request.upload), file_name="lamps.zip") as sent:
        assert {path: sent.read(path) for path in sent.paths} == {"off/1.png": b"off", "on/1.png": b"on"}
    assert request == jobs.ImportDataset(
        name="lamps",
        upload=request.upload,
        file_name="lamps.zip",
        rules=Rules(label="class", pattern="(?P<class>o)", size=(8, 12), grey=True),
    )


def test_a_folder_that_is_too_large_is_told_before_anything_is_sent(client, tmp_path, monkeypatch):
    (tmp_path / "lamps").mkdir()
    (tmp_path / "lamps" / "1.png").write_bytes(bytes(11))
    monkeypatch.setattr(limits, "MAX_UPLOAD_BYTES", 10)
    with pytest.raises(InputError, match="holds 11 bytes, an upload has 10 at most"):
        client.import_dataset(tmp_path / "lamps", name="lamps")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "Gas drift"}, "name"),
        ({"size": "8"}, "size"),
        ({"pattern": "(?P<class>"}, "no regular expression"),
        ({"hold_out": 1.5}, "hold_out"),
        ({"hold_out": 0.0}, "hold_out"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_upload_field_that_cannot_be_used_is_named(client, tmp_path, fields, named):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=named):
        client.import_dataset(path, **({"name": "gas", "label": "b"} | fields))


def test_a_file_that_cannot_be_read_is_told_before_anything_is_sent(client, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.csv"):
        client.import_dataset(tmp_path / "nothing.csv", name="gas", label="b")


def test_training_queues_a_job_with_what_was_asked(client, rig):
    job = client.train("colours", "tiny", recipe="cnn", seed=5, epochs=3)
    with rig.database.read() as connection:
        assert jobs.get(connection, job.id).request == jobs.Train(
            dataset="colours", snapshot=datasets.head(connection, "colours").digest, model="tiny",
            recipe=RecipeName.CNN, seed=5, epochs=3,
        )  # fmt: skip
    job = client.train("colours", "tiny", recipe="dense", options={"batch": 16, "transform": "none"})
    with rig.database.read() as connection:
        assert jobs.get(connection, job.id).request.options == {"batch": 16.0, "transform": "none"}
    with pytest.raises(InputError, match=r"recipe: no recipe 'magic'; there are .*dense"):
        client.train("colours", "tiny", recipe="magic")
    with pytest.raises(NotFoundError, match="no dataset 'nope'"):
        client.train("nope", "tiny")


def test_a_model_shows_its_versions_variants_and_metrics(client):
    (listed,) = client.models()
    assert (listed.name, listed.task, listed.latest_version) == ("tiny", "classification", 1)
    assert listed.versions is None, "a list does not tell them, which is not the same as none"
    (version,) = client.model("tiny").versions
    assert (version.labels, version.columns, version.channels) == (None, None, None)
    variants = {artifact.variant: artifact for artifact in version.artifacts}
    assert variants["int8"].is_listed
    assert not variants["float32"].is_listed
    assert variants["int8"].metrics == {"accuracy": 0.99}
    assert variants["int8"].tflite_bytes < variants["int8"].size_bytes
    shown = client.version("tiny", 1)
    assert (shown.labels, shown.columns) == (LABELS, COLUMNS)
    assert shown.channels[-1] == "margin"


def test_publishing_and_withdrawing_are_jobs(client, rig):
    made = [client.publish("tiny", 1, variant="float32"), client.publish("tiny", 1), client.withdraw("tiny", 1)]
    with rig.database.read() as connection:
        requests = [jobs.get(connection, job.id).request for job in made]
    assert requests == [
        jobs.Publish(model="tiny", version=1, variant=Variant.FLOAT32),
        jobs.Publish(model="tiny", version=1, variant=None),
        jobs.Withdraw(model="tiny", version=1, variant=None),
    ]
    with pytest.raises(NotFoundError, match="version 2"):
        client.publish("tiny", 2)
    with pytest.raises(InputError, match="variant"):
        client.publish("tiny", 1, variant="int4")


def test_a_run_shows_its_metrics(client):
    run = client.run("run-1")
    assert (run.state, run.metrics, run.environment.python) == ("succeeded", {"int8": {"accuracy": 0.97}}, "3.11")
    assert [one.id for one in client.runs()] == [one.id for one in client.runs("tiny")] == ["run-1"]
    assert list(client.runs("other")) == []


def test_a_run_tells_its_epochs_page_by_page(rig, client):
    told = [
        Epoch(number=n, training_loss=1 / n, validation_loss=math.nan, learning_rate=0.1, elapsed_s=n)
        for n in (1, 2, 3)
    ]
    with rig.database.write() as connection:
        epochs.add(connection, "run-1", told)
    assert [one.training_loss for one in client.epochs("run-1")] == [1.0, 0.5, 1 / 3]
    [last] = client.epochs("run-1", after=2)
    assert (last.number, math.isnan(last.validation_loss)) == (3, True)
    with pytest.raises(NotFoundError, match="edgeops run list"):
        list(client.epochs("run-2"))


# -- jobs and rollouts ------------------------------------------------------------------


def test_waiting_for_a_job_sees_its_progress_and_its_end(client, rig):
    job = client.train("colours", "tiny")
    seen = []

    def work(shown):
        """Each time the client has seen something, the next thing happens."""
        seen.append((shown.state, shown.step))
        with rig.database.write() as connection:
            match shown.state:
                case "queued":
                    while jobs.claim(connection, START).id != job.id:
                        pass
                case "running" if shown.step != "train":
                    jobs.progress(connection, job.id, step="train", share=0.5, now=START)
                case "running":
                    jobs.succeed(connection, job.id, result={"version": 2}, now=START)

    ended = client.wait_job(job.id, on_progress=work, timeout=timedelta(seconds=30))
    assert (ended.state, ended.result, ended.progress) == ("succeeded", {"version": 2}, 1.0)
    assert seen == [("queued", ""), ("running", "starting"), ("running", "train"), ("succeeded", "done")]


def test_waiting_has_an_end(client):
    job = client.train("colours", "tiny")
    with pytest.raises(WaitTimeoutError, match=f"{job.id} is still queued"):
        client.wait_job(job.id, timeout=timedelta(milliseconds=200))


def test_a_rollout_is_created_read_and_aborted(client, rig):
    with rig.database.write() as connection:
        devices.set_reported(connection, DEVICE, running(None), now=START)
    rollout = client.create_rollout("tiny", 1, deployment=DEPLOYMENT, to="label.hall=3", waves=("100%",))
    assert (rollout.state, rollout.digest, rollout.variant) == ("running", rig.digest, "int8")
    assert [wave.size for wave in rollout.waves] == [1]
    assert rollout.revision >= 1
    (installation,) = client.installations(rollout.id)
    assert (installation.device_id, installation.deployment) == (DEVICE, DEPLOYMENT)
    aborted = client.abort_rollout(rollout.id)
    assert (aborted.state, aborted.ended) == ("aborted", True)
    assert "a operator" in aborted.reason
    assert aborted.revision > rollout.revision
    with pytest.raises(ConflictError, match="aborted"):
        client.abort_rollout(rollout.id)
    assert rollout.id in [one.id for one in client.rollouts()]


def test_a_rollout_that_cannot_be_says_why(client, rig):
    with rig.database.write() as connection:
        devices.set_reported(connection, DEVICE, running(None), now=START)
    with pytest.raises(ConflictError, match="not published"):
        client.create_rollout("tiny", 1, deployment=DEPLOYMENT, variant="float32")
    with pytest.raises(NotFoundError, match="no model"):
        client.create_rollout("huge", 1, deployment=DEPLOYMENT)
    with pytest.raises(InputError, match="gas"):
        client.create_rollout("tiny", 1, deployment="gas")
    with pytest.raises(InputError, match="200%"):
        client.create_rollout("tiny", 1, deployment=DEPLOYMENT, waves=("200%",))


# -- the client -------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_unreachable():
    with Client("http://127.0.0.1:1") as client, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        client.health()


def test_another_program_at_that_address_is_told(rig):
    with Client(f"{rig.url}/tuf/metadata/1.root.json?") as client, pytest.raises(UnreachableError):
        client.health()


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "é"])
def test_a_token_that_cannot_be_one_is_told(rig, token):
    with pytest.raises(InputError, match="token"):
        Client(rig.url, token)


def test_names_with_odd_characters_are_only_names(client):
    for name in ("..", ".", "a/b", "a b", "ü", "%2e%2e", "?x=1", "#", ""):
        with pytest.raises(NotFoundError):
            client.device(name)
