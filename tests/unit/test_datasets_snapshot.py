"""Snapshots and splits: immutable, repeatable, stratified; labels leave by another door than rows."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.data.rules import Rules
from edgeops.data.splits import Split, split_rows
from edgeops.errors import DatasetError
from fleet_server.datasets.snapshot import (
    SnapshotFile,
    encode_snapshot,
    export_labels,
    export_rows,
    read_snapshot,
)
from tests.imported import import_file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes, sorted by class, as many files are."""
    path = tmp_path / "data.npz"
    random = np.random.default_rng(5)
    np.savez(path, X=random.normal(size=(300, 3)).astype(np.float32), y=np.repeat([0, 1, 2], [200, 70, 30]))
    return path


def load(path: Path, **options: object) -> SnapshotFile:
    return import_file(path, file_name="data.npz", label="y", **options)  # type: ignore[arg-type]


def test_the_same_file_and_seed_give_the_same_bytes(source: Path) -> None:
    assert encode_snapshot(load(source, seed=4)) == encode_snapshot(load(source, seed=4))


def test_another_seed_gives_another_split(source: Path) -> None:
    first, second = load(source, seed=1), load(source, seed=2)
    assert not np.array_equal(first.splits, second.splits)
    assert first.schema.split_rows == second.schema.split_rows


def test_a_snapshot_reads_back_as_it_was_written(source: Path, tmp_path: Path) -> None:
    snapshot = load(source)
    path = tmp_path / "blob"
    path.write_bytes(encode_snapshot(snapshot))
    again = read_snapshot(path)
    assert again.schema == snapshot.schema
    assert np.array_equal(again.rows.values, snapshot.rows.values)
    assert np.array_equal(again.splits, snapshot.splits)


def test_something_else_is_no_snapshot(source: Path, tmp_path: Path) -> None:
    for data in (b"", b"text", source.read_bytes(), encode_snapshot(load(source))[:-50]):
        path = tmp_path / "blob"
        path.write_bytes(data)
        with pytest.raises(DatasetError, match="is no snapshot, or damaged"):
            read_snapshot(path)


def test_exported_rows_carry_ids_and_columns_but_no_label(source: Path) -> None:
    snapshot = load(source)
    with np.load(io.BytesIO(export_rows(snapshot, Split.EVALUATION)), allow_pickle=False) as archive:
        assert sorted(archive.files) == ["X", "columns", "id"]
        assert archive["columns"].tolist() == ["X0", "X1", "X2"]
        assert np.array_equal(archive["X"], snapshot.rows.values[archive["id"]])
        assert sorted(archive["id"].tolist()) == snapshot.only(Split.EVALUATION).ids.tolist()
        assert not np.all(np.diff(archive["id"]) > 0), "in file order they would be sorted by class"


def test_exported_labels_join_by_id(source: Path) -> None:
    snapshot = load(source)
    rows = list(csv.DictReader(io.StringIO(export_labels(snapshot, Split.EVALUATION).decode())))
    assert len(rows) == snapshot.schema.split_rows[Split.EVALUATION]
    for row in rows:
        truth = snapshot.rows.classes[int(row["id"])]
        assert (row["label"], int(row["index"])) == (snapshot.schema.classes[truth], truth)


def test_numbers_are_exported_as_they_were_learnt(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=np.arange(40.0), y=np.arange(40.0) / 8)
    snapshot = import_file(path, file_name="data.npz", label="y", task="regression")
    text = export_labels(snapshot, Split.EVALUATION).decode()
    rows = {int(row["id"]): np.float32(row["label"]) for row in csv.DictReader(io.StringIO(text))}
    held = snapshot.only(Split.EVALUATION)
    assert rows == dict(zip(held.ids.tolist(), held.targets, strict=True))
    assert text.startswith("id,label\n")


def test_a_label_with_a_comma_survives_its_export(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    names = np.array(['on, "hot"', "off"])[np.arange(40) % 2]
    np.savez(path, X=np.arange(40.0), y=names)
    text = export_labels(load(path), Split.EVALUATION).decode()
    assert {row["label"] for row in csv.DictReader(io.StringIO(text))} == {'on, "hot"', "off"}


@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=6),
    hold_out=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_class_is_in_every_split_in_its_share(counts: list[int], hold_out: float, seed: int) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    splits = split_rows(
        Rules(label="y", hold_out=hold_out, seed=seed), classes, groups=classes, names=(), times=classes
    )
    for one, count in enumerate(counts):
        sizes = np.bincount(splits[classes == one], minlength=3)
        assert sizes.sum() == count
        assert sizes.min() >= 1
        assert abs(sizes[Split.EVALUATION] - hold_out * count) <= 2
