"""The migrated schema is the schema of the tables."""

import subprocess
import sys
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from fleet_server.db import tables
from fleet_server.db.migrate import upgrade, version_table
from tests.stores import ON_BOTH, database_in, url_for

pytestmark = ON_BOTH


@pytest.fixture
def empty(tmp_path):
    """A database without tables."""
    database = database_in(tmp_path, empty=True)
    yield database
    database.close()


def differences(connection, chain):
    """Between what is there and what the tables of a chain say; on PostgreSQL the other chain is there as well."""
    own = getattr(tables, chain).tables
    other = {name for one in (tables.control, tables.telemetry) for name in one.tables} - own.keys()

    def is_of_chain(thing, name, kind, *_):
        return (name if kind == "table" else thing.table.name) not in other

    options = {
        "version_table": version_table(chain),
        "compare_type": True,
        "include_object": is_of_chain,
        "include_name": lambda name, kind, _: kind != "table" or not name.startswith("alembic_version"),
    }
    context = MigrationContext.configure(connection, opts=options)
    return compare_metadata(context, getattr(tables, chain))


@pytest.mark.parametrize("chain", ["control", "telemetry"])
def test_the_migrated_schema_equals_the_tables(empty, chain):
    upgrade(empty)
    with getattr(empty, chain).connect() as connection:
        assert differences(connection, chain) == []


def test_a_table_that_is_forgotten_in_the_migrations_is_noticed(empty):
    upgrade(empty)
    with empty.write() as connection:
        connection.exec_driver_sql("DROP TABLE outbox")
    with empty.read() as connection:
        assert [change[0] for change in differences(connection, "control")] == ["add_table"]


def test_upgrading_twice_is_harmless_and_keeps_the_rows(empty):
    upgrade(empty)
    with empty.write() as connection:
        connection.execute(tables.settings.insert().values(key="a", value="b"))
    upgrade(empty)
    with empty.read() as connection:
        assert connection.execute(tables.settings.select()).all() == [("a", "b")]


def test_a_migration_that_fails_leaves_nothing_behind(empty):
    with empty.write() as connection:
        connection.exec_driver_sql("CREATE TABLE waves (x INTEGER)")  # in the way of the last table of the chain
    with pytest.raises(DBAPIError, match=r"waves.* already exists"):
        upgrade(empty)
    with empty.read() as connection:
        assert inspect(connection).get_table_names() == ["waves"]


def test_two_processes_that_upgrade_at_once_both_succeed(tmp_path):
    program = (
        "import sys, pathlib; from fleet_server.config import ServerConfig;"
        "from fleet_server.db.database import Database; from fleet_server.db.migrate import upgrade;"
        "upgrade(Database.of(ServerConfig(pathlib.Path(sys.argv[1]), database=sys.argv[2] or None)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), url_for(tmp_path, empty=True) or ""]
    children = [subprocess.Popen(command) for _ in range(2)]
    assert [child.wait(timeout=60) for child in children] == [0, 0]


def test_upgrading_an_up_to_date_database_is_quick(empty):
    upgrade(empty)
    start = time.process_time()
    upgrade(empty)
    assert time.process_time() - start < 0.5


def test_ids_sort_by_their_bytes(empty):
    upgrade(empty)
    keys = ["B", "a", "a-1", "a1", "ab", "b", "\xe9"]
    with empty.write() as connection:
        connection.execute(tables.settings.insert(), [{"key": key, "value": ""} for key in reversed(keys)])
        found = connection.execute(tables.settings.select().order_by(tables.settings.c.key)).scalars().all()
    assert found == keys
