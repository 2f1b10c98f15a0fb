"""A rare class that counts as much as a frequent one is found more often."""

from pathlib import Path

import numpy as np
import pytest

from edgeops.artifact.manifest import Variant
from edgeops.data.splits import Split
from edgeops.errors import ConfigError
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import SnapshotFile
from tests.imported import import_file
from tests.ml.numbers import Built, write_levels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> SnapshotFile:
    """One row of twenty is worn, and looks much like one that is not."""
    random, rows = np.random.default_rng(2), 2000
    worn = np.arange(rows) % 20 == 0
    values = random.normal(size=(rows, 3)) + 1.5 * worn[:, np.newaxis]
    file = tmp_path_factory.mktemp("source") / "machine.npz"
    np.savez(file, X=values.astype(np.float32), y=np.where(worn, "worn", "idle"))
    return import_file(file, file_name=file.name, label="y")


def found(built: Built) -> float:
    """Share of worn rows that the int8 file finds."""
    model = Model.load(built.files[Variant.INT8])
    rows = built.snapshot.only(Split.EVALUATION)
    worn = rows.values[rows.classes == built.snapshot.schema.classes.index("worn")]
    return float(np.mean([model.predict(row[np.newaxis]).answer == 1 for row in worn]))


def test_balanced_weights_find_more_of_a_rare_class(machine: SnapshotFile, tmp_path: Path) -> None:
    plain = Built(tmp_path / "plain", machine)
    balanced = Built(tmp_path / "balanced", machine, options={"class-weights": "balanced"})
    assert found(balanced) > found(plain) + 0.2
    digests = [one.descriptors[Variant.INT8].manifest.lineage.recipe_digest for one in (plain, balanced)]
    assert len(set(digests)) == 2


def test_numbers_have_no_class_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe dense has no option 'class-weights'"):
        Built(tmp_path, write_levels(), options={"class-weights": "balanced"})
