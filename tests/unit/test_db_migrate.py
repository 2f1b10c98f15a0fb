"""The migrated schema is the schema of the tables."""

import subprocess
import sys
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fleet_server.db import tables
from fleet_server.db.database import Database
from fleet_server.db.migrate import upgrade, version_table


@pytest.mark.parametrize("chain", ["control", "telemetry"])
def test_the_migrated_schema_equals_the_tables(tmp_path, chain):
    database = Database.in_folder(tmp_path)
    upgrade(database)
    engine = getattr(database, chain)
    with engine.connect() as connection:
        options = {"version_table": version_table(chain), "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, getattr(tables, chain)) == []
    database.close()


def test_a_table_that_is_forgotten_in_the_migrations_is_noticed(tmp_path):
    database = Database.in_folder(tmp_path)
    upgrade(database)
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE outbox")
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": version_table("control")})
        assert [change[0] for change in compare_metadata(context, tables.control)] == ["add_table"]
    database.close()


def test_upgrading_twice_is_harmless_and_keeps_the_rows(tmp_path):
    database = Database.in_folder(tmp_path)
    upgrade(database)
    with database.write() as connection:
        connection.execute(tables.settings.insert().values(key="a", value="b"))
    upgrade(database)
    with database.read() as connection:
        assert connection.execute(tables.settings.select()).all() == [("a", "b")]
    database.close()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    database = Database.in_folder(tmp_path)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE waves (x INTEGER)")  # in the way of the last table of the chain
    with pytest.raises(Exception, match="waves already exists"):
        upgrade(database)
    with database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        assert set(names) <= {"waves", "sqlite_sequence"}
    database.close()


def test_two_processes_that_upgrade_at_once_both_succeed(tmp_path):
    program = (
        "import sys, pathlib; from fleet_server.db.database import Database; from fleet_server.db.migrate import upgrade;"
        "upgrade(Database.in_folder(pathlib.Path(sys.argv[1])))"
    )
    children = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    assert [child.wait(timeout=60) for child in children] == [0, 0]


def test_upgrading_an_up_to_date_database_is_quick(tmp_path):
    database = Database.in_folder(tmp_path)
    upgrade(database)
    start = time.process_time()
    upgrade(database)
    assert time.process_time() - start < 0.5
    database.close()
