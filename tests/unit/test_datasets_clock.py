"""The hour and the weekday as columns of a dataset, moments that are written down locally, and splits that use them."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeops.artifact.manifest import ClockPart, Task, TimeColumn
from edgeops.data.rules import Rules
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from edgeops.model.clock import ClockColumns
from fleet_server.datasets.importing import import_file
from fleet_server.datasets.snapshot import SnapshotFile, export_rows, read_snapshot
from fleet_server.ml.watching import table_channels, window_channels

START = datetime(2026, 3, 28, 12, tzinfo=UTC)
#: Every half hour, over the night in which Brussels puts its clocks forward.
MOMENTS = [START + index * timedelta(minutes=30) for index in range(60)]
ZONE = "Europe/Brussels"


def lines(written: list[str]) -> str:
    rows = (f"{moment},{index % 5},{'ab'[index % 2]},{'pq'[index < 40]}" for index, moment in enumerate(written))
    return "\n".join(["at,t,kind,part", *rows]) + "\n"


def imported(folder: Path, path: Path, **rules: object) -> SnapshotFile:
    said = {"label": "kind", "time": "at", "split": "time", **rules}
    import_file(
        path,
        msgspec.convert(said, Rules),
        file_name=path.name,
        destination=folder / "snapshot",
        quarantine=folder / "refused",
    )
    return read_snapshot(folder / "snapshot")


def csv_of(folder: Path, written: list[str]) -> Path:
    path = folder / "rows.csv"
    path.write_text(lines(written))
    return path


def test_the_clock_gives_columns_behind_what_was_measured(tmp_path):
    path = csv_of(tmp_path, [moment.isoformat() for moment in MOMENTS])
    snapshot = imported(tmp_path, path, clock=["hour", "weekday"], zone=ZONE, exclude=["part"])
    assert snapshot.schema.columns == ("t", "hour-sin", "hour-cos", "weekday-sin", "weekday-cos")
    assert snapshot.schema.shape == (5,)
    clock = ClockColumns((ClockPart.HOUR, ClockPart.WEEKDAY), zone=ZONE)
    assert snapshot.rows.values[:, 1:].tobytes() == clock.rows(snapshot.rows.times).tobytes()
    window = snapshot.schema.window()
    assert (window.measured, window.clock) == (("t",), (ClockPart.HOUR, ClockPart.WEEKDAY))
    assert window.time == TimeColumn(name="at", zone=ZONE)


def test_without_a_clock_only_windows_of_several_rows_depend_on_when_they_were_measured(tmp_path):
    path = csv_of(tmp_path, [moment.isoformat() for moment in MOMENTS])
    schema = imported(tmp_path, path, exclude=["part"]).schema
    assert schema.window().time is None
    assert schema.window(rows=4).time == TimeColumn(name="at")


@pytest.mark.parametrize("form", ["csv", "csv with a number among them", "parquet", "parquet with a zone"])
def test_a_moment_without_an_offset_was_written_down_in_the_zone_of_the_dataset(tmp_path, form):
    local = [(moment + timedelta(hours=1 + (index >= 26))).replace(tzinfo=None) for index, moment in enumerate(MOMENTS)]
    if form.startswith("csv"):
        texts = [moment.isoformat(sep=" ") for moment in local]
        if "number" in form:
            texts[0] = str(MOMENTS[0].timestamp())
        path = csv_of(tmp_path, texts)
    else:
        path = tmp_path / "rows.parquet"
        at = pa.array(MOMENTS, pa.timestamp("us", "UTC")) if "zone" in form else pa.array(local, pa.timestamp("us"))
        table = {"at": at, "t": list(range(60)), "kind": ["a", "b"] * 30, "part": ["p", "q"] * 30}
        pq.write_table(pa.table(table), path)
    snapshot = imported(tmp_path, path, zone=ZONE, exclude=["part"])
    assert snapshot.rows.times.tolist() == [int(moment.timestamp()) * 10**9 for moment in MOMENTS]


def test_an_exported_row_has_its_moment_so_that_a_replay_knows_the_hour(tmp_path):
    path = csv_of(tmp_path, [moment.isoformat() for moment in MOMENTS])
    snapshot = imported(tmp_path, path, clock=["hour"], exclude=["part"])
    arrays = np.load(io.BytesIO(export_rows(snapshot, Split.EVALUATION)))
    held_out = snapshot.rows.times[snapshot.splits == Split.EVALUATION]
    assert arrays["at"].astype(np.int64).tolist() == held_out.tolist(), "in their order"


def test_groups_can_judge_by_name_while_the_latest_of_the_other_rows_stop_the_training(tmp_path):
    path = csv_of(tmp_path, [moment.isoformat() for moment in MOMENTS])
    snapshot = imported(tmp_path, path, group="part", held_out=["p"])
    assert snapshot.splits.tolist() == [Split.TRAIN] * 36 + [Split.VALIDATION] * 4 + [Split.EVALUATION] * 20
    path = csv_of(tmp_path, [moment.isoformat() for moment in MOMENTS])
    earlier = imported(tmp_path, path, group="part", held_out=["q"])
    assert earlier.schema.split_rows == (18, 2, 40)
    assert earlier.schema.leaks.words


@pytest.mark.parametrize("rules", [{}, {"clip_hz": 8.0}])
def test_the_clock_has_no_place_in_images_and_recordings(tmp_path, rules):
    path = tmp_path / "arrays.npz"
    np.savez(path, X=np.ones((60, 2, 2)), kind=np.arange(60) % 2, at=np.arange(60))
    with pytest.raises(DatasetError, match="no place for the hour"):
        imported(tmp_path, path, clock=["hour"], **rules)


def test_the_clock_has_no_second_column_of_its_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(lines([moment.isoformat() for moment in MOMENTS]).replace("at,t,", "at,hour-sin,", 1))
    with pytest.raises(DatasetError, match="'hour-sin' is called as what the clock gives"):
        imported(tmp_path, path, clock=["hour"], exclude=["part"])


def test_what_a_clock_gives_is_learnt_from_and_not_watched():
    rows = np.random.default_rng(5).normal(size=(50, 4)).astype(np.float32)
    targets = np.arange(50) % 2
    table = table_channels(Task.CLASSIFICATION, ("t", "u"), rows, targets)
    windows = window_channels(Task.CLASSIFICATION, ("t", "u"), rows.reshape(10, 5, 4), targets[:10])
    assert [one.name for one in table[:2]] == ["t", "u"]
    assert not any("hour" in one.name for one in (*table, *windows))
