"""A card with sectors that it does not give any more, or gives as they never were: what becomes of files on them."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path


def put_on_bad_sectors(file: Path) -> None:
    """Reading `file` gives EIO from now on: nothing is mapped at the address 0 of a process (proc(5))."""
    file.unlink(missing_ok=True)
    file.symlink_to("/proc/self/mem")


def overwrite(database: Path) -> None:
    """All but the first page of an SQLite file is something else, also for whoever has it open and read it before."""
    with closing(sqlite3.connect(database)) as connection:
        # What others keep in memory ends with a transaction of somebody else's.
        connection.execute("UPDATE meta SET reserved = reserved")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
    data = database.read_bytes()
    with database.open("r+b") as file:
        file.seek(size)
        file.write(bytes([0xA5]) * (len(data) - size))


class BadDatabases:
    """SQLite reads no file of these inodes; with `all`, none at all."""

    def __init__(self, monkeypatch) -> None:
        self._inodes: set[int] = set()
        self.all = False
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=partial(_Connection, self)))

    def add(self, file: Path) -> None:
        self._inodes.add(file.stat().st_ino)

    def hold(self, file: str | Path) -> bool:
        return Path(file).exists() and (self.all or Path(file).stat().st_ino in self._inodes)


class _Connection(sqlite3.Connection):
    def __init__(self, bad: BadDatabases, path: str | Path, **options) -> None:
        super().__init__(path, **options)
        self._is_bad = partial(bad.hold, path)

    def execute(self, *statement):
        if self._is_bad():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error
        return super().execute(*statement)
