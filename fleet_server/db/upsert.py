"""INSERT ... ON CONFLICT, which SQLite and PostgreSQL spell the same and SQLAlchemy keeps apart."""

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite


def insert(connection: Connection, table: Table) -> sqlite.Insert:
    """An insert into `table` that offers `on_conflict_do_update` and `on_conflict_do_nothing`."""
    if connection.dialect.name == "postgresql":
        # Takes a third as long to load as SQLAlchemy itself.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        return postgresql.insert(table)  # type: ignore[return-value]  # same methods, no common type
    return sqlite.insert(table)
