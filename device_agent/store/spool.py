"""The spool: what a device has to say waits here until the server's database holds it.

One SQLite file. A record's key is (device, spool id, seq): the spool id is random and born with the file,
a seq is never used twice, not even when a power cut took the newest records. A record is NEW until it may
have left, then SENT, and is deleted when a signed ack covers it. Only NEW telemetry windows merge, because a
SENT one may be in the database already.

Every append is one transaction, together with the position of the source that it accounts for. Those that
carry a position or must not be repeated reach the disk before `append` returns (synchronous = FULL); others
ride on the next such commit, which is earlier than any position that would skip the rows behind them.

It knows no topics, envelopes or connection; `device_agent.link` publishes what `take` hands out.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from device_agent.faultpoint import reach
from device_agent.store.merging import merge_records
from device_agent.store.spoolfile import (
    COLUMNS,
    DAMAGED_VALUES,
    SEQ_BYTES,
    Clock,
    Row,
    connect,
    is_of_the_machine,
    pack_seqs,
    set_aside,
)
from edgeops import limits
from edgeops.errors import MessageError, PlatformError
from edgeops.protocol.messages import Record, Records, SpoolAck
from edgeops.protocol.topics import SPOOLED, UpKind
from edgeops.update.faults import FailPoint

#: In which order the kinds of one `take` are handed out.
_ORDER = (UpKind.REPORTS, UpKind.TELEMETRY, UpKind.SAMPLES, UpKind.PREDICTIONS)
#: What may be given up when the file is full, in this order: a nomination can be asked for again, a report cannot.
#: Windows merge instead, reports stay.
_EXPENDABLE = (UpKind.PREDICTIONS, UpKind.SAMPLES)
#: Room in one message for the records, the envelope taken off.
_BODY_BYTES = limits.MAX_MESSAGE_BYTES - 1024
_RECORD_OVERHEAD_BYTES = 32
#: Seqs that one record may answer for beside its own, five bytes each on the wire.
_MAX_ABSORBED = 2048
_MAX_ONCE = 1024
#: Seqs that are set aside on disk at a time: after a power cut, none below them is used again.
_RESERVE = 256


@dataclass(frozen=True, slots=True)
class Spent:
    """What a deployment's samples of one day take together."""

    deployment: str
    #: By the device's own clock, `2026-11-01`.
    day: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one kind that fit one message."""

    kind: UpKind
    body: Records


class Spool:
    """One SQLite file; every method may be called from any thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, limit_bytes: int, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._durable: bool | None = None
        #: seq -> uptime at which it is offered again.
        self._in_flight: dict[int, float] = {}
        self.id = bytes(self._one("SELECT spool FROM meta"))
        self._next_seq = int(self._one("SELECT coalesce(max(seq), -1) FROM sqlite_sequence WHERE name = 'records'")) + 1
        self._pending = int(self._one("SELECT count(*) FROM records"))
        self._bytes = int(self._one("SELECT coalesce(sum(length(data) + length(absorbed)), 0) FROM records"))
        self._reserved = int(self._one("SELECT reserved FROM meta"))
        if self._one("SELECT boot FROM meta") != clock.boot:
            self._skip_reserved()

    @classmethod
    def open(cls, path: Path, *, limit_bytes: int = limits.SPOOL_BYTES, clock: Clock | None = None) -> Self:
        """Open or make the spool.

        A file that is no sound database is set aside as `<name>.corrupt`, counted, and a new one is born with
        a new spool id: what it held is lost, its numbers are never mixed with new ones.

        Args:
            path: the file; its folder exists.
            limit_bytes: what the records may take; beyond it NEW windows merge, then the oldest predictions go, then
                the oldest samples.
            clock: for tests.

        Raises:
            PlatformError: the file cannot be opened or written.
        """
        clock = clock or Clock.of_system()
        try:
            connection = connect(path)
            try:
                return cls(connection, path, limit_bytes=limit_bytes, clock=clock)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, *DAMAGED_VALUES) as error:
            if is_of_the_machine(error):
                raise PlatformError(
                    f"cannot open the spool {path}: {error}; check disk space and permissions"
                ) from error
            set_aside(path)
        spool = cls(connect(path), path, limit_bytes=limit_bytes, clock=clock)
        with spool._transaction(durable=True):
            spool._count("spool.corrupt", 1)
        return spool

    # -- in --------------------------------------------------------------------

    def append(
        self, kind: UpKind, data: bytes, *, checkpoint: tuple[str, bytes] | None = None, once: str | None = None
    ) -> int:
        """Store one record, and where its source stands, in one transaction.

        Args:
            kind: one of `SPOOLED`.
            data: the encoded record, at most MAX_RECORD_BYTES.
            checkpoint: (deployment, position) to store with it.
            once: names the record: a second call with the same name stores nothing and returns the first seq.

        Returns:
            The record's seq.

        Raises:
            MessageError: another kind, or too large.
            PlatformError: the disk is full or broken; nothing was stored.
        """
        with self._lock:
            known = None if once is None else self._first_of(once)
            return self.append_all([(kind, data)], checkpoint=checkpoint, once=once)[0] if known is None else known

    def append_all(
        self,
        records: Sequence[tuple[UpKind, bytes]],
        *,
        checkpoint: tuple[str, bytes] | None = None,
        once: str | None = None,
        spent: Spent | None = None,
    ) -> list[int]:
        """Store several records in one transaction: a closing window goes with the predictions of its rows, a
        nomination with what it costs. Arguments and errors as for `append`.

        Args:
            records: kind and data of each.
            checkpoint: (deployment, position) to store with them.
            once: names them all: a second call with the same name stores nothing and returns nothing.
            spent: to store with them.
        """  # noqa: D205 - one sentence
        for kind, data in records:
            _check(kind, data)
        durable = checkpoint is not None or once is not None or any(kind is UpKind.REPORTS for kind, _ in records)
        with self._lock:
            if once is not None and self.knows(once):
                return []
            with self._transaction(durable=durable or self._next_seq + len(records) > self._reserved):
                seqs = [self._insert(kind, data) for kind, data in records]
                if once is not None:
                    self._remember(once, seqs[0])
                if spent is not None:
                    self._store_spent(spent)
                if checkpoint is not None:
                    self._store_checkpoint(*checkpoint)
                if self._bytes > self._limit_bytes:
                    self._shrink()
        if checkpoint is not None:
            reach(FailPoint.WINDOW_SPOOLED)
        return seqs

    def knows(self, once: str) -> bool:
        """Whether records of this name were stored, acknowledged or not; the newest 1,024 names are remembered."""
        with self._lock:
            return self._first_of(once) is not None

    def spent_bytes(self, deployment: str, day: str) -> int:
        """What the samples of a deployment took on this day."""
        with self._lock:
            row = self._connection.execute(
                "SELECT bytes FROM spent WHERE deployment = ? AND day = ?", (deployment, day)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def checkpoint(self, deployment: str) -> bytes | None:
        """The source position stored last; None = start at the beginning."""
        with self._lock:
            row = self._connection.execute(
                "SELECT position FROM checkpoints WHERE deployment = ?", (deployment,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def forget_checkpoint(self, deployment: str) -> None:
        """Start the deployment's source at its beginning next time."""
        with self._transaction(durable=True):
            self._connection.execute("DELETE FROM checkpoints WHERE deployment = ?", (deployment,))

    # -- out ---------------------------------------------------------------------

    def take(self, credit: int) -> list[Batch]:
        """What to publish now, so that at most `credit` records are in flight.

        The records count as SENT, on disk, from here on: publish them, or let ACK_TIMEOUT pass. A record in
        flight is offered again after ACK_TIMEOUT and after `lost_contact`.
        """
        with self._lock:
            now = self._clock.uptime()
            self._in_flight = {seq: until for seq, until in self._in_flight.items() if until > now}
            room = credit - len(self._in_flight)
            if room <= 0 or self._pending == len(self._in_flight):
                return []
            chosen = self._choose(room)
            if any(row.kind is UpKind.TELEMETRY and not row.sent for row in chosen) or self._has_gaps():
                # A window may merge as long as the disk says NEW, so this must outlive a power cut.
                self._mark(chosen, durable=True)
            elif any(not row.sent for row in chosen):
                self._mark(chosen, durable=False)
            chosen = [self._read(row.seq) for row in chosen]
            until = now + limits.ACK_TIMEOUT.total_seconds()
            self._in_flight.update(dict.fromkeys((row.seq for row in chosen), until))
            batches = list(self._batches(chosen))
        reach(FailPoint.RECORDS_TAKEN)
        return batches

    def lost_contact(self) -> None:
        """Call at every new connection: what was in flight may be lost and is offered again."""
        with self._lock:
            self._in_flight.clear()

    def acknowledge(self, ack: SpoolAck) -> list[int]:
        """Delete what the server's database holds.

        Returns:
            The seqs that were deleted; none when the ack is for another spool or says nothing new.
        """
        if ack.spool != self.id:
            return []
        with self._lock:
            acknowledged: list[int] = []
            for first, last in ((0, ack.through), *ack.ranges):
                rows = self._connection.execute(
                    "SELECT seq FROM records WHERE seq BETWEEN ? AND ? AND sent = 1", (first, min(last, self._next_seq))
                )
                acknowledged += [int(row[0]) for row in rows]
            if not acknowledged:
                return []
            with self._transaction(durable=False):
                self._delete(acknowledged)
            return acknowledged

    def is_acknowledged(self, seq: int) -> bool:
        """Whether the server's database holds the report `seq` of this spool."""
        with self._lock:
            held = self._connection.execute("SELECT 1 FROM records WHERE seq = ?", (seq,)).fetchone()
        return held is None and 0 <= seq < self._next_seq

    # -- about it ----------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Records not acknowledged yet."""
        return self._pending

    @property
    def counters(self) -> Mapping[str, int]:
        """`spool.corrupt`, `spool.merged`, `spool.dropped`: counts since the file was born; absent = 0."""
        with self._lock:
            return {str(name): int(value) for name, value in self._connection.execute("SELECT * FROM counters")}

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            with suppress(PlatformError), self._transaction(durable=True):
                self._reserve(self._next_seq)
            self._connection.close()

    # -- inside a transaction ------------------------------------------------------

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with self._lock:
            before = (self._next_seq, self._reserved, self._pending, self._bytes)
            try:
                if durable is not self._durable:
                    self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._next_seq, self._reserved, self._pending, self._bytes = before
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors.
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise PlatformError(
                        f"cannot write the spool {self._path}: {error}; check disk space and permissions"
                    ) from error
                raise

    def _insert(self, kind: UpKind, data: bytes) -> int:
        seq = self._next_seq
        if seq >= self._reserved:
            self._reserve(seq + _RESERVE)
        self._connection.execute(
            "INSERT INTO records (seq, kind, at_ms, boot, up_ms, data) VALUES (?, ?, ?, ?, ?, ?)",
            (seq, kind, round(self._clock.wall() * 1e3), self._clock.boot, round(self._clock.uptime() * 1e3), data),
        )
        self._next_seq += 1
        self._pending += 1
        self._bytes += len(data)
        return seq

    def _reserve(self, end: int) -> None:
        """Seqs below `end` may be used; in a durable transaction."""
        self._connection.execute("UPDATE meta SET reserved = ?", (end,))
        self._reserved = end

    def _skip_reserved(self) -> None:
        """The machine has started anew: records that were not durable may be gone from here and known to the
        server, so their seqs are not used again. Another record will answer for them.
        """  # noqa: D205 - one sentence
        with self._transaction(durable=True):
            skipped = range(self._next_seq, self._reserved)
            if skipped:
                self._connection.executemany("INSERT OR IGNORE INTO gaps VALUES (?)", [(seq,) for seq in skipped])
                self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
                self._connection.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (self._reserved - 1,))
                self._next_seq = self._reserved
            self._connection.execute("UPDATE meta SET boot = ?", (self._clock.boot,))

    def _store_checkpoint(self, deployment: str, position: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (deployment, position))

    def _first_of(self, once: str) -> int | None:
        known = self._connection.execute("SELECT seq FROM once WHERE key = ?", (once,)).fetchone()
        return None if known is None else int(known[0])

    def _remember(self, once: str, seq: int) -> None:
        self._connection.execute("INSERT INTO once (key, seq) VALUES (?, ?)", (once, seq))
        self._connection.execute("DELETE FROM once WHERE id <= (SELECT max(id) FROM once) - ?", (_MAX_ONCE,))

    def _store_spent(self, spent: Spent) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?)", (spent.deployment, spent.day, spent.size_bytes)
        )

    def _count(self, name: str, number: int) -> None:
        self._connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, number),
        )

    def _delete(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            row = self._connection.execute(
                "DELETE FROM records WHERE seq = ? RETURNING length(data) + length(absorbed)", (seq,)
            ).fetchone()
            if row is not None:
                self._pending -= 1
                self._bytes -= int(row[0])
            self._in_flight.pop(seq, None)

    def _shrink(self) -> None:
        """Bring the records below the limit: merge NEW windows, then give up the oldest of what is expendable."""
        self._merge_windows()
        for kind in _EXPENDABLE:
            while self._bytes > self._limit_bytes:
                oldest = self._connection.execute(
                    "SELECT seq FROM records WHERE kind = ? ORDER BY seq LIMIT 16", (kind,)
                ).fetchall()
                if not oldest:
                    break
                seqs = [int(row[0]) for row in oldest]
                # The server shall not wait for them: another record will answer for their numbers.
                self._connection.executemany("INSERT INTO gaps VALUES (?)", [(seq,) for seq in seqs])
                self._delete(seqs)
                self._count("spool.dropped", len(seqs))

    def _merge_windows(self) -> None:
        rows = [
            Row.of(row)
            for row in self._connection.execute(
                f"SELECT {COLUMNS} FROM records WHERE kind = ? AND sent = 0 ORDER BY seq",  # noqa: S608 - constants
                (UpKind.TELEMETRY,),
            )
        ]
        for kept, data, absorbed in merge_records([(row.seq, row.data, row.absorbed) for row in rows], _MAX_ABSORBED):
            gone = [row.seq for row in rows if row.seq in set(absorbed)]
            self._delete(gone)
            packed = pack_seqs(absorbed)
            old = next(row for row in rows if row.seq == kept)
            self._connection.execute("UPDATE records SET data = ?, absorbed = ? WHERE seq = ?", (data, packed, kept))
            self._bytes += len(data) + len(packed) - len(old.data) - SEQ_BYTES * len(old.absorbed)
            self._count("spool.merged", len(gone))

    # -- choosing ------------------------------------------------------------------

    def _choose(self, room: int) -> list[Row]:
        """Reports, the oldest first; then the newest of the rest, whatever they are: the fewer holes in the
        numbers that have arrived, the shorter the server's ledger.
        """  # noqa: D205 - one sentence
        chosen: list[Row] = []
        for which in ("kind = ? ORDER BY seq ASC", "kind <> ? ORDER BY seq DESC"):
            rows = self._connection.execute(
                f"SELECT {COLUMNS} FROM records WHERE {which} LIMIT ?",  # noqa: S608 - constants
                (UpKind.REPORTS, room + len(self._in_flight)),
            )
            chosen += [row for row in map(Row.of, rows) if row.seq not in self._in_flight]
        return chosen[:room]

    def _has_gaps(self) -> bool:
        return self._connection.execute("SELECT 1 FROM gaps LIMIT 1").fetchone() is not None

    def _mark(self, rows: Sequence[Row], *, durable: bool) -> None:
        """Remember that these may leave; the NEW ones among them answer for numbers that were given up."""
        with self._transaction(durable=durable):
            self._connection.executemany("UPDATE records SET sent = 1 WHERE seq = ?", [(row.seq,) for row in rows])
            for row in rows:
                if row.sent or len(row.absorbed) >= _MAX_ABSORBED:
                    continue
                gaps = [
                    int(gap[0])
                    for gap in self._connection.execute(
                        "DELETE FROM gaps WHERE seq IN (SELECT seq FROM gaps ORDER BY seq LIMIT ?) RETURNING seq",
                        (_MAX_ABSORBED - len(row.absorbed),),
                    )
                ]
                if not gaps:
                    break
                packed = pack_seqs([*row.absorbed, *gaps])
                self._connection.execute("UPDATE records SET absorbed = ? WHERE seq = ?", (packed, row.seq))
                self._bytes += SEQ_BYTES * len(gaps)

    def _read(self, seq: int) -> Row:
        query = f"SELECT {COLUMNS} FROM records WHERE seq = ?"  # noqa: S608 - constants
        return Row.of(self._connection.execute(query, (seq,)).fetchone())

    def _batches(self, rows: Sequence[Row]) -> Iterator[Batch]:
        """Cut into messages: one kind, MAX_RECORDS_PER_MESSAGE, within the size."""
        uptime_ms = round(self._clock.uptime() * 1e3)
        for kind in _ORDER:
            batch: list[Record] = []
            size = 0
            for row in rows:
                if row.kind is not kind:
                    continue
                cost = len(row.data) + 5 * len(row.absorbed) + _RECORD_OVERHEAD_BYTES
                if batch and (len(batch) == limits.MAX_RECORDS_PER_MESSAGE or size + cost > _BODY_BYTES):
                    yield Batch(kind, Records(spool=self.id, records=tuple(batch)))
                    batch, size = [], 0
                age_ms = max(0, uptime_ms - row.up_ms) if row.boot == self._clock.boot else -1
                record = Record(seq=row.seq, age_ms=age_ms, at_ms=row.at_ms, data=row.data, absorbed=row.absorbed)
                batch.append(record)
                size += cost
            if batch:
                yield Batch(kind, Records(spool=self.id, records=tuple(batch)))

    def _one(self, query: str) -> Any:
        return self._connection.execute(query).fetchone()[0]


def _check(kind: UpKind, data: bytes) -> None:
    if kind not in SPOOLED:
        raise MessageError(f"{kind} does not go through the spool; only {', '.join(sorted(SPOOLED))} do")
    if len(data) > limits.MAX_RECORD_BYTES:
        raise MessageError(f"a {kind} record of {len(data)} bytes exceeds {limits.MAX_RECORD_BYTES}; cut it in two")
