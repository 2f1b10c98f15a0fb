"""One INSERT for many rows, at the driver's speed.

SQLAlchemy prepares the parameters of every row anew, which takes longer than SQLite takes to store the row.
Here the statement is compiled once per call, and a row becomes a tuple in its order.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Insert
from sqlalchemy.types import TypeDecorator


def insert_many(connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run `statement`, which has no parameters but the columns, for each of `rows`, which have the same keys."""
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=list(rows[0]))
    names = compiled.positiontup
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
    connection.exec_driver_sql(str(compiled), parameters)
