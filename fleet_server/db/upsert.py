"""INSERT ... ON CONFLICT, which SQLite and PostgreSQL spell the same and SQLAlchemy keeps apart."""

from collections.abc import Iterable
from functools import lru_cache

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import sqlite


def insert(connection: Connection, table: Table) -> sqlite.Insert:
    """An insert into `table` that offers `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return _insert(connection.dialect.name, table)


def replacing(connection: Connection, table: Table, names: Iterable[str], *, key: tuple[str, ...]) -> Insert:
    """An insert of columns that overwrites them in a row of the same `key`; the same object for the same ones."""
    return _replacing(connection.dialect.name, table, tuple(names), key)


def _insert(dialect: str, table: Table) -> sqlite.Insert:
    if dialect == "postgresql":
        # Takes a third as long to load as SQLAlchemy itself.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        return postgresql.insert(table)  # type: ignore[return-value]  # same methods, no common type
    return sqlite.insert(table)


@lru_cache(maxsize=64)
def _replacing(dialect: str, table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> Insert:
    statement = _insert(dialect, table)
    changed = {name: statement.excluded[name] for name in names if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
