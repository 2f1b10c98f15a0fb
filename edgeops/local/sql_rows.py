"""Reads the rows of a query from a database of a person's own, so that they can be sent like any file.

It runs where the person is: the fleet server never learns the address or the password, and opens no connection for
anybody. Rows are read as they come.
"""

import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from edgeops import limits
from edgeops.errors import DatasetError, InputError, PlatformError

_AT_ONCE = 1_000
#: Told the rows that were read so far.
Progress = Callable[[int], None]


def write_rows(url: str, query: str, file: Path, *, on_progress: Progress = lambda _rows: None) -> int:
    """Write every row of a query as a JSON line; how many there were.

    Args:
        url: of SQLAlchemy, such as `postgresql+psycopg://me@host/plant` or `sqlite:///plant.db`.
        query: one SELECT.
        file: is overwritten.
        on_progress: is told every 1,000 rows.

    Raises:
        InputError: the address is none, the database cannot be asked, or it refuses the query.
        DatasetError: there is no row, two columns have one name, a value is no number, text or moment, or the rows are
            larger than what may be sent.
        PlatformError: SQLAlchemy or the driver is not installed.
    """
    try:
        import sqlalchemy  # noqa: PLC0415 - only who reads from a database needs it
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"reading from a database needs SQLAlchemy ({error}); pip install 'edgeops[server]'"
        ) from error
    try:
        engine = sqlalchemy.create_engine(url)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise InputError(f"this is no address of a database: {_first_line(error)}") from error
    except ModuleNotFoundError as error:
        raise PlatformError(f"the driver of this database is not installed ({error}); install it with pip") from error
    database = engine.url.database
    if engine.name == "sqlite" and database and not database.startswith((":", "file:")) and not Path(database).exists():
        # SQLite would make one that is empty.
        raise InputError(f"there is no database file {database!r}; after sqlite:/// comes its path")
    try:
        with engine.connect() as connection:
            answer = connection.execution_options(yield_per=_AT_ONCE).execute(sqlalchemy.text(query))
            if not answer.returns_rows:
                raise DatasetError("the query gives no rows; write one SELECT")
            return _write(list(answer.keys()), answer, file, on_progress)
    except SQLAlchemyError as error:
        raise InputError(f"the database refuses the query: {_first_line(error)}") from error
    finally:
        engine.dispose()


def _write(columns: list[str], rows: Any, file: Path, on_progress: Progress) -> int:
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise DatasetError(f"the query names column {twice[0]!r} twice; give each a name with AS")
    count = size = 0
    with file.open("wb") as out:
        for count, row in enumerate(rows, start=1):
            values = (_plain(value, name, count) for name, value in zip(columns, row, strict=True))
            line = msgspec.json.encode(dict(zip(columns, values, strict=True))) + b"\n"
            size += len(line)
            if size > limits.MAX_UPLOAD_BYTES:
                raise DatasetError(
                    f"row {count}: the rows are larger than {limits.MAX_UPLOAD_BYTES} bytes, which is the most that "
                    "may be sent; ask for fewer rows or columns"
                )
            out.write(line)
            if count % _AT_ONCE == 0:
                on_progress(count)
    if not count:
        raise DatasetError("the query gives no row; there is nothing to learn from")
    return count


def _plain(value: object, column: str, row: int) -> object:
    """What a JSON line can hold; a number that is none becomes null, as an empty cell is."""
    match value:
        case bool():
            return int(value)
        case float():
            return value if math.isfinite(value) else None
        case None | int() | str():
            return value
        case Decimal():
            return float(value)
        case datetime() | date():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case _:
            raise DatasetError(
                f"row {row}, column {column!r}: a {type(value).__name__} is no number, text or moment; leave the "
                "column out of the query, or convert it there"
            )


def _first_line(error: Exception) -> str:
    """What went wrong, without the query and its parameters; a password in an address is never told."""
    original = getattr(error, "orig", None)
    with suppress(IndexError):
        return str(original or error).splitlines()[0][:300]
    return type(error).__name__
