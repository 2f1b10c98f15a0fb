"""Labelled samples of devices judge a version that did not learn from them, and are told from those it knows."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow
from edgeops.digest import digest_bytes
from edgeops.learning.labels import LabelSource
from fleet_server.datasets.buying import Bought, extend
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml.champion import Champions, Learnt
from fleet_server.ml.frames import Build
from fleet_server.ml.recent import RecentSamples, recent_samples
from fleet_server.ml.windows import cut_windows
from tests.imported import import_file

COLUMNS = 3


@pytest.fixture
def snapshot(tmp_path: Path) -> SnapshotFile:
    path = tmp_path / "data.npz"
    values = np.random.default_rng(5).normal(size=(120, COLUMNS)).astype(np.float32)
    np.savez(path, X=values, y=np.array(["a", "b"])[np.arange(120) % 2])
    return import_file(path, file_name="data.npz", label="y")


def labelled(number: int, device: str = "edge-1", *, label: str = "b", width: int = COLUMNS) -> Bought:
    values = np.full(width, 10 + number, "<f4").tobytes()
    return Bought(sample=f"s-{number}", device=device, label=label, source=LabelSource.PERSON, values=values)


def judging(
    snapshot: SnapshotFile, folder: Path, *listed: Bought, learnt: Learnt | None = None
) -> RecentSamples | None:
    file = folder / "recent"
    file.write_bytes(msgspec.msgpack.encode(listed))
    task = Build(
        snapshot="", snapshot_digest="", model="table", version=2, run="run-1", recipe="dense", seed=0, epochs=None,
        options={}, commit="", built_at="", host="", destination="", recent=str(file),
    )  # fmt: skip
    cut = cut_windows(snapshot, InputWindow(columns=snapshot.schema.columns))
    return recent_samples(task, cut, Champions(models={}, unseen=np.ones(1, np.bool_), learnt=learnt))


def test_samples_judge_with_the_labels_that_people_gave(snapshot: SnapshotFile, tmp_path: Path) -> None:
    found = judging(snapshot, tmp_path, labelled(1), labelled(2, "edge-2", label="a"))
    assert found is not None
    assert found.windows.values.shape == (2, 1, COLUMNS)
    assert found.windows.classes.tolist() == [1, 0]
    assert found.windows.origins.tolist() == [0, 1]
    assert found.unseen.tolist() == [False, False]  # nobody knows what the champion learnt from


def test_what_the_snapshot_holds_does_not_judge_twice(snapshot: SnapshotFile, tmp_path: Path) -> None:
    extended = extend(snapshot, [labelled(1)], parent_digest=digest_bytes(b"parent"))
    imported = Bought(
        sample="s-9", device="edge-1", label="a", source=LabelSource.PERSON, values=snapshot.rows.values[0].tobytes()
    )
    found = judging(extended, tmp_path, labelled(1), labelled(2), imported)
    assert found is not None
    assert found.windows.values[:, 0, 0].tolist() == [12.0]
    assert judging(extended, tmp_path, labelled(1), imported) is None


def test_what_the_champion_learnt_from_is_told_apart(snapshot: SnapshotFile, tmp_path: Path) -> None:
    learnt = Learnt(rows=np.empty(0, np.uint64), samples=frozenset({"s-1"}), without=frozenset({"edge-3"}))
    found = judging(snapshot, tmp_path, labelled(1), labelled(2), labelled(3, "edge-3"), learnt=learnt)
    assert found is not None
    assert found.unseen.tolist() == [False, True]


def test_samples_of_other_columns_or_classes_do_not_judge(snapshot: SnapshotFile, tmp_path: Path) -> None:
    assert judging(snapshot, tmp_path, labelled(1, width=2), labelled(2, label="c")) is None
