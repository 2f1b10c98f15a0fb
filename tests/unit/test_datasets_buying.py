"""Snapshots that extend others by bought rows: what is learnt from, and what is never touched."""

from pathlib import Path

import numpy as np
import pytest

from edgeops.data.splits import Split
from edgeops.digest import digest_bytes
from edgeops.errors import DatasetError
from edgeops.learning.labels import LabelSource
from fleet_server.datasets.buying import Bought, extend
from fleet_server.datasets.snapshot import IMPORTED, SnapshotFile, encode_snapshot, export_rows, read_snapshot
from tests.imported import import_file

PARENT = digest_bytes(b"parent")


@pytest.fixture
def parent(tmp_path: Path) -> SnapshotFile:
    path = tmp_path / "data.npz"
    values = np.random.default_rng(5).normal(size=(120, 3)).astype(np.float32)
    np.savez(path, X=values, y=np.array(["a", "b"])[np.arange(120) % 2])
    return import_file(path, file_name="data.npz", label="y")


def bought(sample: str, device: str = "edge-1", *, label: str = "a", value: float = 9.0, **values: object) -> Bought:
    readings = np.full(3, value, "<f4").tobytes()
    return Bought(**{  # type: ignore[arg-type]
        "sample": sample, "device": device, "label": label, "source": LabelSource.PERSON, "values": readings, **values
    })  # fmt: skip


def held_out(snapshot: SnapshotFile) -> tuple[bytes, bytes]:
    parts = [snapshot.only(split) for split in (Split.VALIDATION, Split.EVALUATION)]
    return parts[0].values.tobytes() + parts[1].values.tobytes(), np.concatenate([p.classes for p in parts]).tobytes()


def test_bought_rows_train_and_nothing_else(parent: SnapshotFile) -> None:
    feedback = bought("s-2", "edge-2", label="b", source=LabelSource.FEEDBACK)
    child = extend(parent, [feedback, bought("s-1")], parent_digest=PARENT)
    assert held_out(child) == held_out(parent)
    assert child.schema.split_rows[Split.TRAIN] == parent.schema.split_rows[Split.TRAIN] + 2
    assert child.schema.split_rows[1:] == parent.schema.split_rows[1:]
    added = child.only(Split.TRAIN).only(slice(-2, None))
    assert sorted(added.classes.tolist()) == [0, 1]
    assert (added.values == 9.0).all()


def test_what_a_device_says_of_itself_is_learnt_and_never_judged_on(parent: SnapshotFile) -> None:
    told = [bought(f"s-{number}", "edge-2", source=LabelSource.FEEDBACK) for number in (1, 4)]
    child = extend(parent, [*told, bought("s-2"), bought("s-3", "edge-2")], parent_digest=PARENT)
    assert (child.schema.bought_rows, child.schema.fresh_rows) == (4, 2)
    # The fresh rows, which judge, are the last ones.
    assert [one.sample for one in child.purchases] == ["s-1", "s-4", "s-2", "s-3"]


def test_every_bought_row_tells_where_it_came_from(parent: SnapshotFile) -> None:
    feedback = bought("s-2", "edge-2", source=LabelSource.FEEDBACK)
    child = extend(parent, [feedback, bought("s-1", "edge-9")], parent_digest=PARENT)
    rows = child.rows.only(child.rows.origins != IMPORTED)
    told = [
        (child.purchases[-1 - one].sample, child.schema.devices[origin], child.purchases[-1 - one].source)
        for one, origin in zip(rows.ids, rows.origins, strict=True)
    ]
    assert told == [("s-2", "edge-2", "feedback"), ("s-1", "edge-9", "person")]
    assert (child.schema.parent, child.schema.bought_rows, child.schema.fresh_rows) == (PARENT, 2, 1)


def test_the_order_of_labels_changes_no_byte(parent: SnapshotFile) -> None:
    rows = [bought(f"s-{number}", f"edge-{number % 3}", value=number) for number in range(20)]
    one, other = (encode_snapshot(extend(parent, some, parent_digest=PARENT)) for some in (rows, rows[::-1]))
    assert one == other


def test_what_samples_are_called_does_not_change_the_order_in_which_they_are_learnt(parent: SnapshotFile) -> None:
    named, renamed = (
        [bought(f"s-{name(number):02}", f"edge-{number % 3}", value=number) for number in range(20)]
        for name in (lambda number: number, lambda number: 7 * number % 20)
    )
    one, other = (extend(parent, some, parent_digest=PARENT).only(Split.TRAIN) for some in (named, renamed))
    assert np.array_equal(one.values, other.values)


def test_a_snapshot_with_bought_rows_reads_back_as_it_was_written(parent: SnapshotFile, tmp_path: Path) -> None:
    child = extend(parent, [bought("s-1"), bought("s-2", "edge-2")], parent_digest=PARENT)
    path = tmp_path / "blob"
    path.write_bytes(encode_snapshot(child))
    again = read_snapshot(path)
    assert again.schema == child.schema
    assert again.purchases == child.purchases
    assert np.array_equal(again.rows.origins, child.rows.origins)


def test_a_grandchild_has_the_rows_of_both_and_counts_the_new_ones_last(parent: SnapshotFile) -> None:
    child = extend(parent, [bought("s-7", value=7.0)], parent_digest=PARENT)
    # The readings of the old one were dropped since; its label counts still.
    grandchild = extend(child, [bought("s-1", value=1.0), bought("s-7", values=b"")], parent_digest=PARENT)
    assert [one.sample for one in grandchild.purchases] == ["s-7", "s-1"]
    assert grandchild.only(Split.TRAIN).values[-2:, 0].tolist() == [7.0, 1.0]
    assert (grandchild.schema.bought_rows, grandchild.schema.fresh_rows) == (2, 1)


def test_a_corrected_label_is_learnt_as_it_is_now_and_a_disputed_one_not_at_all(parent: SnapshotFile) -> None:
    child = extend(parent, [bought("s-1"), bought("s-2")], parent_digest=PARENT)
    grandchild = extend(child, [bought("s-1", label="b", values=b"")], parent_digest=PARENT)
    assert [one.sample for one in grandchild.purchases] == ["s-1"]
    assert grandchild.rows.classes[-1] == 1
    assert grandchild.schema.fresh_rows == 0


def test_a_device_left_out_takes_all_its_rows_along_and_stays_out(parent: SnapshotFile) -> None:
    rows = [bought("s-1", "edge-1"), bought("s-2", "edge-2")]
    child = extend(parent, rows, parent_digest=PARENT)
    clean = extend(child, rows, parent_digest=PARENT, without=("edge-2",))
    assert [one.device for one in clean.purchases] == ["edge-1"]
    later = extend(clean, [*rows, bought("s-3", "edge-2"), bought("s-4", "edge-3")], parent_digest=PARENT)
    assert [one.device for one in later.purchases] == ["edge-1", "edge-3"]
    assert later.schema.without == ("edge-2",)
    assert later.schema.devices == ("edge-1", "edge-3")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"label": "c"}, "sample s-1 is labelled 'c', which is none of the classes of this dataset: a, b"),
        ({"values": b"1234"}, "sample s-1 has 4 bytes of readings, a row of this dataset has 3 values"),
        ({"values": b""}, "sample s-1 has 0 bytes of readings"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(parent: SnapshotFile, values: dict[str, object], reason: str) -> None:
    with pytest.raises(DatasetError) as caught:
        extend(parent, [bought("s-1", **values)], parent_digest=PARENT)
    assert reason in str(caught.value)


def test_a_reading_that_is_no_number_is_a_missing_value(parent: SnapshotFile) -> None:
    readings = np.array([1.0, np.inf, np.nan], "<f4").tobytes()
    child = extend(parent, [bought("s-1", values=readings)], parent_digest=PARENT)
    assert np.isnan(child.rows.values[-1]).tolist() == [False, True, True]
    assert [one.missing for one in child.schema.statistics] == [0, 1, 1]


def test_bought_rows_leave_with_the_training_split_only(parent: SnapshotFile) -> None:
    child = extend(parent, [bought("s-1")], parent_digest=PARENT)
    assert export_rows(child, Split.EVALUATION) == export_rows(parent, Split.EVALUATION)


def test_rows_in_time_order_are_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=np.arange(40.0), y=np.arange(40) % 2)
    ordered, any_order = (import_file(path, file_name="d", label="y", in_time_order=one) for one in (True, False))
    assert (ordered.schema.ordered, any_order.schema.ordered) == (True, False)
