"""Opens the database and hands out transactions.

On SQLite `control` and `telemetry` are two files in one folder; on PostgreSQL they are tables of one database
(`fleet_server.db.postgres`). Either way a write holds its chain's write lock from its first statement to its end: what
a store loads and saves in one transaction, nobody changes in between, and ids grow in the order of commits. A reader
sees one moment and waits for nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from edgeops.errors import LeaseError
from fleet_server.config import ServerConfig
from fleet_server.db.news import News, Polling
from fleet_server.db.together import CURRENT, Together

#: `Connection` is what stores take, `DataError` that a value cannot be kept (on PostgreSQL a text with NUL, a number
#: beyond its column); code outside this room names them by importing them from here.
__all__ = ["Connection", "DataError", "Database", "is_outage"]

_BUSY_TIMEOUT_MS = 30_000
#: Pages that a connection keeps at most. SQLite's own 2 MiB hold a small fleet; of 10,000 devices each statement would
#: read anew what the one before had.
_CACHE_KIB = 16 * 1024

#: Raises when a database is not for us; it is given what reads one of its settings.
Guard = Callable[[Callable[[str], str | None]], None]


class Database:
    """Two engines, and transactions that are short."""

    def __init__(
        self,
        control: Engine,
        telemetry: Engine,
        *,
        is_shared: bool = False,
        reading: Mapping[str, Any] | None = None,
        news: Callable[[], News] = Polling,
    ) -> None:
        """`reading` is what an engine needs to know of a transaction that writes nothing."""
        self.control = control
        self.telemetry = telemetry
        #: Whether processes of other machines may be at it, too.
        self.is_shared = is_shared
        self._reading = dict(reading or {})
        self._make_news = news
        self._news: News | None = None
        self._fence: Callable[[Connection], None] | None = None

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Where this server keeps its tables: at its URL, else in its data folder.

        A transaction raises ConfigError when what is at the URL belongs to another data folder.

        Raises:
            PlatformError: there is a URL, and no driver for it.
        """
        if config.database is None:
            return cls.in_folder(config.db)
        from fleet_server.db.belonging import guard  # noqa: PLC0415 - stores import this module

        return cls.at(config.database, guard=guard(config))

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """SQLite: `control.db` and `telemetry.db` inside `folder`, which is made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(_sqlite(folder / "control.db"), _sqlite(folder / "telemetry.db"))

    @classmethod
    def at(cls, url: str, *, guard: Guard | None = None) -> Self:
        """PostgreSQL, as libpq reads the URL; nothing is asked of it yet. `guard` looks at each new connection.

        Raises:
            PlatformError: its driver is not installed.
        """
        # Loaded where it is used: the driver is an extra.
        from fleet_server.db import postgres  # noqa: PLC0415

        return cls(
            postgres.engine(url, guard),
            postgres.engine(url, guard),
            is_shared=True,
            reading=postgres.READING,
            news=partial(postgres.Listening, url),
        )

    @property
    def news(self) -> News:
        """Says when somebody wrote to `control`."""
        if self._news is None:
            self._news = self._make_news()
        return self._news

    def fence(self, check: Callable[[Connection], None]) -> None:
        """From now on begin every write with `check`, under the write lock; what it raises ends the write."""
        self._fence = check

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of `control`; inside `together`, with what was written there so far."""
        joined = self._joined()
        if joined is not None and joined.connection is not None:
            yield joined.connection
            return
        with self.control.connect().execution_options(**self._reading) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction on `control` that holds the write lock from the start; commits at the end.

        Inside `together` it is a part of that one.
        """
        joined = self._joined()
        if joined is None:
            with self._writing(self.control, "control") as connection:
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
            one = Together(lambda: stack.enter_context(self._writing(self.control, "control")), begun)
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
        with self.telemetry.connect().execution_options(**self._reading) as connection, connection.begin():
            yield connection

    @contextmanager
    def write_telemetry(self) -> Iterator[Connection]:
        """A transaction on `telemetry` that holds the write lock from the start; commits at the end."""
        with self._writing(self.telemetry, "telemetry") as connection:
            yield connection

    def _joined(self) -> Together | None:
        current = CURRENT.get()
        return current[1] if current is not None and current[0] is self else None

    def close(self) -> None:
        """Give back all connections."""
        if self._news is not None:
            self._news.close()
        self.control.dispose()
        self.telemetry.dispose()

    @contextmanager
    def _writing(self, engine: Engine, chain: str) -> Iterator[Connection]:
        with engine.connect().execution_options(writes=chain) as connection, connection.begin():
            if self._fence is not None:
                self._fence(connection)
            yield connection


def is_outage(error: Exception) -> bool:
    """Whether a transaction failed because of the database's state (locked, full, gone, another's), not its rows."""
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", _NOT_TOLD) is not _NOT_TOLD:
        from fleet_server.db import postgres  # noqa: PLC0415 - as above

        return postgres.is_outage(error)
    return isinstance(error, OperationalError | OSError | LeaseError)


_NOT_TOLD = object()


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
        cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # One that reads first and writes later fails with SQLITE_BUSY_SNAPSHOT whatever the timeout
        # (https://www.sqlite.org/isolation.html), so a write is IMMEDIATE.
        writes = "writes" in connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
