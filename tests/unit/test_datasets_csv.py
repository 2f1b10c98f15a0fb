"""CSV files: what is read, and errors that say where."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from edgeops import limits
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from fleet_server.datasets.snapshot import SnapshotFile
from tests.imported import import_file


def lines(rows: int = 40) -> list[str]:
    return ["t,p,kind", *(f"{index * 0.5},{index % 7},{'ab'[index % 2]}" for index in range(rows))]


def write(folder: Path, text: str | bytes, name: str = "pump.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def load(path: Path, **options: object) -> SnapshotFile:
    return import_file(path, file_name="pump.csv", **{"label": "kind", **options})  # type: ignore[arg-type]


def refusal(folder: Path, text: str | bytes, **options: object) -> str:
    with pytest.raises(DatasetError) as caught:
        load(write(folder, text), **options)
    return str(caught.value)


def changed(line: int, text: str) -> str:
    """A good file with one line (1 = header) replaced."""
    content = lines()
    content[line - 1] = text
    return "\n".join(content)


def test_numbers_labels_and_row_numbers_are_read_in_file_order(tmp_path: Path) -> None:
    snapshot = load(write(tmp_path, "\n".join(lines()) + "\n"))
    assert snapshot.schema.columns == ("t", "p")
    assert snapshot.schema.classes == ("a", "b")
    assert snapshot.rows.ids.tolist() == list(range(40))
    assert snapshot.rows.values[3].tolist() == [1.5, 3.0]
    assert snapshot.rows.classes[:4].tolist() == [0, 1, 0, 1]


def test_a_byte_order_mark_windows_line_ends_and_quotes_are_fine(tmp_path: Path) -> None:
    rows = [line.replace("a", '"a"') for line in lines()[1:]]
    snapshot = load(write(tmp_path, "\ufeff" + "\r\n".join(["t,p,kind", *rows])))
    assert snapshot.schema.rows == 40


def test_a_gzip_file_is_unpacked_on_the_way(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress("\n".join(lines()).encode()))
    assert load(path).schema.rows == 40


def test_a_cut_off_gzip_file_is_called_so(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(lines(4000)).encode())
    assert "pump.csv: the gzip file is damaged or cut off" in refusal(tmp_path, packed[: len(packed) // 2])


def test_empty_cells_are_missing_values(tmp_path: Path) -> None:
    snapshot = load(write(tmp_path, changed(3, ",nan,b")))
    assert np.isnan(snapshot.rows.values[1]).all()
    train = snapshot.only(Split.TRAIN)
    assert [one.missing for one in snapshot.schema.statistics] == np.isnan(train.values).sum(axis=0).tolist()


def test_classes_that_are_numbers_are_sorted_by_value(tmp_path: Path) -> None:
    rows = [f"{index},{(2, 10, 1)[index % 3]}" for index in range(60)]
    snapshot = load(write(tmp_path, "\n".join(["x,kind", *rows])))
    assert snapshot.schema.classes == ("1", "2", "10")


def test_a_filter_keeps_rows_and_its_column_is_not_learnt_from(tmp_path: Path) -> None:
    snapshot = load(write(tmp_path, "\n".join(lines(140))), where=("p=1,2.0",))
    assert snapshot.schema.columns == ("t",)
    assert set((snapshot.rows.ids % 7).tolist()) == {1, 2}


def test_a_filter_column_is_learnt_from_when_it_is_named(tmp_path: Path) -> None:
    snapshot = load(write(tmp_path, "\n".join(lines(140))), where=("p=1,2",), features=("p", "t"))
    assert snapshot.schema.columns == ("p", "t")


def test_excluded_columns_may_hold_text(tmp_path: Path) -> None:
    rows = [f"{index},pump {index},{'ab'[index % 2]}" for index in range(40)]
    snapshot = load(write(tmp_path, "\n".join(["x,name,kind", *rows])), exclude=("name",))
    assert snapshot.schema.columns == ("x",)


def test_a_missing_label_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    message = refusal(tmp_path, "\n".join(lines()), label="class")
    assert message == "pump.csv: no label column 'class'; there are: t, p, kind"


def test_a_missing_feature_exclusion_or_filter_column_is_named(tmp_path: Path) -> None:
    text = "\n".join(lines())
    for options in ({"features": ("t", "q")}, {"exclude": ("q",)}, {"where": ("q=1",)}):
        assert "pump.csv: no column 'q'; there are: t, p, kind" in refusal(tmp_path, text, **options)


def test_text_in_a_numeric_column_is_named_with_line_column_and_value(tmp_path: Path) -> None:
    message = refusal(tmp_path, changed(5, "1.5,broken,b"))
    assert message.startswith("pump.csv, line 5, column 'p': 'broken' is not a number")


def test_line_numbers_count_blank_lines_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    content = lines()
    content[2:2] = ["", '1,2,"a\nb"']
    content.append("1,oops,a")
    assert "line 45, column 'p': 'oops'" in refusal(tmp_path, "\n".join(content))


def test_a_number_beyond_a_32_bit_float_is_refused(tmp_path: Path) -> None:
    for text in ("inf", "1e39"):
        assert "line 4, column 't'" in refusal(tmp_path, changed(4, f"{text},1,a"))


def test_an_empty_label_is_named_with_its_line(tmp_path: Path) -> None:
    assert "pump.csv, line 7: the label column 'kind' is empty" in refusal(tmp_path, changed(7, "1,2, "))


def test_a_ragged_row_is_named_with_its_line(tmp_path: Path) -> None:
    assert "pump.csv, line 6: 2 values where the header names 3" in refusal(tmp_path, changed(6, "1,2"))


def test_an_open_quote_is_an_error_not_a_huge_cell(tmp_path: Path) -> None:
    assert "pump.csv, line" in refusal(tmp_path, changed(6, '1,2,"a'))


def test_a_duplicate_or_nameless_column_is_named(tmp_path: Path) -> None:
    assert "line 1: the column 't' appears twice" in refusal(tmp_path, changed(1, "t,t,kind"))
    assert "line 1: column 2 has no name" in refusal(tmp_path, changed(1, "t,,kind"))


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_called_empty(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith("pump.csv: the file is empty")


def test_a_header_alone_is_called_so(tmp_path: Path) -> None:
    assert refusal(tmp_path, "t,p,kind\n") == "pump.csv: there are no rows below the header"


def test_another_separator_is_recognised(tmp_path: Path) -> None:
    assert "not separated by commas" in refusal(tmp_path, "\n".join(lines()).replace(",", ";"))


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"t,kind\n1,\xff\n").startswith("pump.csv, line 2: not UTF-8")


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "\n".join(lines()).replace(",b", ",a"))
    assert "the label 'kind' has one class only, 'a'" in message


def test_a_class_with_too_few_rows_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, changed(2, "1,2,rare"))
    assert f"class 'rare' of label 'kind' has 1 row, at least {limits.MIN_ROWS_PER_CLASS} are needed" in message


def test_a_measurement_as_label_is_suspected(tmp_path: Path) -> None:
    rows = [f"{index},{index / 10}" for index in range(limits.MAX_CLASSES + 1)]
    assert "is it a measurement rather than a class?" in refusal(tmp_path, "\n".join(["x,kind", *rows]))


def test_a_filter_that_no_row_passes_is_shown(tmp_path: Path) -> None:
    assert "none of its 40 rows passes the filter p=99" in refusal(tmp_path, "\n".join(lines()), where=("p=99",))


@pytest.mark.parametrize("text", ["p", "p=", "=1", "p=1,,2"])
def test_a_filter_that_is_not_understood_shows_how_to_write_one(tmp_path: Path, text: str) -> None:
    assert "write column=value" in refusal(tmp_path, "\n".join(lines()), where=(text,))


def test_a_column_without_any_value_is_named(tmp_path: Path) -> None:
    rows = [f"{index},,{'ab'[index % 2]}" for index in range(40)]
    assert "column 'p' has no value in any training row" in refusal(tmp_path, "\n".join(["t,p,kind", *rows]))


def test_more_values_than_allowed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DATASET_VALUES", 50)
    assert "more than 50 values" in refusal(tmp_path, "\n".join(lines()))
