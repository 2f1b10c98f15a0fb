"""`edgeops publish FILE`: from a file to a version that devices may run, by the command and by the API."""

import json
import threading

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from fleet_server.db import jobs, models
from fleet_server.db.jobs import JobState
from fleet_server.job_desk import JobDesk
from tests.contract.rig import assert_problem
from tests.contract.trained import DATASET, add_dataset
from tests.golden.tiny import LABELS, tiny_artifact, tiny_tflite

WHOLE = tiny_tflite("int8")
DAMAGED = WHOLE[:400] + b"\xff" * 200 + WHOLE[600:]
#: Longer than the name of a file can be.
MANY = ",".join(f"class-{number}" for number in range(100))


@pytest.fixture(scope="module")
def desk(rig):
    """Sees jobs through while commands wait for them."""
    rig.config.run.mkdir(parents=True, exist_ok=True)
    add_dataset(rig.config, rig.database, rig.now)
    stop = threading.Event()
    desk = JobDesk(rig.config, rig.database, stop)

    def work():
        while not stop.is_set():
            if not desk.do_next():
                stop.wait(0.05)

    worker = threading.Thread(target=work)
    worker.start()
    yield desk
    stop.set()
    worker.join()
    desk.close()


@pytest.fixture
def command(rig, desk, capsys, monkeypatch):
    def call(*arguments, role=Role.OPERATOR):
        monkeypatch.setenv("EDGEOPS_URL", rig.url)
        monkeypatch.setenv("EDGEOPS_TOKEN", rig.tokens[role])
        code = run([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(tiny_tflite("int8"))
    return file


def versions(rig, name):
    with rig.database.read() as connection:
        return models.list_versions(connection, name)


def test_a_tflite_is_judged_and_published_by_one_command(rig, command, model):
    options = ("--name", "own", "--calibrate", DATASET, "--labels", ",".join(LABELS))
    code, out, err = command("publish", model, *options)
    assert code == 0, err
    assert "own@1" in out
    assert "next: edgeops rollout create own@1" in err
    with rig.database.read() as connection:
        (artifact,) = models.list_artifacts(connection, "own", 1)
    assert artifact.is_published
    manifest = artifact.describe().manifest
    assert (manifest.variant, manifest.output.labels) == ("int8", LABELS)
    assert manifest.metrics["accuracy"] > 0.9


def test_a_draft_is_published_later_by_its_version(rig, command, model, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS))
    options = ("--name", "own-draft", "--calibrate", DATASET, "--labels", labels, "--draft", "--json")
    code, out, err = command("publish", model, *options, role=Role.DATA_SCIENTIST)
    assert code == 0, err
    assert json.loads(out)["result"]["version"] == 1
    with rig.database.read() as connection:
        assert not any(one.is_published for one in models.list_artifacts(connection, "own-draft", 1))
    assert command("publish", "own-draft@1")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("publish", "nothere.tflite"), "there is no file 'nothere.tflite', and 'nothere.tflite' is not MODEL@VERSION"),
        (("publish", "own@1", "--labels", "a,b"), "--labels are for a file"),
        (("publish", "{model}", "--name", "own"), "say --name, and --calibrate DATASET"),
        (("publish", "{folder}", "--name", "own", "--calibrate", DATASET), "it has no saved_model.pb"),
        (("publish", "{model}", "--name", "own", "--calibrate", "nowhere"), "no dataset 'nowhere'"),
        (("publish", "{model}", "--name", "own", "--calibrate", "nowhere", "--labels", MANY), "no dataset 'nowhere'"),
        (("publish", "{model}", "--name", "own", "--calibrate", DATASET, "--add", "a"), "no list of numbers"),
        (("publish", "{model}", "--name", "own", "--calibrate", DATASET, "--variants", "int4"), "no variant 'int4'"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_at_once(command, model, tmp_path, arguments, words):
    places = {"model": model, "folder": tmp_path}
    code, _, err = command(*(one.format(**places) for one in arguments))
    assert code != 0
    assert words in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no model at all", "is no model: expected a .tflite, a .keras or a SavedModel folder"),
        (tiny_tflite("int8")[:900], "an offset points outside its 900 bytes"),
        (DAMAGED, "cannot be opened, it may be truncated: The model is not a valid Flatbuffer"),
        (tiny_artifact(), "is an artifact of EdgeOps already, tiny@1 int8"),
    ],
)
def test_a_file_that_cannot_be_brought_leaves_nothing_registered(rig, command, tmp_path, content, words):
    file = tmp_path / "other.tflite"
    file.write_bytes(content)
    name = f"own-bad-{len(content)}"
    code, _, err = command("publish", file, "--name", name, "--calibrate", DATASET)
    assert code == 1
    assert words in " ".join(err.split())
    assert versions(rig, name) == []
    with rig.database.read() as connection:
        (job,) = (one for one in jobs.page(connection, None, 100) if getattr(one.request, "model", "") == name)
    assert job.state is JobState.FAILED
    assert not rig.config.blob_path(job.request.upload).exists()


def test_each_wrong_field_of_a_brought_model_is_named(rig, desk):
    data = {"name": "Own!", "dataset": DATASET, "window": "0"}
    answer = rig.request("POST", "/api/v1/models", role=Role.OPERATOR, data=data, files={"file": ("a", b"b")})
    problem = assert_problem(answer, 422)
    assert {error["pointer"] for error in problem["errors"]} == {"#/name", "#/window"}
