"""What the replay source reads from files, and how it says that a file cannot be used."""

import json

import numpy as np
import pytest

from device_agent.sources import replay
from device_agent.sources.replay import ReplaySource
from edgeops.errors import DatasetError

COLUMNS = ("temperature", "humidity")


def csv_file(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    return path


def read_all(source, limit=2):
    values, ids = [], []
    while (rows := source.read(limit)) is not None:
        values += rows.values.tolist()
        ids += rows.ids
    return values, ids


def opened(path, columns=COLUMNS, **options):
    source = ReplaySource(path, **options)
    source.select(columns)
    return source


def test_a_csv_is_read_by_column_name_and_its_label_is_left_alone(tmp_path):
    path = csv_file(tmp_path, "humidity,label,temperature\n40,warm,21.5\n50,cold,3\n")
    assert read_all(opened(path)) == ([[21.5, 40.0], [3.0, 50.0]], ["0", "1"])


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path):
    path = csv_file(tmp_path, "\ufefftemperature,humidity\n1,2\n\n3,4\n")
    assert read_all(opened(path))[0] == [[1.0, 2.0], [3.0, 4.0]]


def test_an_id_column_names_the_inputs(tmp_path):
    path = csv_file(tmp_path, "id,temperature,humidity\nmeter-7,1,2\nmeter-8,3,4\n")
    assert read_all(opened(path))[1] == ["meter-7", "meter-8"]


def test_an_empty_cell_is_a_missing_value(tmp_path):
    path = csv_file(tmp_path, "temperature,humidity\n1,\n")
    values, _ = read_all(opened(path))
    assert np.isnan(values[0][1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("temperature,humidity\n", ["no rows"]),
        ("temperature,label\n1,a\n", ["lacks humidity", "2 columns by name"]),
        ("temperature,humidity\n1,2\n3,damp\n", ["line 3", "column humidity", "'damp' is not a number"]),
        ("temperature,humidity\n1,2\n3\n", ["line 3", "1 cells", "has 2"]),
        ("id,temperature,humidity\n" + "x" * 65 + ",1,2\n", ["row 0", "1 to 64 characters"]),
    ],
)
def test_a_csv_that_cannot_be_used_says_where_and_what(tmp_path, text, words):
    path = csv_file(tmp_path, text)
    with pytest.raises(DatasetError) as caught:
        opened(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_many_missing_columns_are_counted_not_listed(tmp_path):
    path = csv_file(tmp_path, "a\n1\n")
    with pytest.raises(DatasetError, match=r"lacks c0, c1, c2, c3, c4 and 3 more"):
        opened(path, columns=[f"c{i}" for i in range(8)])


def test_json_lines_are_read_by_name(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"id": 5, "temperature": 1, "humidity": None, "label": "x"}, {"id": 6, "temperature": 2, "humidity": 4}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values, ids = read_all(opened(path))
    assert ids == ["5", "6"]
    assert np.isnan(values[0][1])
    assert values[1] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: not JSON"),
        ("[1, 2]", "line 1: expected an object"),
        ('{"temperature": 1}', "line 1 lacks humidity"),
        ('{"temperature": 1, "humidity": [2]}', r"line 1, column humidity: \[2\] is not a number"),
        ('{"temperature": 1, "humidity": "damp"}', "'damp' is not a number"),
    ],
)
def test_a_json_line_that_cannot_be_used_says_where_and_what(tmp_path, line, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DatasetError, match=words):
        opened(path)


def test_an_npz_is_read_whole_or_by_its_column_names(tmp_path):
    table = np.arange(6, dtype=np.float64).reshape(3, 2)
    plain, named = tmp_path / "plain.npz", tmp_path / "named.npz"
    np.savez(plain, X=table, id=np.array(["a", "b", "c"]), y=np.array([0, 1, 1]))
    np.savez(named, X=table, columns=np.array(["humidity", "temperature"]))
    assert read_all(opened(plain)) == (table.tolist(), ["a", "b", "c"])
    assert read_all(opened(named)) == (table[:, ::-1].tolist(), ["0", "1", "2"])


def test_an_npz_of_images_is_read_as_rows(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, X=np.ones((4, 1, 2), np.uint8))
    assert read_all(opened(path))[0] == [[1.0, 1.0]] * 4


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"rows": np.ones((2, 2))}, "no array `X` but rows"),
        ({"X": np.ones((2, 3))}, "3 columns, the model takes 2"),
        ({"X": np.ones(3)}, "shape"),
        ({"X": np.array([["a", "b"]])}, "expected numbers"),
        ({"X": np.ones((0, 2))}, "no rows"),
        ({"X": np.ones((2, 2)), "id": np.array(["a"])}, "1 ids for 2 rows"),
        ({"X": np.ones((2, 2)), "columns": np.array(["temperature", "wind"])}, "lacks humidity"),
        ({"X": np.array([[None, 1]], object)}, "cannot read"),
    ],
)
def test_an_npz_that_cannot_be_used_says_why(tmp_path, arrays, words):
    path = tmp_path / "rows.npz"
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=words):
        opened(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.npz", b"PK\x03\x04 not really", "rows.npz"),
        ("rows.npz", b"", "rows.npz"),
        ("rows.csv", b"\xff\xfe\x00", "not a CSV file"),
        ("rows.xlsx", b"", "cannot replay '.xlsx'; use .csv, .jsonl, .npz"),
        ("rows", b"", "without suffix"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        opened(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.csv: No such file"):
        opened(tmp_path / "gone.csv")


def test_too_many_values_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "MAX_REPLAY_BYTES", 16)
    path = csv_file(tmp_path, "temperature,humidity\n" + "1,2\n" * 3)
    with pytest.raises(DatasetError, match="split it"):
        opened(path)


def test_a_position_counts_over_all_rounds_of_a_loop(tmp_path):
    path = csv_file(tmp_path, "temperature,humidity\n1,1\n2,2\n3,3\n")
    source = opened(path, loop=True)
    reads = [source.read(2) for _ in range(4)]
    assert [rows.ids for rows in reads] == [["0", "1"], ["2"], ["0", "1"], ["2"]]
    assert [rows.position for rows in reads] == [2, 3, 5, 6]
    source.seek(4)
    assert source.read(2).ids == ["1", "2"]


def test_a_single_round_ends_and_can_be_resumed_in_the_middle(tmp_path):
    path = csv_file(tmp_path, "temperature,humidity\n1,1\n2,2\n3,3\n")
    source = opened(path)
    source.seek(2)
    assert source.read(10).ids == ["2"]
    assert source.read(10) is None


def test_other_columns_can_be_selected_without_losing_the_place(tmp_path):
    path = csv_file(tmp_path, "temperature,humidity\n1,10\n2,20\n")
    source = opened(path)
    source.read(1)
    source.select(("humidity",))
    assert source.read(1).values.tolist() == [[20.0]]
