"""The server signs where its audit trail stands, and never over one that lost what was signed of it."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from edgeops.errors import ConflictError
from edgeops.trust.repository import Repository
from edgeops.trust.trail import Anchor
from fleet_server import trail
from fleet_server.backup.restoring import Order, restore
from fleet_server.backup.taking import take
from fleet_server.cli import main
from fleet_server.config import ServerConfig
from fleet_server.db import audit, events
from fleet_server.db.database import Database
from fleet_server.freshness import Freshness
from fleet_server.setup import init

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=NOW)
    return config


@pytest.fixture
def database(config):
    database = Database.in_folder(config.db)
    yield database
    database.close()


def decide(database, *subjects):
    with database.write() as connection:
        for one in subjects:
            audit.append(connection, "ann", "thing.done", one, {}, NOW)


def look(config, database, now=NOW):
    Freshness(config, database).keep(now)


def signed(config):
    return Repository.open(config.repository, config.keys).anchored()


def stands(database):
    with database.read() as connection:
        return audit.anchor(connection)


def cut(database, entries):
    with database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM audit WHERE id > (SELECT max(id) - {entries} FROM audit)")


def told(database):
    with database.read() as connection:
        return events.after(connection, 0, [events.EventKind.AUDIT_CONTRADICTED])


@pytest.fixture
def signed_trail(config, database):
    """Five decisions and more, all signed; the anchor."""
    decide(database, "a", "b", "c", "d", "e")
    look(config, database)
    assert signed(config) == stands(database)
    return signed(config)


def test_a_trail_that_goes_on_is_signed_as_it_grows(config, database, signed_trail):
    decide(database, "f")
    look(config, database)
    assert signed(config) == stands(database)
    assert signed(config).entries == signed_trail.entries + 1
    assert told(database) == ()


@pytest.mark.parametrize("more", [(), ("x",), ("x", "y", "z")])
def test_a_cut_trail_is_not_signed_over_however_it_goes_on(config, database, signed_trail, more):
    cut(database, 2)
    look(config, database)
    decide(database, *more)
    look(config, database, LATER)
    assert signed(config) == signed_trail
    [event] = told(database)
    assert (event.data["signed_entries"], event.data["signed_head"]) == (signed_trail.entries, signed_trail.head)
    assert "the tail was cut off" in event.data["detail"]


def test_the_whole_trail_gone_is_a_tail_cut_off(config, database, signed_trail):
    cut(database, 99)
    look(config, database)
    assert signed(config) == signed_trail
    assert len(told(database)) == 1


def test_an_entry_that_was_changed_behind_the_signed_one_is_not_signed_over(config, database, signed_trail):
    decide(database, "f", "g")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE audit SET actor = 'bob' WHERE subject = 'f'")
    look(config, database)
    assert signed(config) == signed_trail
    assert "the chain breaks at entry" in told(database)[0].data["detail"]


def test_an_entry_taken_out_before_the_signed_one_is_not_signed_over(config, database, signed_trail):
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE subject = 'b'")
    decide(database, "f")
    look(config, database)
    assert signed(config) == signed_trail
    assert len(told(database)) == 1


def test_it_is_told_once_and_logged_once_by_each_process(config, database, signed_trail, caplog):
    cut(database, 1)
    first, second = Freshness(config, database), Freshness(config, database)
    with caplog.at_level(logging.ERROR):
        for freshness in (first, first, second, second, first):
            freshness.keep(NOW)
    assert len(told(database)) == 1
    assert [one.getMessage().split(":")[0] for one in caplog.records] == ["audit.contradicted"] * 2
    assert signed_trail.head in caplog.records[0].getMessage()


def test_who_accepts_a_trail_is_in_it_with_what_is_missing(config, database, signed_trail, capsys):
    cut(database, 2)
    look(config, database)
    assert main(["accept-trail", "--data", str(config.data), "--remark", "the dump of last night"]) == 0
    assert "the tail was cut off" in capsys.readouterr().out
    assert signed(config) == stands(database)
    with database.read() as connection:
        [entry] = audit.page(connection, limit=1)
        assert isinstance(audit.verify(connection, signed(config)), audit.Intact)
    assert (entry.action, entry.remark) == ("audit.accepted", "the dump of last night")
    assert entry.data["signed_head"] == signed_trail.head
    decide(database, "x")
    look(config, database)
    assert signed(config) == stands(database), "it goes on"


def test_the_next_cut_is_told_again(config, database, signed_trail):
    cut(database, 2)
    look(config, database)
    trail.accept(config, database, remark="why not", now=NOW)
    cut(database, 1)
    look(config, database)
    assert len(told(database)) == 2


def test_a_whole_trail_has_nothing_to_accept(config, database, signed_trail):
    before = stands(database)
    with pytest.raises(ConflictError, match="nothing to accept"):
        trail.accept(config, database, remark="why not", now=NOW)
    assert stands(database) == before


@pytest.mark.parametrize("remark", ["", "  ", "x" * 1001])
def test_a_trail_is_accepted_only_with_a_reason(config, remark, capsys):
    with pytest.raises(SystemExit):
        main(["accept-trail", "--data", str(config.data), "--remark", remark])
    assert "a remark has" in capsys.readouterr().err


def test_a_restored_server_signs_its_shorter_trail_and_goes_on(config, database, signed_trail, tmp_path):
    take(config, tmp_path / "backups", with_online_keys=True, now=NOW, say=lambda _line: None)
    decide(database, "lost", "lost too")
    look(config, database, LATER)
    order = Order(place=tmp_path / "backups", target=tmp_path / "new")
    restore(order, LATER, say=lambda _line: None)
    new = ServerConfig(tmp_path / "new")
    restored = Database.in_folder(new.db)
    try:
        assert signed(new) == stands(restored)
        with restored.read() as connection:
            [entry] = audit.page(connection, limit=1)
        assert entry.action == "server.restored"
        assert (entry.data["signed_entries"], entry.data["signed_head"]) == (signed_trail.entries, signed_trail.head)
        decide(restored, "x")
        look(new, restored, LATER)
        assert signed(new) == stands(restored)
        assert told(restored) == ()
    finally:
        restored.close()


def test_a_backup_whose_timestamp_is_ahead_of_its_tables_is_restored_and_goes_on(config, database, tmp_path):
    decide(database, "a", "b")
    # The tables are copied first, and signed is what was decided until the metadata was.
    ahead = Anchor(entries=stands(database).entries + 2, head="sha256:" + "1" * 64)
    Repository.open(config.repository, config.keys).anchor(ahead, NOW)
    take(config, tmp_path / "backups", with_online_keys=True, now=NOW, say=lambda _line: None)
    restore(Order(place=tmp_path / "backups", target=tmp_path / "new"), LATER, say=lambda _line: None)
    new = ServerConfig(tmp_path / "new")
    restored = Database.in_folder(new.db)
    try:
        look(new, restored, LATER)
        assert signed(new) == stands(restored)
        assert told(restored) == ()
    finally:
        restored.close()
