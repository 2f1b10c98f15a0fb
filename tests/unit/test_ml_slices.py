"""What answers cost is told by group and by each further column that a person named."""

from pathlib import Path

import numpy as np

from edgeops.artifact.manifest import decode_descriptor
from edgeops.artifact.package import open_artifact
from fleet_server.datasets.snapshot import write_snapshot
from tests.golden.tiny import COLUMNS, LABELS, tiny_rows, tiny_tflite
from tests.imported import import_file
from tests.ml.brought import Place


def test_a_version_tells_devices_sites_and_classes_apart(tmp_path: Path) -> None:
    values, classes = tiny_rows(600, seed=3)
    table, snapshot, file = tmp_path / "rows.npz", tmp_path / "rows.snapshot", tmp_path / "tiny.tflite"
    truths = classes.copy()
    is_ghent = np.arange(600) % 2 == 0
    truths[is_ghent] = (truths[is_ghent] + np.arange(600)[is_ghent] // 2 % 2) % 3  # in Ghent half of it is wrong
    columns = {name: values[:, place] for place, name in enumerate(COLUMNS)}
    names = {"who": np.char.add("m", (np.arange(600) // 4 % 3).astype(str)), "site": np.where(is_ghent, "g", "l")}
    np.savez(table, label=np.array(LABELS)[truths], **columns, **names)
    rules = {"label": "label", "features": COLUMNS, "group": "who", "slices": ["site"]}
    write_snapshot(import_file(table, file_name=table.name, **rules), snapshot)
    file.write_bytes(tiny_tflite())

    (built,) = Place(tmp_path).bring(file, snapshot=snapshot).variants

    assert {(one.by, one.name) for one in built.scrutiny.slices} == {
        ("who", "m0"), ("who", "m1"), ("who", "m2"), ("site", "g"), ("site", "l")
    }  # fmt: skip
    costs = {one.name: one.cost for one in built.scrutiny.slices}
    assert costs["g"] > costs["l"] + 0.2
    rules_told = {one.name: one.reason for one in decode_descriptor(built.descriptor).promotion.rules}
    assert "of 5 groups by who, site the worst" in rules_told["serves-every-group"]
    card = open_artifact(Path(built.file)).card
    assert "Of 5 groups by who, site the worst costs" in card
    assert {f"recall.{label}" for label in LABELS} <= built.metrics.keys()
