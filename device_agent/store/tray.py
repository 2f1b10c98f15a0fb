"""What deployments want in the spool lies here, in order, until a thread of its own has written it.

So no input waits for the disk. While the disk takes nothing (full, read-only) the tray keeps what fits TRAY_BYTES:
then telemetry windows merge, which loses no row; what is still too much goes, counted, the oldest predictions first.
A window and the source position that accounts for it stay together, and nothing overtakes anything. What the inputs up
to that position showed of a candidate is written down before it: they do not come again after a power cut.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import Condition, Thread

from device_agent.store.merging import merge_records
from device_agent.store.records import Entry, check
from device_agent.store.spool import Spool
from edgeops import limits
from edgeops.errors import PlatformError
from edgeops.protocol.topics import UpKind

_log = logging.getLogger(__name__)

_RETRY_MIN_S = limits.RETRY_MIN.total_seconds()
_RETRY_MAX_S = limits.UPDATE_RETRY_AFTER.total_seconds()
#: Entries that go into one transaction.
_GROUP = 64


class Tray:
    """Before one spool; every method may be called from any thread."""

    def __init__(self, spool: Spool, *, settle: Callable[[str], object], limit_bytes: int = limits.TRAY_BYTES) -> None:
        """In the tray's thread, `settle` hears of a deployment before a position of its source is stored."""
        self._spool = spool
        self._settle = settle
        self._limit_bytes = limit_bytes
        self._entries: list[Entry] = []
        self._bytes = 0
        self._news = Condition()
        self._closing = False
        #: Entries at the front that are being written: they stay where they are.
        self._busy = 0
        self._counters: Counter[str] = Counter()
        self._thread = Thread(target=self._run, name="tray", daemon=True)
        self._thread.start()

    def append(self, kind: UpKind, data: bytes, *, checkpoint: tuple[str, bytes] | None = None) -> None:
        """Take in one record, and where its source stands; never waits for the disk.

        Raises:
            MessageError: no record that a spool takes.
        """
        check(kind, data)
        with self._news:
            self._entries.append(Entry(kind, data, checkpoint))
            self._bytes += len(data)
            if self._bytes > self._limit_bytes:
                self._shrink()
            self._news.notify_all()

    @property
    def pending(self) -> int:
        """Records that are not in the spool yet."""
        return len(self._entries)

    @property
    def is_crowded(self) -> bool:
        """Whether what can wait should: too many records wait for the server, or for the disk."""
        return self._spool.pending + self.pending > limits.MAX_REPLAY_PENDING or self.pending > _GROUP

    @property
    def counters(self) -> Mapping[str, int]:
        """`spool.errors`: writes that failed; `tray.dropped`: records given up meanwhile."""
        return Counter(self._counters)

    def checkpoint(self, deployment: str) -> bytes | None:
        """The source position taken in last; None = start at the beginning."""
        with self._news:
            for entry in reversed(self._entries):
                if entry.checkpoint is not None and entry.checkpoint[0] == deployment:
                    return entry.checkpoint[1]
        return self._spool.checkpoint(deployment)

    def settled(self, timeout_s: float) -> bool:
        """Whether everything is in the spool, after waiting for it a while."""
        with self._news:
            return self._news.wait_for(lambda: not self._entries, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write what is left, as far as the disk takes it in this time."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(timeout_s)
        if self._entries:
            _log.warning("tray.lost", extra={"records": len(self._entries)})

    # -- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._entries or self._closing)
                if not self._entries:
                    return
                group = self._entries[:_GROUP]
                self._busy = len(group)
            written = self._write(group)
            with self._news:
                self._busy = 0
                if written:
                    del self._entries[: len(group)]
                    self._bytes -= sum(len(entry.data) for entry in group)
                    pause_s = 0.0
                    self._news.notify_all()
                    continue
                if self._closing:
                    return
                pause_s = min(max(_RETRY_MIN_S, 2 * pause_s), _RETRY_MAX_S)
                self._news.wait_for(lambda: self._closing, pause_s)

    def _write(self, group: Sequence[Entry]) -> bool:
        try:
            for deployment in {entry.checkpoint[0] for entry in group if entry.checkpoint is not None}:
                self._settle(deployment)
            self._spool.append_entries(group)
        except PlatformError as error:
            self._counters["spool.errors"] += 1
            if self._counters["spool.errors"] & (self._counters["spool.errors"] - 1) == 0:
                _log.warning("tray.delayed", extra={"records": len(group), "error": error})
            return False
        except Exception:  # noqa: BLE001 - a task's border: nobody would write what comes after
            self._counters["spool.errors"] += 1
            _log.exception("tray.delayed", extra={"records": len(group)})
            return False
        return True

    # -- too much -----------------------------------------------------------------------

    def _shrink(self) -> None:
        """Merge windows, then give up the oldest predictions, then the oldest of all; not what is being written."""
        busy, waiting = self._entries[: self._busy], self._entries[self._busy :]
        waiting = _merged(waiting)
        size = sum(len(entry.data) for entry in (*busy, *waiting))
        for kinds in ((UpKind.PREDICTIONS,), tuple(UpKind)):
            kept = []
            for entry in waiting:
                if size > self._limit_bytes and entry.kind in kinds:
                    size -= len(entry.data)
                    self._counters["tray.dropped"] += 1
                else:
                    kept.append(entry)
            waiting = kept
        self._entries, self._bytes = [*busy, *waiting], size


def _merged(entries: Sequence[Entry]) -> list[Entry]:
    """Windows of one deployment, artifact and phase as one, in the place of the last, with its source position."""
    windows = [(at, entry.data, ()) for at, entry in enumerate(entries) if entry.kind is UpKind.TELEMETRY]
    merged: dict[int, bytes] = {}
    gone: set[int] = set()
    for kept, data, absorbed in merge_records(windows, len(entries)):
        merged[kept] = data
        gone.update(absorbed)
    return [
        Entry(entry.kind, merged.get(at, entry.data), entry.checkpoint)
        for at, entry in enumerate(entries)
        if at not in gone
    ]
