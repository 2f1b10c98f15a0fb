"""Copies of the two database files while others write to them.

`VACUUM INTO` reads one snapshot: writers go on, and what they commit meanwhile is not in the copy
(https://www.sqlite.org/lang_vacuum.html). It does not know what the rows mean.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from edgeops.errors import PlatformError
from fleet_server.db.database import Connection, Database
from fleet_server.db.migrate import configuration, version_table

CHAINS = ("control", "telemetry")


def copy_online(source: Path, target: Path) -> None:
    """Write what `source` holds now to `target`, which is not there yet.

    Raises:
        PlatformError: it cannot be read, or the copy is not sound.
    """
    try:
        if not source.is_file():
            raise PlatformError(f"{source} is missing; this is no data folder of a server")
        with closing(sqlite3.connect(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        with closing(sqlite3.connect(target)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise PlatformError(f"cannot copy {source}: {error}") from error
    if said != "ok":
        raise PlatformError(f"the copy of {source} is not sound: {said}; the database itself is damaged")


def schemas_of(database: Database) -> dict[str, str]:
    """How far the migrations have come in a database, by chain."""
    with database.read() as control, database.read_telemetry() as telemetry:
        return {chain: _revision(one, chain) for chain, one in zip(CHAINS, (control, telemetry), strict=True)}


def known_schemas() -> dict[str, frozenset[str]]:
    """Every revision that this version knows, by chain."""
    return {chain: frozenset(_revisions(configuration(chain))) for chain in CHAINS}


def _revision(connection: Connection, chain: str) -> str:
    query = f"SELECT version_num FROM {version_table(chain)}"  # noqa: S608 - our own name
    return str(connection.exec_driver_sql(query).scalar_one())


def _revisions(config: Config) -> list[str]:
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
