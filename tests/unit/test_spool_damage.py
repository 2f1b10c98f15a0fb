"""A spool file that a card has damaged: whatever is left of it, the agent goes on with a new one."""

import sqlite3

import pytest

from device_agent.store.spool import Spool
from edgeops.errors import DamageError, DiskError
from edgeops.protocol.messages import SpoolAck
from edgeops.protocol.topics import UpKind
from tests.unit.bad_sectors import BadDatabases, overwrite


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


#: What an agent asks of a spool while it runs.
ASKED = {
    "append": lambda spool: spool.append(UpKind.TELEMETRY, b"window"),
    "append-once": lambda spool: spool.append(UpKind.REPORTS, b"report", once="a"),
    "knows": lambda spool: spool.knows("a"),
    "checkpoint": lambda spool: spool.checkpoint("gas"),
    "spent": lambda spool: spool.spent_bytes("gas", "2026-01-01"),
    "take": lambda spool: spool.take(8),
    "acknowledge": lambda spool: spool.acknowledge(SpoolAck(spool=spool.id, through=0)),
    "is-acknowledged": lambda spool: spool.is_acknowledged(0),
    "counters": lambda spool: spool.counters,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_damage_that_comes_while_the_agent_runs_is_an_error_that_says_so_and_ends_with_a_new_spool(path, ask):
    spool = Spool.open(path)
    overwrite(path)
    with pytest.raises(DamageError, match="begins again with a new one"):
        ask(spool)
    assert spool.is_damaged
    spool.close()
    assert goes_on(path, damaged=True)


def test_a_record_that_no_check_of_the_file_finds_is_damage_once_it_is_read(path):
    change(path, "UPDATE records SET kind = 'gossip'")
    spool = Spool.open(path)
    with pytest.raises(DamageError, match="gossip"):
        spool.take(8)
    spool.close()
    assert goes_on(path, damaged=True)


def test_a_sector_that_fails_while_the_agent_runs_is_damage_and_a_card_that_fails_is_none(path, monkeypatch):
    databases = BadDatabases(monkeypatch)
    spool = Spool.open(path)
    databases.all = True
    with pytest.raises(DiskError, match="check disk space"):
        spool.take(8)
    assert not spool.is_damaged
    databases.all = False
    assert len(spool.take(8)) == 1
    databases.add(path)
    with pytest.raises(DamageError):
        spool.counters  # noqa: B018 - it reads
    spool.close()
    assert goes_on(path, damaged=True)


def test_a_spool_that_is_closed_is_not_damaged(path):
    spool = Spool.open(path)
    spool.close()
    with pytest.raises(DiskError, match="closed"):
        spool.take(8)
    spool.close()
    assert goes_on(path, damaged=False)


def test_an_ack_beyond_all_numbers_says_nothing(path):
    spool = Spool.open(path)
    assert spool.acknowledge(SpoolAck(spool=spool.id, through=-1, ranges=((2**64 - 2, 2**64 - 1),))) == []
    spool.close()
    assert goes_on(path, damaged=False)
