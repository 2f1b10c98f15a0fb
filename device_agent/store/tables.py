"""The spool's tables: what one row holds, and every statement that reads or writes rows.

It holds no lock, begins no transaction and keeps no sums; see `device_agent.store.spool`.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from edgeops.protocol.topics import UpKind

_SEQ_BYTES = 8
#: What `Row.of` reads, in its order.
_COLUMNS = "seq, kind, sent, at_ms, boot, up_ms, absorbed, data"
_SIZE = "length(data) + length(absorbed)"


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it is stored."""

    seq: int
    kind: UpKind
    sent: bool
    at_ms: int
    boot: str
    up_ms: int
    #: Seqs that it answers for beside its own.
    absorbed: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """From a SELECT of `_COLUMNS`."""
        seq, kind, sent, at_ms, boot, up_ms, absorbed, data = row
        return cls(seq, UpKind(kind), bool(sent), at_ms, boot, up_ms, _unpacked(absorbed), data)

    @property
    def size_bytes(self) -> int:
        """What it takes of the spool's limit."""
        return len(self.data) + _SEQ_BYTES * len(self.absorbed)


class Tables:
    """The rows of one spool file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """`connection` is one of `device_agent.store.spoolfile.connect`."""
        self._connection = connection

    # -- the spool ---------------------------------------------------------------

    def spool_id(self) -> bytes:
        """Its random name, born with the file."""
        return bytes(self._one("SELECT spool FROM meta"))

    def boot(self) -> str:
        """During which start of the kernel it was opened last."""
        return str(self._one("SELECT boot FROM meta"))

    def set_boot(self, boot: str) -> None:
        """Remember this start of the kernel."""
        self._connection.execute("UPDATE meta SET boot = ?", (boot,))

    def next_seq(self) -> int:
        """One more than any that a stored record had."""
        return int(self._one("SELECT coalesce(max(seq), -1) FROM sqlite_sequence WHERE name = 'records'")) + 1

    def go_on_from(self, seq: int) -> None:
        """Make `seq` the next one."""
        self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
        self._connection.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (seq - 1,))

    def reserved(self) -> int:
        """Seqs below it may have been used."""
        return int(self._one("SELECT reserved FROM meta"))

    def reserve(self, end: int) -> None:
        """Let seqs below `end` be used."""
        self._connection.execute("UPDATE meta SET reserved = ?", (end,))

    # -- records -----------------------------------------------------------------

    def held(self) -> tuple[int, int]:
        """How many records there are, and the bytes that they take."""
        count, size = self._connection.execute(f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM records").fetchone()  # noqa: S608 - constants
        return int(count), int(size)

    def holds(self, seq: int) -> bool:
        """Whether this record is there."""
        return self._connection.execute("SELECT 1 FROM records WHERE seq = ?", (seq,)).fetchone() is not None

    def read(self, seq: int) -> Row:
        """A record that is there."""
        [row] = self._rows("seq = ?", (seq,))
        return row

    def between(self, first: int, last: int) -> list[tuple[int, bool, int]]:
        """(seq, sent, bytes) of the records from `first` to `last`."""
        query = f"SELECT seq, sent, {_SIZE} FROM records WHERE seq BETWEEN ? AND ?"  # noqa: S608 - constants
        return [(int(seq), bool(sent), int(size)) for seq, sent, size in self._connection.execute(query, (first, last))]

    def oldest_reports(self, most: int) -> list[Row]:
        """The oldest first."""
        return self._rows("kind = ? ORDER BY seq ASC LIMIT ?", (UpKind.REPORTS, most))

    def newest_others(self, most: int) -> list[Row]:
        """What is no report, the newest first."""
        return self._rows("kind <> ? ORDER BY seq DESC LIMIT ?", (UpKind.REPORTS, most))

    def new_windows(self) -> list[Row]:
        """Those that cannot have left, the oldest first."""
        return self._rows("kind = ? AND sent = 0 ORDER BY seq", (UpKind.TELEMETRY,))

    def oldest_seqs(self, kind: UpKind, most: int) -> list[int]:
        """Of the oldest records of a kind."""
        query = "SELECT seq FROM records WHERE kind = ? ORDER BY seq LIMIT ?"
        return [int(seq) for (seq,) in self._connection.execute(query, (kind, most))]

    def insert(self, rows: Iterable[Row]) -> None:
        """Store records that answer for no other seq yet."""
        self._connection.executemany(
            "INSERT INTO records (seq, kind, sent, at_ms, boot, up_ms, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(row.seq, row.kind, row.sent, row.at_ms, row.boot, row.up_ms, row.data) for row in rows],
        )

    def mark_sent(self, seqs: Iterable[int]) -> None:
        """These may leave."""
        self._connection.executemany("UPDATE records SET sent = 1 WHERE seq = ?", [(seq,) for seq in seqs])

    def rewrite(self, row: Row) -> None:
        """What a record says, and which seqs it answers for."""
        self._connection.execute(
            "UPDATE records SET data = ?, absorbed = ? WHERE seq = ?", (row.data, _packed(row.absorbed), row.seq)
        )

    def delete(self, seq: int) -> int | None:
        """The bytes that it took; None = it was not there."""
        query = f"DELETE FROM records WHERE seq = ? RETURNING {_SIZE}"  # noqa: S608 - constants
        row = self._connection.execute(query, (seq,)).fetchone()
        return None if row is None else int(row[0])

    # -- seqs without a record ------------------------------------------------------

    def has_gaps(self) -> bool:
        """Whether another record must answer for some."""
        return self._connection.execute("SELECT 1 FROM gaps LIMIT 1").fetchone() is not None

    def add_gaps(self, seqs: Iterable[int]) -> None:
        """Another record will answer for them."""
        self._connection.executemany("INSERT OR IGNORE INTO gaps VALUES (?)", [(seq,) for seq in seqs])

    def take_gaps(self, most: int) -> list[int]:
        """The oldest; whoever takes them answers for them."""
        query = "DELETE FROM gaps WHERE seq IN (SELECT seq FROM gaps ORDER BY seq LIMIT ?) RETURNING seq"
        return [int(seq) for (seq,) in self._connection.execute(query, (most,))]

    # -- beside the records ----------------------------------------------------------

    def checkpoint(self, deployment: str) -> bytes | None:
        """Where its source stands."""
        query = "SELECT position FROM checkpoints WHERE deployment = ?"
        row = self._connection.execute(query, (deployment,)).fetchone()
        return None if row is None else bytes(row[0])

    def store_checkpoint(self, deployment: str, position: bytes) -> None:
        """Where its source stands from now on."""
        self._connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (deployment, position))

    def forget_checkpoint(self, deployment: str) -> None:
        """Its source stands at its beginning."""
        self._connection.execute("DELETE FROM checkpoints WHERE deployment = ?", (deployment,))

    def first_of(self, once: str) -> int | None:
        """The first seq that was stored under this name."""
        known = self._connection.execute("SELECT seq FROM once WHERE key = ?", (once,)).fetchone()
        return None if known is None else int(known[0])

    def remember(self, once: str, seq: int, *, most: int) -> None:
        """Give a name to what was stored; of `most` names the newest are kept."""
        self._connection.execute("INSERT INTO once (key, seq) VALUES (?, ?)", (once, seq))
        self._connection.execute("DELETE FROM once WHERE id <= (SELECT max(id) FROM once) - ?", (most,))

    def spent_bytes(self, deployment: str, day: str) -> int:
        """What its samples took on this day."""
        query = "SELECT bytes FROM spent WHERE deployment = ? AND day = ?"
        row = self._connection.execute(query, (deployment, day)).fetchone()
        return 0 if row is None else int(row[0])

    def store_spent(self, deployment: str, day: str, size_bytes: int) -> None:
        """What its samples took on this day; what was known of another day goes."""
        self._connection.execute("INSERT OR REPLACE INTO spent VALUES (?, ?, ?)", (deployment, day, size_bytes))

    def counters(self) -> dict[str, int]:
        """Absent = 0."""
        return {str(name): int(value) for name, value in self._connection.execute("SELECT * FROM counters")}

    def count(self, name: str, number: int) -> None:
        """Add to a counter."""
        self._connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, number),
        )

    def _rows(self, which: str, values: tuple[object, ...]) -> list[Row]:
        query = f"SELECT {_COLUMNS} FROM records WHERE {which}"  # noqa: S608 - constants
        return [Row.of(row) for row in self._connection.execute(query, values)]

    def _one(self, query: str) -> Any:
        return self._connection.execute(query).fetchone()[0]


def _packed(seqs: Sequence[int]) -> bytes:
    return b"".join(seq.to_bytes(_SEQ_BYTES, "big") for seq in seqs)


def _unpacked(packed: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(packed[i : i + _SEQ_BYTES], "big") for i in range(0, len(packed), _SEQ_BYTES))
