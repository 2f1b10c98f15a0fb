"""Tells what the broker refused: reads its log as it grows, and makes events of it, at most one a minute of each kind.

What an enrolled device tried has that device as its subject; what strangers tried is told together, with the subject
`broker`, whatever they called themselves. What the broker refused while no link ran stands in its log alone.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from edgeops import limits
from edgeops.protocol.topics import is_id
from fleet_server.broker_log import Attempt, Refused, refusals
from fleet_server.db import devices, events
from fleet_server.db.database import Database, is_outage
from fleet_server.db.events import EventKind
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_ALERT_S = limits.ALERT_INTERVAL.total_seconds()
_PIECE_BYTES = 1024 * 1024
#: Looked up at a time; more clients than this are not told apart.
_NAMES = 500
STRANGERS = "broker"

_Key = tuple[str, Attempt]


class RefusalWatch:
    """One thread that follows the log."""

    def __init__(self, database: Database, *, path: Path, stopping: threading.Event) -> None:
        self._database = database
        self._path = path
        self._stopping = stopping
        #: The file that is followed, and how far it was read.
        self._place: tuple[int, int] | None = None
        #: Not told yet: how often, and the latest detail.
        self._untold: dict[_Key, tuple[int, str]] = {}
        self._told_s: dict[_Key, float] = {}

    def run(self) -> None:
        """Follow until stopped, from the present end on."""
        self._place = self._end()
        while not self._stopping.wait(_INTERVAL_S):
            try:
                self.look(now=utc_now(), now_s=time.monotonic())
            except Exception as error:
                # The border between the watch and the world: what could not be told is told later.
                if not is_outage(error):
                    raise

    def look(self, *, now: datetime, now_s: float) -> None:
        """Take in what is new, tell what is due."""
        attempts = list(refusals(self._news()))
        enrolled = self._enrolled(attempts)
        for refused in attempts:
            # Whoever was not let in may have called itself anything.
            known = refused.client in enrolled and refused.attempt is not Attempt.NOT_AUTHORISED
            key = refused.client if known else STRANGERS, refused.attempt
            self._untold[key] = self._untold.get(key, (0, ""))[0] + 1, refused.detail
        due = [key for key in self._untold if now_s - self._told_s.get(key, -_ALERT_S) >= _ALERT_S]
        if not due:
            return
        with self._database.write() as connection:
            for subject, attempt in due:
                count, detail = self._untold[subject, attempt]
                data = {"attempt": attempt, "count": count, "detail": detail[: limits.MAX_DETAIL_LENGTH]}
                events.append(connection, EventKind.CONNECTION_REFUSED, subject, data, now)
                log.warning("broker.attempt subject=%s attempt=%s count=%d", subject, attempt, count)
        for key in due:
            del self._untold[key]
            self._told_s[key] = now_s

    def _enrolled(self, attempts: Sequence[Refused]) -> frozenset[str]:
        names = list({refused.client for refused in attempts if is_id(refused.client)})[:_NAMES]
        if not names:
            return frozenset()
        with self._database.read() as connection:
            return frozenset(device.id for device in devices.some(connection, names))

    def _news(self) -> str:
        """Whole lines that were written since the last look."""
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                begin = self._place[1] if self._place is not None and self._place[0] == inode else 0
                file.seek(begin)
                data = file.read(_PIECE_BYTES)
        except OSError:
            return ""
        whole = data[: data.rfind(b"\n") + 1]
        self._place = inode, begin + len(whole)
        return whole.decode(errors="replace")

    def _end(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size
