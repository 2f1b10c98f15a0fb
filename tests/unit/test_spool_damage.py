"""A spool file that a card has damaged: whatever is left of it, the agent goes on with a new one."""

import sqlite3

import pytest

from device_agent.store.spool import Spool
from edgeops.errors import DiskError
from edgeops.protocol.topics import UpKind


@pytest.fixture
def path(tmp_path):
    """A sound file with one record, without journal."""
    path = tmp_path / "spool.db"
    spool = Spool.open(path)
    spool.append(UpKind.REPORTS, b"report")
    spool.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path


def change(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def goes_on(path, *, damaged):
    spool = Spool.open(path)
    try:
        spool.append(UpKind.REPORTS, b"another")
        return spool.counters.get("spool.corrupt", 0) == int(damaged)
    finally:
        spool.close()


def test_a_sound_file_is_opened_as_it_is(path):
    assert goes_on(path, damaged=False)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE once",
        "DELETE FROM meta",
        "UPDATE meta SET reserved = 'many'",
        "ALTER TABLE records RENAME at_ms TO at",
    ],
)
def test_a_file_that_lacks_what_a_spool_has_is_set_aside(path, statement):
    change(path, statement)
    assert goes_on(path, damaged=True)
    assert path.with_name("spool.db.corrupt").exists()


def test_a_schema_that_is_no_text_is_set_aside(path):
    data = path.read_bytes()
    at = data.index(b"CREATE TABLE checkpoints")
    path.write_bytes(data[:at] + b"\xb4" + data[at + 1 :])
    assert goes_on(path, damaged=True)


def test_a_folder_that_cannot_be_written_is_no_damage(tmp_path):
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(DiskError, match="check disk space and permissions"):
        Spool.open(tmp_path / "spool.db")
