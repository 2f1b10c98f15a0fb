"""`edgeops-agent` as a person or a script meets it: output, errors, exit codes."""

import csv
import json
import signal

import pytest

from device_agent.agent import Agent, Ending
from device_agent.cli import main
from device_agent.config import PredictionMode, StateFolder, read_deployment, write_device
from edgeops import limits
from edgeops.protocol.keys import SigningKey, write_private_key
from tests.golden.tiny import COLUMNS, LABELS, tiny_artifact, tiny_rows
from tests.unit.lone_agent import DEVICE


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_artifact())
    return path


@pytest.fixture
def rows(tmp_path):
    values, classes = tiny_rows(60)
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("label", *COLUMNS))
        lines.writerows((LABELS[klass], *row) for klass, row in zip(classes, values.tolist(), strict=True))
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\n" + "".join(f"{at},{LABELS[klass]}\n" for at, klass in enumerate(classes)))
    return path


@pytest.fixture
def state(tmp_path):
    state = StateFolder(tmp_path / "state")
    state.path.mkdir()
    write_device(state, DEVICE)
    return state


def test_predict_answers_every_row(artifact, rows, capsys):
    assert main(["predict", str(artifact), str(rows)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 60
    identity, label, confidence = lines[0].split("\t")
    assert identity == "0"
    assert label in LABELS
    assert 0 <= float(confidence) <= 1


def test_predict_as_json_is_one_object_a_line(artifact, rows, capsys):
    assert main(["predict", str(artifact), str(rows), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["id"] for answer in answers] == [str(at) for at in range(60)]


def test_batch_prints_the_accuracy_where_labels_are_given(artifact, rows, capsys):
    labels = rows.with_name("labels.csv")
    assert main(["batch", str(artifact), str(rows), "--labels", str(labels), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["answers"], document["labelled"], document["errors"]) == (60, 60, 0)
    assert document["accuracy"] >= 0.95
    assert sum(document["mix"].values()) == 60


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_batch_writes_all_answers(artifact, rows, tmp_path, suffix, capsys):
    output = tmp_path / f"answers{suffix}"
    assert main(["batch", str(artifact), str(rows), "--output", str(output)]) == 0
    with output.open(newline="") as file:
        answers = list(csv.DictReader(file)) if suffix == ".csv" else [json.loads(line) for line in file]
    assert [answer["id"] for answer in answers] == [str(at) for at in range(60)]
    assert "accuracy" not in capsys.readouterr().out


def test_labels_of_other_ids_are_an_error_not_an_accuracy(artifact, rows, tmp_path, capsys):
    labels = tmp_path / "others.csv"
    labels.write_text("id,label\nx-1,red\n")
    assert main(["batch", str(artifact), str(rows), "--labels", str(labels)]) == 1
    assert "no label for any id" in capsys.readouterr().err


def test_labels_without_their_columns_are_named(artifact, rows, capsys):
    assert main(["batch", str(artifact), str(rows), "--labels", str(rows)]) == 1
    assert "expected `id` and `label`" in capsys.readouterr().err


def test_bench_measures_both_sides(artifact, capsys):
    assert main(["bench", str(artifact), "--inferences", "500", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["inferences"] == 500
    assert document["agent_us"]["p50"] >= document["bare_us"]["p50"]
    assert document["overhead_us"] > 0


@pytest.mark.parametrize("command", ["predict", "batch"])
def test_a_truncated_artifact_is_refused(command, artifact, rows, capsys):
    artifact.write_bytes(artifact.read_bytes()[:-100])
    assert main([command, str(artifact), str(rows)]) == 1
    assert str(artifact) in capsys.readouterr().err


def test_a_missing_artifact_is_not_found(rows, tmp_path, capsys):
    assert main(["predict", str(tmp_path / "gone.tflite"), str(rows)]) == 3
    assert "no such file" in capsys.readouterr().err


def test_a_file_without_the_models_columns_is_refused(artifact, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert main(["predict", str(artifact), str(other)]) == 1
    assert "lacks x1" in capsys.readouterr().err


def test_replay_without_an_agent_is_kept_and_says_what_to_start(state, rows, capsys):
    arguments = ["--state", str(state.path), "replay", str(rows), "--deployment", "gas", "--rate", "5"]
    assert main([*arguments, "--predictions", "all"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no agent runs here" in captured.err
    assert "waits for a model" in captured.err
    deployment = read_deployment(state, "gas")
    assert deployment.predictions is PredictionMode.ALL
    assert (deployment.source.file, deployment.source.loop, deployment.source.rate_hz) == (str(rows), True, 5.0)


def test_a_file_plays_like_a_sensor_unless_told_otherwise(state, rows):
    arguments = ["--state", str(state.path), "replay", str(rows), "--deployment", "gas"]
    main(arguments)
    usual = read_deployment(state, "gas").source
    assert (usual.loop, usual.rate_hz) == (True, limits.REPLAY_RATE_HZ)
    main([*arguments, "--once", "--rate", "max"])
    rushed = read_deployment(state, "gas").source
    assert (rushed.loop, rushed.rate_hz) == (False, None)


def test_another_replay_of_the_same_file_is_another_order(state, rows):
    arguments = ["--state", str(state.path), "replay", str(rows), "--deployment", "gas"]
    main(arguments)
    first = read_deployment(state, "gas").source
    main(arguments)
    assert read_deployment(state, "gas").source.run != first.run


def test_stop_takes_the_source_away_and_keeps_the_rest(state, rows):
    common = ["--state", str(state.path)]
    main([*common, "replay", str(rows), "--deployment", "gas", "--predictions", "off"])
    assert main([*common, "stop", "--deployment", "gas"]) == 0
    assert read_deployment(state, "gas").source is None
    assert read_deployment(state, "gas").predictions is PredictionMode.OFF


def test_what_an_owner_chose_about_samples_stays_until_it_is_changed(state, rows):
    common = ["--state", str(state.path)]
    replay = [*common, "replay", str(rows), "--deployment", "gas"]
    main(replay)
    assert read_deployment(state, "gas").samples
    main([*replay, "--no-samples"])
    main(replay)
    assert not read_deployment(state, "gas").samples
    main([*common, "stop", "--deployment", "gas"])
    assert not read_deployment(state, "gas").samples
    main([*replay, "--samples"])
    assert read_deployment(state, "gas").samples


def test_a_feed_without_an_agent_says_what_to_start_before_it_reads_a_row(state, capsys):
    assert main(["--state", str(state.path), "feed", "--deployment", "gas", "--columns", "a,b"]) == 5
    assert capsys.readouterr().err.count("run") == 1


def test_a_missing_file_cannot_be_replayed(state, tmp_path, capsys):
    arguments = ["--state", str(state.path), "replay", str(tmp_path / "gone.csv"), "--deployment", "gas"]
    assert main(arguments) == 3
    assert "gone.csv" in capsys.readouterr().err


def test_a_bad_name_of_a_deployment_is_a_usage_error(state, rows, capsys):
    assert main(["--state", str(state.path), "replay", str(rows), "--deployment", "Gas Sensor"]) == 2
    assert "cannot name a deployment" in capsys.readouterr().err


def test_status_without_an_agent_is_unreachable(state, capsys):
    assert main(["--state", str(state.path), "status"]) == 5
    assert "run" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run"], ["status"]])
def test_without_enrolment_every_command_says_how_to_enrol(command, tmp_path, capsys):
    assert main(["--state", str(tmp_path), *command]) == 2
    assert "enrol URL --token" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["replay"],
        ["replay", "x.csv"],
        ["replay", "x.csv", "--deployment", "gas", "--rate", "0"],
        ["replay", "x.csv", "--deployment", "gas", "--rate", "fast"],
        ["replay", "x.csv", "--deployment", "gas", "--predictions", "some"],
        ["feed"],
        ["feed", "--deployment", "gas", "--columns", "a,,b"],
        ["feed", "--deployment", "gas", "--format", "xml"],
        ["run", "--broker", "nowhere"],
        ["enrol", "http://127.0.0.1"],
        ["enrol", "http://127.0.0.1", "--token", "t", "--token-file", "f"],
    ],
)
def test_wrong_arguments_are_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: edgeops-agent" in capsys.readouterr().err


def test_answers_that_cannot_be_written_are_an_error_in_words(artifact, rows, tmp_path, capsys):
    output = tmp_path / "nowhere" / "answers.csv"
    assert main(["batch", str(artifact), str(rows), "--output", str(output)]) == 1
    assert str(output) in capsys.readouterr().err


class Told(Agent):
    """Agents of one process: the first gives way to another, and the process is told to end while that one is made."""

    made = 0

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        Told.made += 1
        if Told.made == 1:
            self._begin_again(Ending.DISK_IS_BACK)
        else:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def signals_as_before():
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_as_before")
def test_an_agent_told_to_end_between_two_agents_ends(state, monkeypatch):
    write_private_key(state.key, SigningKey.generate())
    monkeypatch.setattr("device_agent.agent.Agent", Told)
    assert main(["--state", str(state.path), "run"]) == 0
    assert Told.made == 2
