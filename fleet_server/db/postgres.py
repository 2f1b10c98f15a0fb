"""PostgreSQL: its engine, what its errors mean, and how it tells that something was written.

SQLite has one writer at a time, and the stores rely on it. Here a write takes a lock of its chain first
(`pg_advisory_xact_lock`), at READ COMMITTED: every statement after it sees all that was committed before the lock was
had, and nobody else writes until it is given back with the commit
(docs/adr/0022-one-writer-at-a-time-on-postgresql.md). A read is REPEATABLE READ, one moment for all its statements.

The driver is loaded here and nowhere else. Passwords come from where libpq finds them (PGPASSWORD, PGPASSFILE), never
from the URL, and are in no message of ours.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.postgresql.base import PGTypeCompiler
from sqlalchemy.exc import DBAPIError

from edgeops import limits
from edgeops.errors import PlatformError

try:
    import psycopg
except ImportError as error:
    raise PlatformError(
        f"no driver for PostgreSQL here ({error}); install it with: pip install 'edgeops[postgres]'"
    ) from error

_log = logging.getLogger(__name__)

#: Execution options of a transaction that writes nothing.
READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

#: First half of each advisory lock of ours ("EdOp"); the second is the chain's.
_LOCKS = 0x45644F70
_CHAINS = {"control": 1, "telemetry": 2}
_CHANNEL = "edgeops_written"
#: How often a thread that listens looks whether it shall end.
_LOOK_S = 0.2

#: What a session of ours asks of the server: not to wait for ever for a lock; not to hold one for a process that hangs
#: in the middle of a transaction, or whose machine is gone.
_SESSION = (
    ("lock_timeout", f"{limits.WRITE_LOCK_TIMEOUT.total_seconds():.0f}s"),
    ("idle_in_transaction_session_timeout", f"{limits.IDLE_WRITE_TIMEOUT.total_seconds():.0f}s"),
    ("client_connection_check_interval", "5s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
)

#: Classes of SQLSTATE that speak of the server and not of a row (PostgreSQL, appendix A): connection, transaction state
#: (a standby is read-only), rollback (deadlock), resources (disk full), not in the right state (lock timeout), operator
#: (shutdown), system.
_OUTAGES = frozenset({"08", "25", "40", "53", "55", "57", "58"})


def engine(url: str, guard: Callable[[Callable[[str], str | None]], None] | None = None) -> Engine:
    """One that connects when it is first used; each chain has one, so that neither takes the other's connections."""
    made = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, fallback_application_name="edgeops"),
        pool_size=limits.DATABASE_CONNECTIONS,
        max_overflow=0,
        # Connections that a restart of the server ended are replaced before a request fails.
        pool_pre_ping=True,
    )
    # Text sorts by its bytes, as on SQLite and in Python; else ids and cursors of pages would sort by a language.
    made.dialect.type_compiler_instance = _Types(made.dialect)

    @event.listens_for(made, "connect")
    def configure(connection: Any, _record: object) -> None:
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION)
        connection.execute(f"SELECT {settings}")
        if guard is not None:
            try:
                guard(lambda key: _setting(connection, key))
            except BaseException:
                connection.close()
                raise
        connection.commit()

    @event.listens_for(made, "begin")
    def lock(connection: Connection) -> None:
        chain = connection.get_execution_options().get("writes")
        if chain is not None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS}, {_CHAINS[chain]})")

    @event.listens_for(made, "commit")
    def tell(connection: Connection) -> None:
        if connection.get_execution_options().get("writes") == "control":
            connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")

    return made


def _setting(connection: Any, key: str) -> str | None:
    """A row of our table of settings, if there is that table."""
    if connection.execute("SELECT to_regclass('settings')").fetchone()[0] is None:
        return None
    row = connection.execute("SELECT value FROM settings WHERE key = %s", (key,)).fetchone()
    return None if row is None else str(row[0])


def is_outage(error: DBAPIError) -> bool:
    """Whether the server was not there, or in no state to do it."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _OUTAGES
    # Without one nothing came from the server: it is gone, or a value could not even be sent.
    return error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError)


class Listening:
    """Hears what writers NOTIFY, on a connection and a thread of its own.

    While the server is away it does not tell, and says so.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._wakes: set[Callable[[], object]] = set()
        self._connection: psycopg.Connection[Any] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="news", daemon=True)
        self._thread.start()

    @property
    def tells(self) -> bool:
        """Whether it is connected."""
        return self._connection is not None

    def subscribe(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Have `wake` called at every write to control; the end of that."""
        self._wakes.add(wake)
        return lambda: self._wakes.discard(wake)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, fallback_application_name="edgeops") as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._connection = connection
                    self._wake()  # what was written before is seen by a look, too
                    self._hear(connection)
            except psycopg.Error as error:
                _log.warning("news.outage error=%s", str(error).strip())
            finally:
                self._connection = None
            self._stop.wait(limits.OUTAGE_RETRY_AFTER.total_seconds())

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stop.is_set():
            for _ in connection.notifies(timeout=_LOOK_S, stop_after=1):
                self._wake()

    def _wake(self) -> None:
        for wake in tuple(self._wakes):
            with suppress(RuntimeError):  # an event loop that has ended
                wake()


class _Types(PGTypeCompiler):
    def visit_TEXT(self, type_: Any, **_: Any) -> str:  # noqa: ARG002, N802 - SQLAlchemy's
        """As DDL spells it."""
        return 'TEXT COLLATE "C"'
