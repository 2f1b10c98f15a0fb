"""The spool: what a device has to say waits here until the server's database holds it.

One SQLite file. A record's key is (device, spool id, seq): the spool id is random and born with the file,
a seq is never used twice, not even when a power cut took the newest records. A record is NEW until it may
have left, then SENT, and is deleted when a signed ack covers it. Only NEW telemetry windows merge, because a
SENT one may be in the database already.

Every append is one transaction, together with the position of the source that it accounts for. Those that
carry a position or must not be repeated reach the disk before `append` returns (synchronous = FULL); others
ride on the next such commit, which is earlier than any position that would skip the rows behind them.

A card wears out by writes, so what need not be written is not: while records leave as fast as they come, a prediction
waits in memory for its ack until the next transaction takes it along, a record is stored as SENT at once, and what is
acknowledged goes with the next transaction. What a power cut takes of that is sent or asked for again.

It knows no topics, envelopes or connection; `device_agent.link` publishes what `take` hands out.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from device_agent.faultpoint import reach
from device_agent.store.aside import was_set_aside
from device_agent.store.merging import merge_records
from device_agent.store.records import Batch, Entry, Spent, check, cut
from device_agent.store.spoolfile import Clock, at_work, connect, read_checkpoints, set_spool_aside
from device_agent.store.tables import Row, Tables
from edgeops import limits
from edgeops.errors import DamageError, DiskError, PlatformError
from edgeops.protocol.messages import SpoolAck
from edgeops.protocol.topics import UpKind
from edgeops.update.faults import FailPoint

#: What may be given up when the file is full, in this order: a nomination can be asked for again, a report cannot.
#: Windows merge instead, reports stay.
_EXPENDABLE = (UpKind.PREDICTIONS, UpKind.SAMPLES)
_MAX_ONCE = 1024
_DROPPED_AT_ONCE = 16
#: Seqs that are set aside on disk at a time: after a power cut, none below them is used again.
_RESERVE = 256
#: Predictions that wait in memory for their ack, and acknowledged records that wait to be deleted.
_MAX_YOUNG = 256
_MAX_DONE = 256


class Spool:
    """One SQLite file; every method may be called from any thread.

    Where the file cannot be read or written, each of them raises DiskError, and DamageError where another would do.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, limit_bytes: int, clock: Clock) -> None:
        self._connection = connection
        self._tables = Tables(connection)
        self._path = path
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = threading.RLock()
        #: The file is not what was written into it: `close` sets it aside, and the next `open` begins a new one.
        self.is_damaged = False
        self._durable: bool | None = None
        #: seq -> uptime at which it is offered again.
        self._in_flight: dict[int, float] = {}
        #: Records leave as fast as they come.
        self._flows = False
        #: Numbered and not on disk: predictions, in order.
        self._young: dict[int, Row] = {}
        #: Predictions that may have left; other kinds are marked as SENT on disk.
        self._offered: set[int] = set()
        #: Acknowledged and still on disk.
        self._done: set[int] = set()
        self.id = self._tables.spool_id()
        self._next_seq = self._tables.next_seq()
        self._pending, self._bytes = self._tables.held()
        self._reserved = self._tables.reserved()
        if self._tables.boot() != clock.boot or self._next_seq < self._reserved:
            self._skip_reserved()

    @classmethod
    def open(cls, path: Path, *, limit_bytes: int = limits.SPOOL_BYTES, clock: Clock | None = None) -> Self:
        """Open or make the spool.

        A file that is no sound database, or lies where the card fails, is set aside as `<name>.corrupt`, counted, and
        a new one is born with a new spool id: what it held is lost, its numbers are never mixed with new ones.

        Args:
            path: the file; its folder exists.
            limit_bytes: what the records may take; beyond it NEW windows merge, then the oldest predictions go, then
                the oldest samples.
            clock: for tests.

        Raises:
            DiskError: the file cannot be opened or written.
            PlatformError: another version of the agent made it.
        """
        clock = clock or Clock.of_system()
        try:
            return cls._of(path, limit_bytes=limit_bytes, clock=clock)
        except DamageError:
            set_spool_aside(path)
        return cls._of(path, limit_bytes=limit_bytes, clock=clock)

    @classmethod
    def _of(cls, path: Path, *, limit_bytes: int, clock: Clock) -> Self:
        is_in_place_of_one = was_set_aside(path)
        with at_work(path):
            connection = connect(path)
            try:
                spool = cls(connection, path, limit_bytes=limit_bytes, clock=clock)
                if is_in_place_of_one:
                    with spool._transaction(durable=True):
                        spool._tables.count("spool.corrupt", 1)
            except BaseException:
                connection.close()
                raise
        return spool

    @classmethod
    def in_memory(cls, *, instead_of: Path) -> Self:
        """One that lives as long as this process, for a device whose disk takes nothing.

        It knows where sources stand, as far as the file that it stands in for can be read.
        """
        memory = Path(":memory:")
        spool = cls(connect(memory), memory, limit_bytes=limits.TRAY_BYTES, clock=Clock.of_system())
        for deployment, position in read_checkpoints(instead_of):
            spool._tables.store_checkpoint(deployment, position)
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
            DiskError: the disk is full or broken; nothing was stored.
        """
        with self._at_work():
            known = None if once is None else self._tables.first_of(once)
            if known is not None:
                return known
            if once is None:
                return self.append_entries([Entry(kind, data, checkpoint)])[0]
            return self.append_all([(kind, data)], once=once)[0]

    def append_all(
        self,
        records: Sequence[tuple[UpKind, bytes]],
        *,
        once: str | None = None,
        spent: Spent | None = None,
    ) -> list[int]:
        """Store several records in one transaction: a nomination goes with what it costs. Arguments and errors as for
        `append`.

        Args:
            records: kind and data of each.
            once: names them all: a second call with the same name stores nothing and returns nothing.
            spent: to store with them.
        """  # noqa: D205 - one sentence
        for kind, data in records:
            check(kind, data)
        durable = once is not None or any(kind is UpKind.REPORTS for kind, _ in records)
        with self._at_work():
            if once is not None and self.knows(once):
                return []
            with self._transaction(durable=durable or self._next_seq + len(records) > self._reserved):
                seqs = [self._insert(kind, data) for kind, data in records]
                if once is not None:
                    self._tables.remember(once, seqs[0], most=_MAX_ONCE)
                if spent is not None:
                    self._tables.store_spent(spent.deployment, spent.day, spent.size_bytes)
                if self._bytes > self._limit_bytes:
                    self._shrink()
        return seqs

    def append_entries(self, entries: Sequence[Entry]) -> list[int]:
        """Store records in one transaction, each with the position of its source; errors as for `append`."""
        for entry in entries:
            check(entry.kind, entry.data)
        positions = dict(entry.checkpoint for entry in entries if entry.checkpoint is not None)
        durable = bool(positions) or any(entry.kind is UpKind.REPORTS for entry in entries)
        with self._at_work():
            if self._may_stay_young(entries):
                young = [self._number(entry.kind, entry.data, sent=False) for entry in entries]
                self._young.update((row.seq, row) for row in young)
                return [row.seq for row in young]
            seqs = self._store(entries, positions, durable=durable)
        for entry in entries:
            if entry.checkpoint is not None:
                reach(FailPoint.WINDOW_SPOOLED)
        return seqs

    def _store(self, entries: Sequence[Entry], positions: Mapping[str, bytes], *, durable: bool) -> list[int]:
        with self._transaction(durable=durable or self._next_seq + len(entries) > self._reserved):
            seqs = [self._insert(entry.kind, entry.data) for entry in entries]
            for deployment, position in positions.items():
                self._tables.store_checkpoint(deployment, position)
            if self._bytes > self._limit_bytes:
                self._shrink()
        return seqs

    def _may_stay_young(self, entries: Sequence[Entry]) -> bool:
        return (
            self._flows
            and all(entry.kind is UpKind.PREDICTIONS and entry.checkpoint is None for entry in entries)
            and self._next_seq + len(entries) <= self._reserved
            and len(self._young) < _MAX_YOUNG
        )

    def knows(self, once: str) -> bool:
        """Whether records of this name were stored, acknowledged or not; the newest 1,024 names are remembered."""
        with self._at_work():
            return self._tables.first_of(once) is not None

    def spent_bytes(self, deployment: str, day: str) -> int:
        """What the samples of a deployment took on this day."""
        with self._at_work():
            return self._tables.spent_bytes(deployment, day)

    def checkpoint(self, deployment: str) -> bytes | None:
        """The source position stored last; None = start at the beginning."""
        with self._at_work():
            return self._tables.checkpoint(deployment)

    def forget_checkpoint(self, deployment: str) -> None:
        """Start the deployment's source at its beginning next time."""
        with self._transaction(durable=True):
            self._tables.forget_checkpoint(deployment)

    # -- out ---------------------------------------------------------------------

    def take(self, credit: int) -> list[Batch]:
        """What to publish now, so that at most `credit` records are in flight.

        The records count as SENT, on disk, from here on: publish them, or let ACK_TIMEOUT pass. A record in
        flight is offered again after ACK_TIMEOUT and after `lost_contact`.
        """
        with self._at_work():
            now = self._clock.uptime()
            self._in_flight = {seq: until for seq, until in self._in_flight.items() if until > now}
            room = credit - len(self._in_flight)
            self._flows = self._pending <= credit // 2
            if room <= 0 or self._pending == len(self._in_flight):
                return []
            chosen = self._choose(room)
            new = [row for row in chosen if row.kind is not UpKind.PREDICTIONS and not row.sent]
            if new:
                # A window may merge as long as the disk says NEW, so this must outlive a power cut.
                self._mark(new, durable=any(row.kind is UpKind.TELEMETRY for row in new) or self._tables.has_gaps())
                marked = {row.seq: self._tables.read(row.seq) for row in new}
                chosen = [marked.get(row.seq, row) for row in chosen]
            self._offered.update(row.seq for row in chosen if row.kind is UpKind.PREDICTIONS)
            until = now + limits.ACK_TIMEOUT.total_seconds()
            self._in_flight.update(dict.fromkeys((row.seq for row in chosen), until))
            batches = list(cut(chosen, spool=self.id, boot=self._clock.boot, up_ms=round(now * 1e3)))
        reach(FailPoint.RECORDS_TAKEN)
        return batches

    def lost_contact(self) -> None:
        """Call at every new connection: what was in flight may be lost and is offered again."""
        with self._lock:
            self._in_flight.clear()

    def no_contact(self) -> None:
        """Call when the connection is gone: what comes now is kept on disk, and windows may merge."""
        with self._lock:
            self._flows = False

    def acknowledge(self, ack: SpoolAck) -> list[int]:
        """Give up what the server's database holds.

        Returns:
            The seqs that were given up; none when the ack is for another spool or says nothing new.
        """
        if ack.spool != self.id:
            return []
        with self._at_work():
            acknowledged: list[int] = []
            for first, last in ((0, ack.through), *ack.ranges):
                acknowledged += self._give_up(min(first, self._next_seq), min(last, self._next_seq))
            for seq in acknowledged:
                self._in_flight.pop(seq, None)
            self._offered.difference_update(acknowledged)
            if len(self._done) >= _MAX_DONE:
                # Every transaction deletes what is done; where the disk takes none, a later one does.
                with suppress(DiskError), self._transaction(durable=False):
                    pass
            return acknowledged

    def _give_up(self, first: int, last: int) -> list[int]:
        """What may have left, of these numbers."""
        gone = {
            seq: size
            for seq, sent, size in self._tables.between(first, last)
            if (sent or seq in self._offered) and seq not in self._done
        }
        self._done.update(gone)
        for seq in [seq for seq in self._young if first <= seq <= last and seq in self._offered]:
            gone[seq] = len(self._young.pop(seq).data)
        self._pending -= len(gone)
        self._bytes -= sum(gone.values())
        return sorted(gone)

    def is_acknowledged(self, seq: int) -> bool:
        """Whether the server's database holds the report `seq` of this spool."""
        with self._at_work():
            return (seq in self._done or not self._tables.holds(seq)) and 0 <= seq < self._next_seq

    # -- about it ----------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Records not acknowledged yet."""
        return self._pending

    @property
    def counters(self) -> Mapping[str, int]:
        """`spool.corrupt`, `spool.merged`, `spool.dropped`: counts since the file was born; absent = 0."""
        with self._at_work():
            return self._tables.counters()

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            with suppress(PlatformError), self._transaction(durable=True):
                self._reserve(self._next_seq)
            self._connection.close()
            if self.is_damaged:
                set_spool_aside(self._path)

    # -- inside a transaction ------------------------------------------------------

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            try:
                with at_work(self._path):
                    yield
            except DamageError:
                self.is_damaged = True
                raise

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with self._at_work():
            before = (self._next_seq, self._reserved, self._pending, self._bytes)
            try:
                if durable is not self._durable:
                    self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                self._connection.execute("BEGIN IMMEDIATE")
                self._take_along()
                yield
                self._connection.execute("COMMIT")
                self._young.clear()
                self._done.clear()
            except BaseException:
                self._next_seq, self._reserved, self._pending, self._bytes = before
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors.
                    self._connection.execute("ROLLBACK")
                raise

    def _take_along(self) -> None:
        """What waited for a transaction."""
        self._tables.insert(self._young.values())
        for seq in self._done:
            self._tables.delete(seq)

    def _number(self, kind: UpKind, data: bytes, *, sent: bool) -> Row:
        """The next record; whoever asks for it stores it."""
        at_ms, up_ms = round(self._clock.wall() * 1e3), round(self._clock.uptime() * 1e3)
        row = Row(self._next_seq, kind, sent, at_ms, self._clock.boot, up_ms, (), data)
        self._next_seq += 1
        self._pending += 1
        self._bytes += len(data)
        return row

    def _insert(self, kind: UpKind, data: bytes) -> int:
        if self._next_seq >= self._reserved:
            self._reserve(self._next_seq + _RESERVE)
        # It leaves at once; where numbers are to be answered for, it must be NEW for that.
        sent = self._flows and kind is not UpKind.PREDICTIONS and not self._tables.has_gaps()
        row = self._number(kind, data, sent=sent)
        self._tables.insert([row])
        return row.seq

    def _reserve(self, end: int) -> None:
        """Seqs below `end` may be used; in a durable transaction."""
        self._tables.reserve(end)
        self._reserved = end

    def _skip_reserved(self) -> None:
        """The last process was cut off: records that were not on disk may be known to the server, so their seqs are not
        used again. Another record will answer for them.
        """  # noqa: D205 - one sentence
        with self._transaction(durable=True):
            skipped = range(self._next_seq, self._reserved)
            if skipped:
                self._tables.add_gaps(skipped)
                self._tables.go_on_from(self._reserved)
                self._next_seq = self._reserved
            self._tables.set_boot(self._clock.boot)

    def _delete(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            size_bytes = self._tables.delete(seq)
            if size_bytes is not None:
                self._pending -= 1
                self._bytes -= size_bytes
            self._in_flight.pop(seq, None)
            self._offered.discard(seq)

    def _shrink(self) -> None:
        """Bring the records below the limit: merge NEW windows, then give up the oldest of what is expendable."""
        self._merge_windows()
        for kind in _EXPENDABLE:
            while self._bytes > self._limit_bytes:
                seqs = self._tables.oldest_seqs(kind, _DROPPED_AT_ONCE)
                if not seqs:
                    break
                # The server shall not wait for them: another record will answer for their numbers.
                self._tables.add_gaps(seqs)
                self._delete(seqs)
                self._tables.count("spool.dropped", len(seqs))

    def _merge_windows(self) -> None:
        rows = {row.seq: row for row in self._tables.new_windows()}
        windows = [(row.seq, row.data, row.absorbed) for row in rows.values()]
        for kept, data, absorbed in merge_records(windows, limits.MAX_ABSORBED):
            gone = [seq for seq in absorbed if seq in rows]
            self._delete(gone)
            self._rewrite(rows[kept], data=data, absorbed=absorbed)
            self._tables.count("spool.merged", len(gone))

    def _rewrite(self, row: Row, *, data: bytes, absorbed: Sequence[int]) -> None:
        new = replace(row, data=data, absorbed=tuple(absorbed))
        self._tables.rewrite(new)
        self._bytes += new.size_bytes - row.size_bytes

    # -- choosing ------------------------------------------------------------------

    def _choose(self, room: int) -> list[Row]:
        """Reports, the oldest first; then the newest of the rest, whatever they are: the fewer holes in the
        numbers that have arrived, the shorter the server's ledger.
        """  # noqa: D205 - one sentence
        busy = self._in_flight.keys() | self._done
        most = room + len(busy)
        reports = [row for row in self._tables.oldest_reports(most) if row.seq not in busy]
        others = [*self._tables.newest_others(most), *self._young.values()]
        newest = sorted((row for row in others if row.seq not in busy), key=lambda row: row.seq, reverse=True)
        return [*reports, *newest][:room]

    def _mark(self, rows: Sequence[Row], *, durable: bool) -> None:
        """Remember that these NEW ones may leave; they answer for numbers that were given up."""
        with self._transaction(durable=durable):
            self._tables.mark_sent(row.seq for row in rows)
            for row in rows:
                if len(row.absorbed) >= limits.MAX_ABSORBED:
                    continue
                gaps = self._tables.take_gaps(limits.MAX_ABSORBED - len(row.absorbed))
                if not gaps:
                    break
                self._rewrite(row, data=row.data, absorbed=[*row.absorbed, *gaps])
