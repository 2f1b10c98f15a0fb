"""A recipe of the owner's own, from a file in a folder to a model; and networks that are none."""

import re
from pathlib import Path

import pytest

from edgeops.artifact.manifest import Variant
from edgeops.digest import digest_file
from edgeops.errors import ConfigError
from edgeops.learning.reproduction import Cause
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.db.jobs import JobState, Train
from tests.imported import import_file
from tests.ml.desk import Desk, write_clusters
from tests.ml.numbers import Built, write_levels

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[2] / "docs/models.md").read_text()


def example() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> SnapshotFile:
    file = write_clusters(tmp_path_factory.mktemp("source") / "c.npz")
    return import_file(file, file_name=file.name, label="y")


def learnt(folder: Path, snapshot: SnapshotFile, source: str) -> Built:
    (folder / "narrow.py").write_text(source)
    return Built(folder / "built", snapshot, recipe="narrow", recipes=str(folder))


def test_the_recipe_of_the_page_learns_classes_and_numbers_and_is_named_by_its_digest(
    snapshot: SnapshotFile, tmp_path: Path
) -> None:
    for kind, rows in (("classes", snapshot), ("numbers", write_levels())):
        folder = tmp_path / kind
        folder.mkdir()
        manifest = learnt(folder, rows, example()).descriptors[Variant.INT8].manifest
        assert manifest.lineage.recipe == "narrow"
        assert manifest.lineage.recipe_digest == digest_file(folder / "narrow.py")
        metrics = manifest.metrics
        better = metrics["accuracy"] > 0.8 if kind == "classes" else metrics["mae"] < 0.7 * metrics["baseline-mae"]
        assert better, metrics


@pytest.mark.parametrize(
    ("part", "other", "told"),
    [
        ('name="narrow")', 'name="narrow").summary', "it gives .*, not a Keras model"),
        (
            "[head.layer(tf, seed + 1)(embedding), embedding]",
            "embedding",
            r"the model gives \[\(None, 8\)\], not \[answer",
        ),
        ("head.layer(tf, seed + 1)(embedding)", "layers.Dense(7)(embedding)", r"of shapes \(None, 3\) and"),
        ("(batch, *input_shape)", "(batch, 9)", r"the model reads \[\(None, 9\)\], not one input of shape \(None, 5\)"),
        ("layers.Dense(8", "layers.Thick(8", r"narrow\.py, line \d+, in network: .*Thick"),
        ("layers.Dense(8", "layers.Dense(-8", r"narrow\.py, line \d+, in network: "),
    ],
)
def test_a_network_that_is_none_is_told_with_its_line(
    part: str, other: str, told: str, snapshot: SnapshotFile, tmp_path: Path
) -> None:
    assert part in example()
    with pytest.raises(ConfigError, match=told):
        learnt(tmp_path, snapshot, example().replace(part, other))


def test_what_a_layer_of_its_own_does_wrong_is_told_with_its_line(snapshot: SnapshotFile, tmp_path: Path) -> None:
    """Long after the functions of the file have ended."""
    layer = """

def loud(tf):
    class Loud(tf.keras.layers.Layer):
        def call(self, tensor, training=None):
            if training:
                raise ValueError("too loud")
            return tensor

    return Loud(name="loud")
"""
    source = example() + layer
    source = source.replace("(embedding), embedding]", "(loud(tf)(embedding)), embedding]")
    with pytest.raises(ConfigError, match=r"narrow\.py, line \d+, in call: ValueError: too loud$"):
        learnt(tmp_path, snapshot, source)


@pytest.mark.long  # four trainings, each in a process of its own
def test_a_job_learns_by_a_file_and_the_next_one_gets_a_child_of_its_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "data")
    try:
        desk.load(write_clusters(tmp_path / "table.npz"), "table", label="y")
        desk.config.recipes.mkdir()
        (desk.config.recipes / "narrow.py").write_text(example())
        first, second = (
            desk.succeed(Train(dataset="table", model="table", recipe="narrow", epochs=2)) for _ in range(2)
        )
        assert first.worker_pid != second.worker_pid
        found = desk.reproduce("table", 2)
        assert found.is_same, found.words
        (desk.config.recipes / "narrow.py").write_text(f"{example()}\n# Another file.\n")
        found = desk.reproduce("table", 2)
        assert [one.cause for one in found.changes] == [Cause.RECIPE]
        bad = example().replace("    layers, he", "    raise RuntimeError('no luck')\n    layers, he")
        (desk.config.recipes / "narrow.py").write_text(bad)
        failed = desk.do(Train(dataset="table", model="table", recipe="narrow"))
        assert failed.state is JobState.FAILED
        assert re.fullmatch(r"narrow\.py, line \d+, in network: RuntimeError: no luck", failed.error or "")
        (desk.config.recipes / "narrow.py").unlink()
        gone = desk.do(Train(dataset="table", model="table", recipe="narrow"))
        assert "no recipe 'narrow'" in (gone.error or "")
    finally:
        desk.close()
