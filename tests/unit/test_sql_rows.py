"""Rows of a query as JSON lines, read from a real database."""

import json
import sqlite3

import pytest

from edgeops import limits
from edgeops.errors import DatasetError, InputError, PlatformError
from edgeops.local.sql_rows import write_rows


@pytest.fixture
def plant(tmp_path):
    with sqlite3.connect(tmp_path / "plant.db") as database:
        database.execute("CREATE TABLE pumps (at TEXT, pressure REAL, count INTEGER, state TEXT, raw BLOB)")
        rows = [(f"2026-01-01T00:00:{second:02}Z", second / 2, second, "ok", b"x") for second in range(60)]
        database.executemany("INSERT INTO pumps VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("INSERT INTO pumps VALUES (NULL, NULL, 7, 'worn', NULL)")
    database.close()
    return f"sqlite:///{tmp_path}/plant.db"


def test_every_row_is_a_line_and_nothing_is_null(plant, tmp_path):
    assert write_rows(plant, "SELECT at, pressure, count, state FROM pumps", tmp_path / "rows.jsonl") == 61
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines[3] == {"at": "2026-01-01T00:00:03Z", "pressure": 1.5, "count": 3, "state": "ok"}
    assert lines[-1] == {"at": None, "pressure": None, "count": 7, "state": "worn"}


def test_a_colon_in_a_query_is_no_parameter_when_it_is_escaped(plant, tmp_path):
    query = r"SELECT count FROM pumps WHERE at = '2026-01-01T00\:00\:07Z'"
    assert write_rows(plant, query, tmp_path / "rows.jsonl") == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT flow FROM pumps", "no such column: flow"),
        ("SELECT count, state AS count FROM pumps", "names column 'count' twice"),
        ("SELECT raw FROM pumps", "row 1, column 'raw': a bytes is no number"),
        ("SELECT count FROM pumps WHERE count < 0", "gives no row"),
        ("CREATE TABLE other (x REAL)", "gives no rows; write one SELECT"),
        ("SELEKT", "the database refuses the query"),
    ],
)
def test_what_cannot_be_read_is_told(plant, tmp_path, query, words):
    with pytest.raises(InputError, match=words):
        write_rows(plant, query, tmp_path / "rows.jsonl")


def test_rows_beyond_what_may_be_sent_are_refused(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UPLOAD_BYTES", 100)
    with pytest.raises(DatasetError, match="row 3: the rows are larger than 100 bytes"):
        write_rows(plant, "SELECT at, count FROM pumps", tmp_path / "rows.jsonl")


@pytest.mark.parametrize("url", ["plant.db", "nosuch://host/plant", ""])
def test_what_is_no_address_is_refused(url, tmp_path):
    with pytest.raises(InputError, match="no address of a database"):
        write_rows(url, "SELECT 1", tmp_path / "rows.jsonl")


def test_a_password_is_never_told(tmp_path):
    with pytest.raises((InputError, PlatformError)) as told:
        write_rows("postgresql+psycopg://me:secret@127.0.0.1:1/plant", "SELECT 1", tmp_path / "rows.jsonl")
    assert "secret" not in str(told.value)


def test_a_database_file_that_is_not_there_is_named_and_not_made(tmp_path):
    with pytest.raises(InputError, match=r"there is no database file '.*plan\.db'"):
        write_rows(f"sqlite:///{tmp_path}/plan.db", "SELECT 1", tmp_path / "rows.jsonl")
    assert not (tmp_path / "plan.db").exists()
