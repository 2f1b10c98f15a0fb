"""How models can be learnt, as the client and the command line are told."""

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.digest import digest_file
from tests.contract.rig import assert_problem
from tests.contract.trained import DATASET, add_dataset

SOUND = '"""What mine is."""\n\nOPTIONS = ("width",)\n\n\ndef plan(): ...\n\n\ndef network(): ...\n'


@pytest.fixture(scope="module")
def folder(rig):
    """A sound recipe of the owner's, and a broken one."""
    folder = rig.config.recipes
    folder.mkdir()
    (folder / "mine.py").write_text(SOUND)
    (folder / "broken.py").write_text("def plan(:\n")
    rig.config.run.mkdir(exist_ok=True)
    add_dataset(rig.config, rig.database, rig.now)
    return folder


def test_ours_and_theirs_are_told_with_the_options_that_each_takes(rig, folder):
    told = {one.name: one for one in rig.client(Role.VIEWER).recipes()}
    assert list(told)[:6] == ["dense", "cnn", "signals", "spectrogram", "distance", "autoencoder"]
    assert told["dense"].options[:3] == ("batch", "class-weights", "learning-rate")
    assert told["dense"].digest is None
    assert told["distance"].tasks == ("anomaly",)
    mine = told["mine"]
    assert (mine.about, mine.digest) == ("What mine is.", digest_file(folder / "mine.py"))
    assert mine.options == ("class-weights", "target-transform", "width")
    assert mine.tasks == ("classification", "regression")
    assert "broken.py, line 1" in told["broken"].flaw


@pytest.mark.usefixtures("folder")
def test_the_command_lists_them(rig, capsys, monkeypatch):
    monkeypatch.setenv("EDGEOPS_URL", rig.url)
    monkeypatch.setenv("EDGEOPS_TOKEN", rig.tokens[Role.VIEWER])
    assert run(["recipe", "list"]) == 0
    table = capsys.readouterr().out
    for word in ("autoencoder", "mine", "What mine is.", "broken.py, line 1"):
        assert word in table


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("magic", "no recipe 'magic'; there are dense, cnn, signals, spectrogram, distance, autoencoder, broken, mine"),
        ("broken", "broken.py, line 1: "),
        ("../mine", "no recipe '../mine'"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_run_by_what_is_no_recipe_says_so(recipe, told, rig):
    wanted = {"dataset": DATASET, "model": "pumps", "recipe": recipe}
    answer = rig.request("POST", "/api/v1/runs", role=Role.DATA_SCIENTIST, json=wanted)
    (problem,) = assert_problem(answer, 422)["errors"]
    assert problem["pointer"] == "#/recipe"
    assert told in problem["detail"]


@pytest.mark.usefixtures("folder")
def test_a_run_by_a_file_of_the_owner_is_queued(rig):
    job = rig.client(Role.DATA_SCIENTIST).train(DATASET, "pumps", recipe="mine")
    assert job.kind == "train"
