"""Recipes of the owner's own: what a file says of itself, and what becomes of its mistakes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.db import models
from fleet_server.db.jobs import Train
from fleet_server.ml.recipes.folder import last_line, read_recipe, recipe_file, recipe_names
from fleet_server.ml.recipes.own import load_recipe
from fleet_server.ml.recipes.plan import Plan
from tests.imported import import_file
from tests.ml.desk import Desk, write_clusters
from tests.ml.numbers import write_levels

WHOLE = '''"""A line about it.

More.
"""
from edgeops.artifact.manifest import Budgets, MissingPolicy, Preprocess
from fleet_server.ml.recipes.plan import Plan

OPTIONS = ("depth", "width")
TASKS = ("classification",)

def plan(schema, rows, targets, options):
    return Plan(recipe="x", preprocess=Preprocess(), missing=MissingPolicy.REFUSE, input_shape=(5,), is_image=False,
                budgets=Budgets(p95_latency_ms=1.0, memory_bytes=1), epochs=1, batch_rows=1, learning_rate=0.1, patience=1)

def network(tf, input_shape, head, seed, batch):
    return None
'''
LINE = WHOLE[: WHOLE.index("    return Plan(")].count("\n") + 1


def written(folder: Path, source: str | bytes, name: str = "mine") -> Path:
    file = folder / f"{name}.py"
    file.write_bytes(source.encode() if isinstance(source, str) else source)
    return folder


def body(line: str) -> str:
    """The recipe whose `plan` does this."""
    return WHOLE.replace("    return Plan(", f"    {line}\n    return Plan(")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> SnapshotFile:
    file = write_clusters(tmp_path_factory.mktemp("source") / "c.npz", rows=60)
    return import_file(file, file_name=file.name, label="y")


def planned(folder: Path, snapshot: SnapshotFile, *, time_s: float = 5.0, **options: str) -> Plan:
    recipe = load_recipe(read_recipe(folder, "mine"), time_s=time_s)
    return recipe.plan(snapshot.schema, np.zeros((4, 5), np.float32), np.zeros(4, np.int64), options)


def test_a_file_is_told_of_without_being_run(tmp_path: Path) -> None:
    source = WHOLE + "\nraise SystemExit('it was run')\n"
    file = read_recipe(written(tmp_path, source), "mine")
    assert (file.about, file.tasks) == ("A line about it.", {Task.CLASSIFICATION})
    assert file.options == {"depth", "width"}
    assert file.digest == digest_bytes(source.encode())


def test_options_may_have_a_type(tmp_path: Path) -> None:
    source = WHOLE.replace("OPTIONS = ", "OPTIONS: tuple[str, ...] = ")
    assert read_recipe(written(tmp_path, source), "mine").options == {"depth", "width"}


def test_the_folder_need_not_be_there_and_hidden_files_are_no_recipes(tmp_path: Path) -> None:
    assert recipe_names(tmp_path / "recipes") == []
    for name in ("second", "first", "_shared", ".hidden"):
        written(tmp_path, WHOLE, name)
    (tmp_path / "notes.txt").write_text("no recipe")
    assert recipe_names(tmp_path) == ["first", "second"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def plan(:", r"mine\.py, line 1: "),
        (b"\x00", "mine.py"),
        ("def plan(): pass", "mine.py defines no network"),
        (WHOLE.replace('("depth", "width")', "frozenset(known)"), r"mine\.py, line \d+: write OPTIONS as"),
        (WHOLE.replace('("classification",)', '("ranking",)'), "TASKS has 'ranking'; there are classification"),
        (
            WHOLE.replace('("depth", "width")', '("depth")'),
            r"""mine\.py, line \d+: write OPTIONS as .*, or \("one",\)""",
        ),
        (WHOLE.replace('("classification",)', '"anomaly"'), r"mine\.py, line \d+: write TASKS as"),
        ("(" * 100_000, "mine.py"),
        ("#" * (limits.MAX_RECIPE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(source: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        read_recipe(written(tmp_path, source), "mine")


@pytest.mark.parametrize("name", ["dense", "../mine", "Mine", "", "a" * 80])
def test_a_name_that_is_taken_or_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the recipe's file another name"):
        read_recipe(tmp_path, name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'mine': .*mine\.py cannot be read"):
        read_recipe(tmp_path, "mine")


def test_a_plan_is_called_as_the_file_is_and_named_by_its_digest(tmp_path: Path, snapshot: SnapshotFile) -> None:
    plan = planned(written(tmp_path, WHOLE), snapshot, depth="2")
    assert (plan.recipe, plan.digest()) == ("mine", digest_bytes(WHOLE.encode()))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raise ValueError('no luck')", "ValueError: no luck"),
        ("import nothing_that_exists", "ModuleNotFoundError: No module named 'nothing_that_exists'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("rows.no_such_thing()", "AttributeError: "),
        ("int('x' * 3)", "ValueError: invalid literal"),
    ],
)
def test_what_fails_is_told_with_its_line(line: str, told: str, tmp_path: Path, snapshot: SnapshotFile) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.py, line {LINE}, in plan: {told}"):
        planned(written(tmp_path, body(line)), snapshot)


def test_what_fails_while_the_file_is_read_is_told_with_its_line(tmp_path: Path, snapshot: SnapshotFile) -> None:
    with pytest.raises(ConfigError, match=r"mine\.py, line 6, in <module>: ModuleNotFoundError"):
        planned(written(tmp_path, WHOLE.replace("from fleet_server.ml", "from nowhere.ml")), snapshot)


@pytest.mark.parametrize(
    "line", ["while True: pass", "exec('while True:\\n try:\\n  pass\\n except Exception:\\n  pass')"]
)
def test_what_does_not_end_is_ended(line: str, tmp_path: Path, snapshot: SnapshotFile) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.py, line {LINE}, in plan: not done after 0\.2 seconds"):
        planned(written(tmp_path, body(line)), snapshot, time_s=0.2)


def test_what_it_prints_goes_nowhere(
    tmp_path: Path, snapshot: SnapshotFile, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(written(tmp_path, body("import sys; print('x' * 10**6); print('y' * 10**6, file=sys.stderr)")), snapshot)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("return {'epochs': 3}", r"it gives \{'epochs': 3\}, not a Plan"),
        ("return None", "it gives None, not a Plan"),
    ],
)
def test_what_is_no_plan_is_told_with_the_line_of_its_function(
    line: str, told: str, tmp_path: Path, snapshot: SnapshotFile
) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.py, line {LINE - 1}, in plan: {told}"):
        planned(written(tmp_path, body(line)), snapshot)


@pytest.mark.parametrize(
    ("part", "other", "told"),
    [
        ("input_shape=(5,)", "input_shape=(2, 2)", r"input_shape \(2, 2\) holds 4 values, an input has 5"),
        ("epochs=1", "epochs=0", "epochs 0, batch_rows 1 and patience 1 must be 1 or more"),
        ("epochs=1", "epochs=2.5", "epochs: Expected `int`, got `float`"),
        ("epochs=1", "epochs=10**9", "epochs 1000000000, .* 10000 at most"),
        ("learning_rate=0.1", "learning_rate=-0.1", "learning_rate has -0.1; give a number above 0"),
        ("learning_rate=0.1", "learning_rate=float('nan')", "learning_rate has nan"),
        ("learning_rate=0.1", "learning_rate='0.1'", "learning_rate: Expected `float`, got `str`"),
        ("p95_latency_ms=1.0", "p95_latency_ms=-1.0", "budgets has -1.0"),
        ("MissingPolicy.REFUSE", "'ignore'", "missing: Invalid enum value 'ignore'"),
        ("input_shape=(5,)", "input_shape=None", "input_shape: Expected `array`, got `null`"),
        ("is_image=False", "is_image=True", r"input_shape \(5,\) is none; that of an image is"),
        ("is_image=False", "is_image=False, shift_pixels=1", "shift_pixels is 1; images alone"),
        ("is_image=False", "is_image=False, margin=2.0", "a margin says where alarms begin"),
        ("is_image=False", "is_image=False, class_weights=(1.0,)", "class_weights has 1 entries for 3 classes"),
        ("Preprocess()", "Preprocess(multiply=(1.0, 2.0))", "preprocess.multiply has 2 entries for 5 columns"),
        ("Preprocess()", "Preprocess(add=(float('inf'),))", "preprocess.add has a number that is not finite"),
        ("Preprocess()", "Preprocess(add=print)", "preprocess: it has <built-in function print>"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused_with_the_line_of_its_function(
    part: str, other: str, told: str, tmp_path: Path, snapshot: SnapshotFile
) -> None:
    assert part in WHOLE
    with pytest.raises(ConfigError, match=rf"^mine\.py, line {LINE - 1}, in plan: {told}"):
        planned(written(tmp_path, WHOLE.replace(part, other)), snapshot)


def test_a_plan_may_have_the_numbers_of_numpy(tmp_path: Path, snapshot: SnapshotFile) -> None:
    source = WHOLE.replace("Preprocess()", "Preprocess(multiply=rows[0] + 1)").replace(
        "epochs=1", "epochs=rows[0].size"
    )
    plan = planned(written(tmp_path, source), snapshot)
    assert (plan.preprocess.multiply, plan.epochs) == ((1.0,) * 5, 5)


def test_numbers_need_a_target(tmp_path: Path) -> None:
    source = WHOLE.replace('TASKS = ("classification",)', "")
    with pytest.raises(ConfigError, match="numbers alone have a target; write target=target_of"):
        planned(written(tmp_path, source), write_levels(rows=40))


def test_a_plan_may_ask_for_a_spectrogram(tmp_path: Path) -> None:
    """Its input is frames by bands, not rows by columns."""
    source = body("from fleet_server.ml.recipes import spectrogram; return spectrogram.plan(schema, rows, targets, {})")
    tones = np.random.default_rng(1).normal(size=(40, 1024)).astype(np.float32)
    np.savez(tmp_path / "tones.npz", X=tones, y=np.arange(40) % 2)
    recordings = import_file(tmp_path / "tones.npz", file_name="tones.npz", label="y", clip_hz=8000.0)
    recipe = load_recipe(read_recipe(written(tmp_path, source), "mine"))
    rows = recordings.rows.readings(recordings.schema)
    assert recipe.plan(recordings.schema, rows, recordings.rows.targets, {}).input_shape[1:] == (40, 1)


@pytest.mark.parametrize("takes", ["schema, rows, targets", "schema, rows, targets, options, seed"])
def test_a_function_that_takes_other_arguments_is_told_with_its_line(
    takes: str, tmp_path: Path, snapshot: SnapshotFile
) -> None:
    source = WHOLE.replace("def plan(schema, rows, targets, options)", f"def plan({takes})")
    with pytest.raises(ConfigError, match=rf"mine\.py, line {LINE - 1}, in plan: it is called with 4 arguments"):
        planned(written(tmp_path, source), snapshot)


def test_what_catches_even_its_end_ends_with_its_process_which_says_where(tmp_path: Path) -> None:
    stubborn = "try:\n    while True: sum(())\nexcept BaseException:\n    while True: sum(())\n"
    written(tmp_path, WHOLE + stubborn)
    run = (
        "import pathlib, sys\nfrom fleet_server.ml.recipes.folder import read_recipe\n"
        "from fleet_server.ml.recipes.own import load_recipe\n"
        "load_recipe(read_recipe(pathlib.Path(sys.argv[1]), 'mine'), time_s=1.0)"
    )
    command = [sys.executable, "-X", "faulthandler", "-c", run, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == -signal.SIGABRT
    said = last_line(recipe_file(tmp_path, "mine"), ended.stderr)
    assert said == f", line {len(WHOLE.splitlines()) + 4}, in <module>"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import ctypes; ctypes.string_at(0)", rf", line {LINE}, in plan: the child process was ended by SIGSEGV"),
        ("import os; os._exit(3)", ": the child process ended with code 3"),
    ],
)
def test_what_ends_the_process_is_told_with_the_file_and_registers_nothing(
    line: str, told: str, tmp_path: Path
) -> None:
    desk = Desk(tmp_path / "data")
    try:
        desk.load(write_clusters(tmp_path / "c.npz", rows=60), "table", label="y")
        desk.config.recipes.mkdir()
        written(desk.config.recipes, body(line))
        failed = desk.do(Train(dataset="table", model="table", recipe="mine"))
        assert re.match(rf"mine\.py{told}", failed.error or ""), failed.error
        with desk.database.read() as connection:
            assert models.next_version(connection, "table") == 1
    finally:
        desk.close()


def test_an_option_that_the_file_does_not_name_is_refused(tmp_path: Path, snapshot: SnapshotFile) -> None:
    with pytest.raises(ConfigError, match="recipe mine has no option 'height'; it takes class-weights, depth, width"):
        planned(written(tmp_path, WHOLE), snapshot, height="2")
