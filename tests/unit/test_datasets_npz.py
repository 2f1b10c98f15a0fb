"""npz archives: arrays of equal length, never pickles."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeops import limits
from edgeops.errors import DatasetError
from fleet_server.datasets.snapshot import SnapshotFile
from tests.imported import import_file

ROWS = 60
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(ROWS, 4)).astype(np.float32)
Y = np.arange(ROWS) % 3


def load(folder: Path, arrays: dict[str, Any], **options: Any) -> SnapshotFile:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return import_file(path, file_name="data.npz", **{"label": "y", **options})


def refusal(folder: Path, arrays: dict[str, Any], **options: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        load(folder, arrays, **options)
    return str(caught.value)


def test_the_array_x_is_learnt_from_unless_another_is_named(tmp_path: Path) -> None:
    snapshot = load(tmp_path, {"X": X, "y": Y})
    assert snapshot.schema.columns == ("X0", "X1", "X2", "X3")
    assert np.array_equal(snapshot.rows.values, X)
    assert snapshot.schema.classes == ("0", "1", "2")


def test_images_keep_their_shape(tmp_path: Path) -> None:
    snapshot = load(tmp_path, {"X": X.reshape(ROWS, 2, 2), "y": Y})
    assert snapshot.schema.shape == (2, 2)
    assert snapshot.rows.values.shape == (ROWS, 4)


def test_several_arrays_become_columns_side_by_side(tmp_path: Path) -> None:
    snapshot = load(tmp_path, {"a": X[:, 0], "b": X[:, 1:3], "y": Y}, features=("b", "a"))
    assert snapshot.schema.columns == ("b0", "b1", "a")
    assert np.array_equal(snapshot.rows.values, X[:, [1, 2, 0]])


def test_a_filter_keeps_rows_with_their_numbers(tmp_path: Path) -> None:
    batch = np.repeat([1, 2, 3], ROWS // 3).astype(np.uint8)
    snapshot = load(tmp_path, {"X": X, "y": np.arange(ROWS) % 2, "batch": batch}, where=("batch=1,3",))
    assert snapshot.rows.ids.tolist() == [*range(20), *range(40, 60)]


def test_text_labels_and_whole_float_labels_are_classes(tmp_path: Path) -> None:
    names = np.array(["on", "off"])[np.arange(ROWS) % 2]
    assert load(tmp_path, {"X": X, "y": names}).schema.classes == ("off", "on")
    assert load(tmp_path, {"X": X, "y": Y.astype(float)}).schema.classes == ("0", "1", "2")


def test_fractions_as_label_are_refused(tmp_path: Path) -> None:
    assert "row 0, column 'y': '0.5' is a fraction" in refusal(tmp_path, {"X": X, "y": Y + 0.5})


def test_a_missing_array_is_named_with_what_there_is(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"X": X, "z": Y}) == "data.npz: no label array 'y'; there are: X, z"
    assert "no array 'X'; there are: Z, y" in refusal(tmp_path, {"Z": X, "y": Y})
    assert "no array 'part'" in refusal(tmp_path, {"X": X, "y": Y}, where=("part=1",))


def test_arrays_of_other_lengths_are_named(tmp_path: Path) -> None:
    assert "array 'X' has 59 rows, 'y' has 60" in refusal(tmp_path, {"X": X[1:], "y": Y})
    assert "array 'b' has 59 rows" in refusal(tmp_path, {"X": X, "y": Y, "b": Y[1:]}, where=("b=1",))


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, y=np.arange(40) % 2)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("X.npy", b"not an array")
    with pytest.raises(DatasetError, match=r"rows\.npz: array 'X' is no array"):
        import_file(path, file_name="rows.npz", label="y")


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    message = refusal(tmp_path, {"X": X, "y": np.array([Trap()] * ROWS, dtype=object)})
    assert "pickled objects are refused" in message
    assert not (tmp_path / "sprung").exists()


def test_text_is_not_a_feature(tmp_path: Path) -> None:
    assert "row 0, column 'X': 'a' is not a number" in refusal(tmp_path, {"X": np.array(["a"] * ROWS), "y": Y})


def test_infinite_values_are_named_with_their_place(tmp_path: Path) -> None:
    broken = X.copy()
    broken[7, 2] = np.inf
    assert "data.npz, row 7, column 'X2': 'inf' does not fit a 32-bit float" in refusal(tmp_path, {"X": broken, "y": Y})


def test_an_empty_file_and_an_archive_without_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"data\.npz: the file is empty"):
        import_file(path, file_name="data.npz", label="y")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(DatasetError, match="holds no arrays"):
        import_file(path, file_name="data.npz", label="y")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=Y)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DatasetError, match="not an npz archive"):
        import_file(path, file_name="data.npz", label="y")


def test_damage_inside_an_array_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=Y)
    data = bytearray(path.read_bytes())
    data[400] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"data\.npz: array 'X' cannot be read"):
        import_file(path, file_name="data.npz", label="y")


def test_an_archive_that_would_unpack_to_too_much_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_DATASET_VALUES", 100)
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=np.zeros((ROWS, 400)), y=Y)
    with pytest.raises(DatasetError, match="unpacks to"):
        import_file(path, file_name="data.npz", label="y")
