"""One INSERT for many rows, one SELECT for many keys at the driver's speed, and many ids in portions.

SQLAlchemy prepares the parameters of every row anew, which takes longer than SQLite takes to store the row.
Here a statement is compiled at its first use, and a row becomes a tuple in its order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Row, Table, TextualSelect, text
from sqlalchemy.types import TypeDecorator

#: Keys of one SELECT: few sizes, so that few statements are compiled.
_SIZES = (1, 16, 64, 256)
_LARGEST = _SIZES[-1]

#: Ids in one IN (...).
_IN_IDS = 1_000

Rows = Sequence[Row[Any]]


def portions(ids: Collection[str]) -> Iterator[list[str]]:
    """The ids, each once and in order, so many at a time as one IN (...) takes."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _IN_IDS):
        yield ordered[start : start + _IN_IDS]


def insert_many(connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run `statement`, which has no parameters but the columns, for each of `rows`, which have the same keys.

    One that is the same object as before is not compiled again.
    """
    dialect = connection.dialect
    sql, names = _compiled(statement, dialect, tuple(rows[0]))
    if names is None:  # a driver that wants names, such as PostgreSQL's
        connection.execute(statement, rows)
        return
    in_order = itemgetter(*names)
    converted = [
        (place, kind.process_bind_param)
        for place, kind in enumerate(statement.table.c[name].type for name in names)
        if isinstance(kind, TypeDecorator)
    ]
    parameters = []
    for row in rows:
        values = list(in_order(row))
        for place, convert in converted:
            values[place] = convert(values[place], dialect)
        parameters.append(tuple(values))
    connection.exec_driver_sql(sql, parameters)


def select_many(connection: Connection, table: Table, key: tuple[str, ...], wanted: Sequence[tuple[Any, ...]]) -> Rows:
    """The rows whose columns `key`, which an index must begin with, have one of the `wanted` values.

    SQLite reads a whole table for `(a, b) IN (VALUES ...)`; a join goes through the index, one look a key.
    """
    kinds = [table.c[name].type for name in key]
    dialect = connection.dialect
    found: list[Row[Any]] = []
    for start in range(0, len(wanted), _LARGEST):
        some = wanted[start : start + _LARGEST]
        size = next(size for size in _SIZES if size >= len(some))
        # The last one again and again up to a size for which the statement is known: DISTINCT leaves one of them.
        values = {
            f"{name}_{number}": kind.process_bind_param(value, dialect) if isinstance(kind, TypeDecorator) else value
            for number, each in enumerate([*some, *[some[-1]] * (size - len(some))])
            for name, kind, value in zip(key, kinds, each, strict=True)
        }
        found += connection.execute(_statement(table, key, size), values).all()
    return found


@lru_cache(maxsize=64)
def _compiled(statement: Insert, dialect: Dialect, keys: tuple[str, ...]) -> tuple[str, Sequence[str] | None]:
    """The statement as text, and its parameters in order; None where the driver takes them by name."""
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    return str(compiled), compiled.positiontup


@lru_cache(maxsize=64)
def _statement(table: Table, key: tuple[str, ...], size: int) -> TextualSelect:
    rows = ", ".join("(" + ", ".join(f":{name}_{number}" for name in key) + ")" for number in range(size))
    columns = ", ".join(f"{table.name}.{column.name}" for column in table.c)
    match = " AND ".join(f"{table.name}.{name} = wanted.{name}" for name in key)
    # CROSS JOIN keeps the order: first the keys, then the table (https://www.sqlite.org/optoverview.html#crossjoin).
    return text(
        f"WITH given({', '.join(key)}) AS (VALUES {rows}), wanted AS (SELECT DISTINCT * FROM given) "  # noqa: S608 - names of ours
        f"SELECT {columns} FROM wanted CROSS JOIN {table.name} WHERE {match}"
    ).columns(*table.c)
