"""The spool's file: its schema, how it is opened and set aside, and the device's two clocks.

Nothing is decided here; see `device_agent.store.spool`.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from device_agent.faultpoint import wall_s
from device_agent.store.aside import set_aside
from edgeops.errors import DamageError, DiskError, PlatformError

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (spool BLOB NOT NULL, reserved INTEGER NOT NULL, boot TEXT NOT NULL);
CREATE TABLE records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    at_ms INTEGER NOT NULL, boot TEXT NOT NULL, up_ms INTEGER NOT NULL, absorbed BLOB NOT NULL DEFAULT x'',
    data BLOB NOT NULL
);
CREATE INDEX records_by_kind ON records (kind, seq);
CREATE TABLE checkpoints (deployment TEXT PRIMARY KEY, position BLOB NOT NULL);
CREATE TABLE once (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL);
CREATE TABLE spent (deployment TEXT PRIMARY KEY, day TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE gaps (seq INTEGER PRIMARY KEY);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def boot_id() -> str:
    """Names this start of the kernel; random where the system has no name for it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Clock:
    """The device's two times: the wall clock may jump, `uptime` only grows until the next `boot`."""

    wall: Callable[[], float] = wall_s
    uptime: Callable[[], float] = time.monotonic
    boot: str = ""

    @classmethod
    def of_system(cls) -> Self:
        """The real ones."""
        return cls(boot=boot_id())


def connect(path: Path) -> sqlite3.Connection:
    """Open the file and make the schema in a new one.

    Raises:
        sqlite3.Error: the file is no sound database, or cannot be opened (`at_work` says which).
        PlatformError: another version of the agent made it.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if path.exists():
            path.chmod(0o600)
        # A record is a few hundred bytes, and every page that it touches is written whole.
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _check_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def read_checkpoints(path: Path) -> list[tuple[str, bytes]]:
    """Where the sources stand, from a file that can perhaps not be written; nothing when it cannot be read either."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT deployment, position FROM checkpoints").fetchall()
    except sqlite3.Error:
        return []
    return [(str(deployment), bytes(position)) for deployment, position in rows]


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        _make_schema(connection)
    elif version != _SCHEMA_VERSION:
        raise PlatformError(f"{path} has format {version}, this agent knows {_SCHEMA_VERSION}; update the agent")
    made = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if not made >= {statement for statement in map(str.strip, _SCHEMA.split(";")) if statement}:
        raise sqlite3.DatabaseError(f"{path} has other tables than a spool")
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError(f"{path} fails its check")


def _make_schema(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (?, 0, '')", (secrets.token_bytes(8),))
    connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")


@contextmanager
def at_work(path: Path) -> Iterator[None]:
    """Say whose fault it is that SQLite fails.

    Raises:
        DamageError: the file's.
        DiskError: the machine's.
    """
    try:
        yield
    except (sqlite3.Error, *_DAMAGED_VALUES) as error:
        if _is_to_blame(path, error):
            raise DamageError(f"the spool {path} is damaged: {error}; the agent begins again with a new one") from error
        raise DiskError(f"cannot use the spool {path}: {error}; check disk space and permissions") from error


#: What the sqlite3 module raises for text that is no UTF-8, and we for values of another type than the schema's.
_DAMAGED_VALUES = (UnicodeDecodeError, TypeError, ValueError, OverflowError)
#: SQLite's result codes that speak of the machine, not of what is in the file (https://sqlite.org/rescode.html).
_OF_THE_MACHINE = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


def _is_to_blame(path: Path, error: Exception) -> bool:
    """Whether it is for this file that SQLite failed, and another one would do.

    Bytes that the card does not give or take (SQLITE_IOERR) are the file's where a new one beside it can be made, and
    the card's where it cannot. Nobody is to blame for a file that is closed.
    """
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_IOERR:
        return _another_can_be_made(path)
    return code not in _OF_THE_MACHINE


def _another_can_be_made(path: Path) -> bool:
    try:
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as folder:
            connect(Path(folder) / path.name).close()
    except (OSError, sqlite3.Error):
        return False
    return True


def set_spool_aside(path: Path) -> None:
    """Keep the newest corrupt file for a person to look at; its journal goes with it."""
    for suffix in ("", "-wal", "-shm"):
        set_aside(path.with_name(path.name + suffix))
