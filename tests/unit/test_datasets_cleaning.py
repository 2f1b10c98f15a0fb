"""Which rows an import refuses, and where they go; the same for every kind of file."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeops.artifact.manifest import Task
from edgeops.data.cells import NO_MOMENT, NO_NAME
from edgeops.data.rules import Rules
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from fleet_server.datasets import text_file
from fleet_server.datasets.importing import import_file
from fleet_server.datasets.snapshot import SnapshotFile, export_labels, read_snapshot

QUARANTINE = {"bad_rows": "quarantine"}
Records = list[dict[str, Any]]


def records(count: int = 40) -> Records:
    return [{"t": index * 0.5, "p": float(index % 7), "kind": "ab"[index % 2]} for index in range(count)]


def write(folder: Path, rows: Records, suffix: str = "csv") -> Path:
    path = folder / f"rows.{suffix}"
    if suffix == "csv":
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


class Import:
    def __init__(self, folder: Path, path: Path, **rules: Any) -> None:
        self._files = folder / "snapshot", folder / "refused"
        self.schema: Schema = import_file(
            path,
            msgspec.convert({"label": "kind", **rules}, Rules),
            file_name=path.name,
            destination=self._files[0],
            quarantine=self._files[1],
        )

    @property
    def snapshot(self) -> SnapshotFile:
        return read_snapshot(self._files[0])

    @property
    def refused(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in gzip.decompress(self._files[1].read_bytes()).splitlines()]

    @property
    def reasons(self) -> dict[str, int]:
        return {reason.value: rows for reason, rows in self.schema.refused.items()}


def refusal(folder: Path, path: Path, **rules: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        Import(folder, path, **rules)
    return str(caught.value)


def test_a_stretch_of_the_file_without_any_wanted_row_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "_BLOCK_BYTES", 100)
    rows = [{**row, "part": "unwanted" if 10 <= index < 30 else "wanted"} for index, row in enumerate(timed(80))]
    done = Import(tmp_path, write(tmp_path, rows), time="at", group="who", where=["part=wanted"])
    assert done.schema.rows == 60


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    snapshot = Import(tmp_path, write(tmp_path, records(), suffix)).snapshot
    assert snapshot.schema.columns == ("t", "p")
    assert snapshot.schema.classes == ("a", "b")
    assert snapshot.rows.values[3].tolist() == [1.5, 3.0]
    assert snapshot.rows.ids.tolist() == list(range(40))


@pytest.mark.parametrize(("suffix", "line"), [("csv", 7), ("jsonl", 6), ("parquet", 5)])
def test_a_refused_row_is_kept_with_its_line_reason_column_and_value(tmp_path: Path, suffix: str, line: int) -> None:
    rows = [row | {"p": str(row["p"])} for row in records()]
    rows[5]["p"] = "oops"
    done = Import(tmp_path, write(tmp_path, rows, suffix), **QUARANTINE)
    assert done.reasons == {"not-a-number": 1}
    (row,) = done.refused
    assert (row["line"], row["reason"], row["column"], row["value"]) == (line, "not-a-number", "p", "oops")
    assert row["row"]["kind"] == "b"
    assert 5 not in done.snapshot.rows.ids
    assert done.schema.rows == 39


def test_an_import_that_refuses_nothing_has_no_quarantine(tmp_path: Path) -> None:
    done = Import(tmp_path, write(tmp_path, records()), **QUARANTINE)
    assert (done.schema.quarantine, done.reasons) == (None, {})


def test_an_error_names_the_first_row_of_each_reason_and_how_many_there_are(tmp_path: Path) -> None:
    lines = write(tmp_path, records()).read_text().splitlines()
    lines[3], lines[5], lines[8], lines[9] = "1,inf,a", "x,1,a", "1,2", "y,1,a"
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines))
    message = refusal(tmp_path, path)
    assert message.startswith("rows.csv, ")
    for told in (
        "line 9: 2 values where the header names 3",
        "line 4, column 'p': 'inf' does not fit a 32-bit float",
        "line 6, column 't': 'x' is not a number (and 1 more rows: not-a-number)",
    ):
        assert told in message
    assert not (tmp_path / "snapshot").exists()


def test_most_rows_refused_is_an_error_even_with_a_quarantine(tmp_path: Path) -> None:
    rules = {"columns": {"t": {"maximum": 5.0}}} | QUARANTINE
    message = refusal(tmp_path, write(tmp_path, records()), **rules)
    assert "29 of 40 rows are refused: are these the right rules for the file?" in message


def test_ranges_are_those_of_the_unit_that_is_learnt_in(tmp_path: Path) -> None:
    rules = {"columns": {"t": {"from": "degF", "unit": "degC", "maximum": -7.0}}} | QUARANTINE
    done = Import(tmp_path, write(tmp_path, records(42)), **rules)
    assert done.reasons == {"out-of-range": 3}
    assert done.refused[0]["value"] == "19.5"
    assert done.snapshot.rows.values[0, 0] == pytest.approx(-160 / 9)


def test_missing_cells_stay_unless_a_rule_refuses_them(tmp_path: Path) -> None:
    rows = records()
    rows[4]["p"] = None
    path = write(tmp_path, rows)
    assert np.isnan(Import(tmp_path, path).snapshot.rows.values[4, 1])
    assert Import(tmp_path, path, columns={"p": {"missing": "refuse"}}, **QUARANTINE).reasons == {"missing": 1}


def test_a_category_that_is_not_allowed_is_refused_and_never_learnt_from(tmp_path: Path) -> None:
    rows = [{"mode": "auto" if index else "broken", **row} for index, row in enumerate(records())]
    rules = {"columns": {"mode": {"type": "category", "allowed": ["auto", "manual"]}}}
    path = write(tmp_path, rows)
    done = Import(tmp_path, path, **rules, **QUARANTINE)
    assert (done.reasons, done.schema.columns) == ({"not-allowed": 1}, ("t", "p"))
    assert "a model reads numbers" in refusal(tmp_path, path, features=["mode"], **rules)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_columns_of_slices_are_kept_beside_the_group_and_never_learnt_from(tmp_path: Path, suffix: str) -> None:
    rows = [row | {"who": f"m{n % 4}", "site": ["ghent", "lille", None][n % 3]} for n, row in enumerate(records())]
    snapshot = Import(tmp_path, write(tmp_path, rows, suffix), group="who", slices=["site"]).snapshot
    assert snapshot.schema.columns == ("t", "p")
    assert snapshot.slices == (("ghent", "lille"),)
    assert snapshot.rows.slices.shape == (40, 1)
    assert snapshot.rows.slices[:4, 0].tolist() == [0, 1, NO_NAME, 0]
    assert snapshot.rows.only(np.arange(3) + 1).slices[:, 0].tolist() == [1, NO_NAME, 0]


def test_a_column_of_slices_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no column 'site'"):
        Import(tmp_path, write(tmp_path, records()), slices=["site"])


def test_equal_rows_stay_unless_duplicates_are_refused(tmp_path: Path) -> None:
    rows = [*records(), records()[3], {**records()[3], "kind": "a"}]
    path = write(tmp_path, rows)
    assert Import(tmp_path, path).schema.rows == 42
    done = Import(tmp_path, path, duplicates="refuse", **QUARANTINE)
    assert done.reasons == {"duplicate": 1}
    assert done.refused[0]["line"] == 42


def timed(count: int = 40) -> Records:
    start = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    return [
        {"at": datetime.fromtimestamp(start + index, UTC).isoformat(), "who": f"d{index % 2}", **row}
        for index, row in enumerate(records(count))
    ]


def test_moments_must_go_on_within_their_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "_BLOCK_BYTES", 100)  # the row before is often of another batch
    rows = timed()
    rows[10]["at"], rows[21]["at"], rows[30]["at"] = rows[2]["at"], rows[19]["at"], "yesterday"
    done = Import(tmp_path, write(tmp_path, rows), time="at", group="who", **QUARANTINE)
    assert done.reasons == {"not-a-moment": 1, "backwards": 1, "same-moment": 1}
    assert [row["line"] for row in done.refused] == [12, 23, 32]
    assert done.snapshot.groups == ("d0", "d1")
    assert done.snapshot.rows.times[1] == 1_772_323_201 * 10**9


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_moments_may_be_numbers_since_1970(tmp_path: Path, suffix: str) -> None:
    rows = [{"at": 1_772_323_200_000 + index, **row} for index, row in enumerate(records())]
    rules = {"time": "at", "columns": {"at": {"type": "moment", "unit": "ms"}}}
    snapshot = Import(tmp_path, write(tmp_path, rows, suffix), **rules).snapshot
    assert snapshot.rows.times[1] == 1_772_323_200_001 * 10**6


def test_a_file_without_groups_and_moments_says_so(tmp_path: Path) -> None:
    rows = Import(tmp_path, write(tmp_path, records())).snapshot.rows
    assert (set(rows.groups.tolist()), set(rows.times.tolist())) == ({-1}, {NO_MOMENT})


def test_a_regression_learns_numbers_and_holds_out_a_share_of_each_tenth(tmp_path: Path) -> None:
    rows = [{"x": float(index % 5), "ppm": index * 2.5} for index in range(200)]
    rows[7]["ppm"] = float("inf")
    rows[8]["ppm"] = None  # type: ignore[assignment]
    done = Import(tmp_path, write(tmp_path, rows), label="ppm", task="regression", units="ppm", **QUARANTINE)
    snapshot = done.snapshot
    assert done.reasons == {"label-missing": 1, "not-finite": 1}
    assert (snapshot.schema.task, snapshot.schema.units, snapshot.schema.classes) == (Task.REGRESSION, "ppm", ())
    assert snapshot.rows.targets.dtype == np.float32
    judged = np.sort(snapshot.only(Split.EVALUATION).targets)
    assert len(judged) == pytest.approx(40, abs=5)
    assert np.diff(judged).max() < 60


def test_an_anomaly_detector_needs_no_label_and_takes_0_and_1(tmp_path: Path) -> None:
    rows = [{"x": float(index), "odd": int(index % 9 == 0)} for index in range(60)]
    rows[3]["odd"] = 2
    path = write(tmp_path, rows)
    done = Import(tmp_path, path, label="odd", task="anomaly", **QUARANTINE)
    assert done.reasons == {"not-allowed": 1}
    assert set(done.snapshot.rows.targets.tolist()) == {0, 1}
    assert set(Import(tmp_path, path, label="", task="anomaly").snapshot.rows.targets.tolist()) == {-1}


def test_an_anomaly_detector_takes_labels_of_some_rows_only(tmp_path: Path) -> None:
    rows = [{"x": float(index), "odd": index % 2 if index % 3 == 0 else None} for index in range(60)]
    snapshot = Import(tmp_path, write(tmp_path, rows), label="odd", task="anomaly").snapshot
    assert snapshot.rows.targets.tolist() == [index % 2 if index % 3 == 0 else -1 for index in range(60)]
    labels = export_labels(snapshot, Split.EVALUATION).decode().splitlines()
    assert {line.partition(",")[2] for line in labels[1:]} == {"0", "1"}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_count_that_is_no_moment_in_its_unit_is_told_so(tmp_path: Path, suffix: str) -> None:
    rows = [{"at": 1_772_323_200_000 + index, **row} for index, row in enumerate(records())]
    message = refusal(tmp_path, write(tmp_path, rows, suffix), time="at")
    assert "'1772323200000' is not a moment such as 2026-03-01T12:00:00Z, nor a count since 1970 in its unit" in message


def test_units_between_which_there_is_no_conversion_are_told_with_their_column(tmp_path: Path) -> None:
    columns = {"t": {"from": "degF", "unit": "kPa"}}
    message = refusal(tmp_path, write(tmp_path, records()), columns=columns)
    assert message.startswith("rows.csv, column 't': there is no conversion from 'degF' to 'kPa'")


def test_a_class_that_judges_and_was_never_learnt_is_named(tmp_path: Path) -> None:
    rows = [
        row | {"who": f"d{index // 10}", "kind": "c" if index < 10 else row["kind"]}
        for index, row in enumerate(records())
    ]
    message = refusal(tmp_path, write(tmp_path, rows), group="who", split="group", held_out=["d0"])
    assert "no training row is of class 'c'" in message


def test_what_the_split_gives_away_is_told(tmp_path: Path) -> None:
    rows = [row | {"who": f"d{index % 4}", "p": 1.0, "t": float(index % 3)} for index, row in enumerate(records(80))]
    schema = Import(tmp_path, write(tmp_path, rows), group="who").schema
    assert schema.leaks.same_rows > 10
    assert schema.leaks.shared_groups == 4
    assert "column 'p' has the same value 1 in every training row" in schema.warnings[0]
    assert len(schema.warnings) == 3


def test_line_numbers_hold_over_blocks_blank_lines_and_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "_BLOCK_BYTES", 64)
    lines = ["t,p,kind"]
    bad = []
    for index in range(200):
        lines += ["", "", f'{index},1,"a\n{index % 2}"'] if index % 5 == 0 else [f"{index},2,b"]
        if index % 17 == 0:
            lines.append("oops,1,b")
            bad.append(sum(line.count("\n") + 1 for line in lines))
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines))
    done = Import(tmp_path, path, **QUARANTINE)
    assert [row["line"] for row in done.refused] == bad
    assert done.schema.classes == ("a\n0", "a\n1", "b")


def test_a_line_that_is_no_object_costs_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, records(), "jsonl")
    path.write_text(path.read_text().replace('"t": 2.0', '"t": ', 1) + "[1]\n")
    done = Import(tmp_path, path, **QUARANTINE)
    assert done.reasons == {"malformed": 2}
    assert [row["line"] for row in done.refused] == [5, 41]


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, records(), "parquet")
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a Parquet file, or damaged" in refusal(tmp_path, path)


def test_rules_of_columns_that_are_not_there_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, write(tmp_path, records()), columns={"q": {"minimum": 0.0}})
    assert message == "rows.csv: no column 'q'; there are: t, p, kind"


def test_a_malformed_row_that_is_not_utf_8_is_not_lost(tmp_path: Path) -> None:
    path = write(tmp_path, records())
    path.write_bytes(path.read_bytes() + b"1,\xff\n")
    assert refusal(tmp_path, path) == "rows.csv, line 42: not UTF-8 (invalid start byte); save it as UTF-8"


def test_a_file_that_is_no_text_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"SQLite format 3\0" + bytes(100))
    assert refusal(tmp_path, path).startswith("rows.csv, line 1: there is a NUL in it, and CSV is text")


@pytest.mark.parametrize("text", ["1_000", "\u0661", "0x10", "1,5", "++1", "1e", "inf_", "infinite"])
def test_what_only_a_programming_language_takes_for_a_number_is_refused(tmp_path: Path, text: str) -> None:
    rows = records()
    rows[3]["t"] = f'"{text}"'
    done = Import(tmp_path, write(tmp_path, rows), **QUARANTINE)
    assert [(row["line"], row["reason"], row["value"]) for row in done.refused] == [(5, "not-a-number", text)]


@pytest.mark.parametrize("text", ["-nan", "NaN", "NA", "null", " none "])
def test_words_for_a_missing_number_are_one(tmp_path: Path, text: str) -> None:
    rows = records()
    rows[3]["t"] = text
    assert np.isnan(Import(tmp_path, write(tmp_path, rows)).snapshot.rows.values[3, 0])


def test_a_class_that_is_called_as_what_is_missing_is_told(tmp_path: Path) -> None:
    rows = [row | {"kind": "nan" if index % 4 == 0 else row["kind"]} for index, row in enumerate(records(80))]
    path = write(tmp_path, rows)
    assert Import(tmp_path, path).schema.warnings[0].startswith("class 'nan' of 20 rows is called as what is missing")
    rules = {"columns": {"kind": {"type": "category", "allowed": ["a", "b"]}}}
    done = Import(tmp_path, path, **rules, **QUARANTINE)
    assert (done.reasons, done.schema.classes) == ({"not-allowed": 20}, ("a", "b"))


def test_a_number_that_is_always_the_same_cannot_be_learnt(tmp_path: Path) -> None:
    rows = [{"x": float(index), "ppm": 3.0} for index in range(60)]
    message = refusal(tmp_path, write(tmp_path, rows), label="ppm", task="regression")
    assert message.startswith("rows.csv: the label 'ppm' has the same value 3 in every training row")


def test_a_name_that_only_a_late_row_has_is_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "_BLOCK_BYTES", 100)
    rows = records(80)
    rows = [row if index < 40 else row | {"late": 1.0 + index % 3} for index, row in enumerate(rows)]
    snapshot = Import(tmp_path, write(tmp_path, rows, "jsonl")).snapshot
    assert snapshot.schema.columns == ("t", "p", "late")
    assert np.isnan(snapshot.rows.values[:, 2]).sum() == 40


def test_a_label_of_several_values_per_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, X=np.zeros((40, 2)), kind=np.zeros((40, 3)))
    assert refusal(tmp_path, path) == "rows.npz: array 'kind' has 3 values per row, not one"
