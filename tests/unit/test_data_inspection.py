"""What an inspection finds in files of every kind, and rules that follow from it and import the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeops.artifact.manifest import Task
from edgeops.data.distinct import MOST, Distinct
from edgeops.data.inspection import ColumnFound, Inspection, Odd, Suspicion
from edgeops.data.rules import Kind, read_rules
from edgeops.data.seen import fingerprints
from edgeops.errors import DatasetError
from fleet_server.datasets.importing import import_file
from fleet_server.datasets.inspecting import inspect_file

ROWS = 60


def rows(count: int = ROWS) -> dict[str, list[Any]]:
    return {
        "id": list(range(count)),
        "at": [1_772_366_400_000 + 250 * row for row in range(count)],
        "when": [f"2026-03-01T12:{row // 60 % 60:02}:{row % 60:02}.5Z" for row in range(count)],
        "x": [row % 7 + 0.25 for row in range(count)],
        "fixed": [7] * count,
        "none": [None] * count,
        "kind": ["ab"[row % 2] for row in range(count)],
        "class": [row % 3 for row in range(count)],
    }


def write(folder: Path, columns: dict[str, list[Any]], suffix: str) -> Path:
    file = folder / f"rows{suffix}"
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    match suffix:
        case ".csv":
            lines = [",".join("" if value is None else str(value) for value in row.values()) for row in records]
            file.write_text("\n".join([",".join(columns), *lines]))
        case ".jsonl":
            file.write_text("\n".join(map(json.dumps, records)))
        case ".parquet":
            pq.write_table(pa.table(columns), file)
    return file


def inspect(file: Path) -> Inspection:
    return inspect_file(file, file_name=file.name)


def column(found: Inspection, name: str) -> ColumnFound:
    return next(one for one in found.columns if one.column == name)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_same_is_found_in_files_of_every_kind(tmp_path: Path, suffix: str) -> None:
    found = inspect(write(tmp_path, rows(), suffix))
    assert (found.rows, found.malformed) == (ROWS, 0)
    told = {one.column: (one.type, one.missing, one.distinct, one.suspicions) for one in found.columns}
    assert told == {
        "id": (Kind.NUMBER, 0, ROWS, (Suspicion.ID,)),
        "at": (Kind.NUMBER, 0, ROWS, (Suspicion.TIME,)),
        "when": (Kind.MOMENT, 0, ROWS, (Suspicion.TIME,)),
        "x": (Kind.NUMBER, 0, 7, ()),
        "fixed": (Kind.NUMBER, 0, 1, (Suspicion.CONSTANT,)),
        "none": (Kind.NUMBER, ROWS, 0, (Suspicion.EMPTY,)),
        "kind": (Kind.CATEGORY, 0, 2, (Suspicion.LABEL,)),
        "class": (Kind.NUMBER, 0, 3, (Suspicion.LABEL,)),
    }
    assert (column(found, "x").minimum, column(found, "x").maximum) == (0.25, 6.25)
    assert column(found, "when").maximum == "2026-03-01T12:00:59.500000Z"
    assert column(found, "at").unit == "ms"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_is_imported_by_the_rules_that_were_proposed(tmp_path: Path, suffix: str) -> None:
    columns = rows()
    del columns["when"]
    file = write(tmp_path, columns, suffix)
    rules = read_rules(inspect(file).rules)
    assert (rules.label, rules.time, rules.exclude) == ("class", "at", ("id", "fixed", "none"))
    schema = import_file(
        file, rules, file_name=file.name, destination=tmp_path / "snapshot", quarantine=tmp_path / "quarantine"
    )
    assert (schema.columns, schema.rows) == (("x",), ROWS)


def test_a_cell_that_is_not_of_the_type_is_shown_with_its_line(tmp_path: Path) -> None:
    columns = {"x": [0.5, 1.5, "n/a", 3.5, None, 5.5, 6.5], "text": list("aabbccd")}
    found = inspect(write(tmp_path, columns, ".csv"))
    x = column(found, "x")
    assert (x.type, x.missing, x.odd, x.example) == (Kind.NUMBER, 1, 1, Odd(line=4, value="n/a"))
    assert (x.minimum, x.maximum) == (0.5, 6.5)
    assert read_rules(found.rules).bad_rows == "quarantine"


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e400", "1e39"])
def test_a_number_that_an_import_refuses_is_shown_with_its_line(tmp_path: Path, value: str) -> None:
    file = write(
        tmp_path, {"x": [*(0.5 * row for row in range(40)), value], "class": [row % 2 for row in range(41)]}, ".csv"
    )
    found = inspect(file)
    x = column(found, "x")
    assert (x.type, x.odd, x.example, x.maximum) == (Kind.NUMBER, 1, Odd(line=42, value=value), 19.5)
    schema = import_file(
        file,
        read_rules(found.rules),
        file_name=file.name,
        destination=tmp_path / "snapshot",
        quarantine=tmp_path / "quarantine",
    )
    assert schema.refused == {"not-finite": 1}


def test_a_column_that_is_half_numbers_holds_names(tmp_path: Path) -> None:
    found = column(inspect(write(tmp_path, {"x": ["1", "1.0", "a", "b", "b"], "y": [1] * 5}, ".csv")), "x")
    assert (found.type, found.distinct, found.minimum) == (Kind.CATEGORY, 3, None)


def test_a_file_of_several_batches_is_as_one_of_a_few_rows(tmp_path: Path) -> None:
    found = inspect(write(tmp_path, rows(40_000), ".csv"))
    assert column(found, "id").distinct == MOST
    assert column(found, "id").suspicions == (Suspicion.ID,)
    assert column(found, "at").ascending
    assert (column(found, "class").distinct, column(found, "fixed").distinct) == (3, 1)


def test_what_repeats_after_many_rows_is_no_id(tmp_path: Path) -> None:
    values = np.random.default_rng(5).permutation(np.arange(40_000) // 2).tolist()
    found = inspect(write(tmp_path, {"x": values, "y": [0.5] * 40_000}, ".csv"))
    assert column(found, "x").suspicions == ()


def test_arrays_that_are_no_rows_beside_the_others_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.npz"
    images = np.random.default_rng(0).normal(size=(ROWS, 2, 2)).astype(np.float32)
    odd = np.array([{}], dtype=object)
    np.savez(file, X=images, y=np.arange(ROWS) % 3, columns=np.array(["a", "b"]), notes=odd)
    found = inspect(file)
    assert [one.column for one in found.columns] == ["X0", "X1", "X2", "X3", "y"]
    assert found.apart == ("columns", "notes")
    assert read_rules(found.rules).label == "y"


def test_arrays_without_the_usual_name_are_named_as_features(tmp_path: Path) -> None:
    file = tmp_path / "rows.npz"
    np.savez(file, values=np.arange(2.0 * ROWS).reshape(ROWS, 2), label=np.arange(ROWS) % 3, who=np.array(["a"] * ROWS))
    rules = read_rules(inspect(file).rules)
    assert (rules.label, rules.features) == ("label", ("values",))


def test_without_a_likely_label_the_rules_are_an_anomaly_detectors(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=50).tolist()
    rules = read_rules(inspect(write(tmp_path, {"x": values}, ".csv")).rules)
    assert (rules.task, rules.label) == (Task.ANOMALY, "")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.npz"
    file.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DatasetError, match="not an npz archive"):
        inspect(file)


def test_values_are_counted_up_to_the_bound_whatever_their_order() -> None:
    random = np.random.default_rng(7)
    for different in (1, MOST - 1, MOST, 5 * MOST):
        values = random.permutation(np.arange(different, dtype=np.float64).repeat(3))
        distinct = Distinct()
        for part in np.array_split(values, 4):
            distinct.add(fingerprints(part))
        assert distinct.count == min(different, MOST)
        assert not distinct.all_differ
