"""Brings the database to the schema this version expects.

Two chains of migrations, `control` and `telemetry`, each with a version table of its own, because
on PostgreSQL both live in one database. Decides nothing about data: a migration does what it says.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData

from fleet_server.db import tables
from fleet_server.db.database import Database

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Run every migration that is missing; harmless to repeat, safe from several processes at once."""
    _upgrade("control", tables.control, database.write)
    _upgrade("telemetry", tables.telemetry, database.write_telemetry)


def version_table(chain: str) -> str:
    """Where a chain remembers how far it came."""
    return f"alembic_version_{chain}"


def configuration(chain: str) -> Config:
    """Where the migrations of a chain lie, as alembic wants it."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", str(_FOLDER / chain).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(chain: str, metadata: MetaData, write: Callable[[], AbstractContextManager[Connection]]) -> None:
    config = configuration(chain)
    # The write lock is held from the first look at the version to the last statement.
    with write() as connection:
        config.attributes.update(connection=connection, metadata=metadata, version_table=version_table(chain))
        command.upgrade(config, "head")
