"""Runs as people ask for them: live, as a picture, side by side."""

import json
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.cli.runs import follow_epochs
from edgeops.errors import WaitTimeoutError
from edgeops.learning.environment import Environment
from fleet_server.db import epochs, runs
from fleet_server.ml.epoch import Epoch
from tests.contract.rig import ApiRig, assert_problem
from tests.contract.trained import MODEL, add_dataset, add_version

FIRST, SECOND, FAILED = "run-0001", "run-0002", "run-0003"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    snapshot = add_dataset(rig.config, rig.database, rig.now)
    for version in (1, 2):
        add_version(rig.config, rig.database, version, rig.now, snapshot=snapshot)
    with rig.database.write() as connection:
        for name, accuracy in ((FIRST, 0.9), (SECOND, 0.95)):
            epochs.add(connection, name, [epoch(number) for number in (1, 2, 3)])
            runs.succeed(connection, name, metrics={"int8": {"accuracy": accuracy}}, now=rig.now)
        runs.start(
            connection, FAILED, job_id="job-9", model="other", snapshot=snapshot, recipe="dense", seed=4,
            parameters={"epochs": 7}, environment=Environment(python="3.11"), now=rig.now,
        )  # fmt: skip
        runs.fail_unfinished(connection, "job-9", error="class 'on' has no row", now=rig.now)
    yield rig
    rig.close()


@pytest.fixture
def edgeops(rig):
    return lambda *words: run([*words, "--url", rig.url, "--token", rig.tokens[Role.VIEWER]])


def epoch(number):
    return Epoch(
        number=number, training_loss=1 / number, validation_loss=2 / number, learning_rate=0.1, elapsed_s=number
    )


def test_runs_are_listed_newest_first_with_what_became_of_them(edgeops, capsys):
    assert edgeops("run", "list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["id"], one["version"], one["state"]) for one in found] == [
        (FAILED, None, "failed"), (SECOND, 2, "succeeded"), (FIRST, 1, "succeeded"),
    ]  # fmt: skip
    assert edgeops("run", "list", "--model", MODEL) == 0
    out = capsys.readouterr().out
    assert FIRST in out
    assert FAILED not in out


def test_a_failed_run_shows_its_reason_and_where_it_ran(edgeops, capsys):
    assert edgeops("run", "show", "other") == 0
    out = capsys.readouterr().out
    assert "class 'on' has no row" in out
    assert "3.11" in out


def test_a_run_is_shown_by_the_version_that_it_became_with_its_curves(edgeops, capsys):
    assert edgeops("run", "show", f"{MODEL}@2") == 0
    out = capsys.readouterr().out
    assert SECOND in out
    assert "validation loss  █▃▁ 0.6667 (lowest 0.6667 in epoch 3 of 3)" in out
    assert edgeops("run", "show", SECOND, "--json") == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)["epochs"]] == [1, 2, 3]


def test_a_picture_of_two_runs_is_an_svg_file(edgeops, tmp_path):
    file = tmp_path / "losses.svg"
    assert edgeops("run", "compare", FIRST, SECOND, "--picture", str(file)) == 0
    texts = [one.text for one in ET.fromstring(file.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert {f"{MODEL}@1", f"{MODEL}@2"} <= set(texts)
    assert edgeops("run", "show", FIRST, "--picture", str(tmp_path / "no" / "losses.svg")) == 1


def test_two_runs_are_compared_by_what_was_asked_and_measured(edgeops, capsys):
    assert edgeops("run", "compare", FIRST, FAILED, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"]["seed"] == [0, 4]
    assert found["parameters"]["epochs"] == [None, 7]
    assert found["metrics"][0]["values"] == [0.9, None]
    assert edgeops("run", "compare", FIRST, SECOND) == 0
    assert "accuracy" in capsys.readouterr().out


def test_a_run_that_is_not_there_and_too_many_curves_are_refused(rig, edgeops):
    assert edgeops("run", "show", "run-9") == 3
    assert edgeops("run", "show", "nobody") == 3
    beside = [("beside", FIRST)] * 5
    assert_problem(rig.request("GET", f"/api/v1/runs/{FIRST}/picture", role=Role.VIEWER, params=beside), 422)
    assert_problem(rig.request("GET", f"/api/v1/runs/{FIRST}/difference?to=run-9", role=Role.VIEWER), 404)


def test_a_training_is_followed_until_it_fails(rig, edgeops, capsys):
    with rig.database.write() as connection:
        snapshot = runs.get(connection, FIRST).snapshot
        runs.start(
            connection, "run-0004", job_id="job-4", model="live", snapshot=snapshot, recipe="dense", seed=0,
            parameters={}, now=rig.now,
        )  # fmt: skip
        epochs.add(connection, "run-0004", [epoch(1)])

    def go_on(_seconds):
        with rig.database.write() as connection:
            epochs.add(connection, "run-0004", [epoch(2)])
            runs.fail_unfinished(connection, "job-4", error="the disk is full", now=rig.now)

    assert [one.number for one in follow_epochs(rig.client(), "run-0004", pause=go_on)] == [1, 2]
    assert edgeops("run", "show", "live", "--follow", "--json") == 1
    told = capsys.readouterr()
    assert [json.loads(line)["number"] for line in told.out.splitlines()] == [1, 2]
    assert "the disk is full" in told.err


def test_who_follows_a_run_that_does_not_end_in_time_is_told(rig):
    with rig.database.write() as connection:
        snapshot = runs.get(connection, FIRST).snapshot
        runs.start(
            connection, "run-0005", job_id="job-5", model="live", snapshot=snapshot, recipe="dense", seed=0,
            parameters={}, now=rig.now,
        )  # fmt: skip
    with pytest.raises(WaitTimeoutError, match="run-0005 still runs"):
        list(follow_epochs(rig.client(), "run-0005", timeout=timedelta(0), pause=lambda _: None))
