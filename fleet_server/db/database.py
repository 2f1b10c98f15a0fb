"""Opens the database and hands out transactions.

On SQLite `control` and `telemetry` are two files in one folder, in WAL mode; with a PostgreSQL URL
both live in one database. A write is BEGIN IMMEDIATE from its first statement: a transaction that
reads first and writes later fails with SQLITE_BUSY_SNAPSHOT whatever the timeout
(https://www.sqlite.org/isolation.html).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from fleet_server.db.together import CURRENT, Together

#: `Connection` is what stores take; code outside this room names the type by importing it from here.
__all__ = ["Connection", "Database", "is_outage"]

_BUSY_TIMEOUT_MS = 30_000


class Database:
    """Two engines, and transactions that are short."""

    def __init__(self, control: Engine, telemetry: Engine) -> None:
        self.control = control
        self.telemetry = telemetry

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """SQLite: `control.db` and `telemetry.db` inside `folder`, which is made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(_sqlite(folder / "control.db"), _sqlite(folder / "telemetry.db"))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of `control`; inside `together`, with what was written there so far."""
        joined = self._joined()
        if joined is not None and joined.connection is not None:
            yield joined.connection
            return
        with self.control.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction on `control` that holds the write lock from the start; commits at the end.

        Inside `together` it is a part of that one.
        """
        joined = self._joined()
        if joined is None:
            with self._transaction() as connection:
                yield connection
        else:
            connection = joined.write()
            with connection.begin_nested():
                yield connection

    @contextmanager
    def together(self, begun: Callable[[Connection], None] | None = None) -> Iterator[Together]:
        """Every `write` of this thread inside is part of one transaction; `begun` is its first act."""
        outer = self._joined()
        if outer is not None:
            assert begun is None, "a transaction begins once"
            yield outer
            return
        with ExitStack() as stack:
            one = Together(lambda: stack.enter_context(self._transaction()), begun)
            before = CURRENT.set((self, one))
            try:
                yield one
            finally:
                CURRENT.reset(before)
        for act in one.afterwards:
            act()

    def when_committed(self, act: Callable[[], None]) -> None:
        """Do this as soon as what was written counts: now, or after the transaction of `together`."""
        joined = self._joined()
        if joined is None:
            act()
        else:
            joined.afterwards.append(act)

    @contextmanager
    def read_telemetry(self) -> Iterator[Connection]:
        """A consistent view of `telemetry`."""
        with self.telemetry.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write_telemetry(self) -> Iterator[Connection]:
        """A transaction on `telemetry` that holds the write lock from the start; commits at the end."""
        with self.telemetry.connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self.control.connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    def _joined(self) -> Together | None:
        current = CURRENT.get()
        return current[1] if current is not None and current[0] is self else None

    def close(self) -> None:
        """Give back all connections."""
        self.control.dispose()
        self.telemetry.dispose()


def is_outage(error: Exception) -> bool:
    """Whether a transaction failed because of the database's state (locked, full, gone), not its rows."""
    return isinstance(error, OperationalError | OSError)


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # We say BEGIN ourselves; the driver's own transaction control knows no IMMEDIATE.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
