"""Tells that a device floods, and has the broker cut it off for a while when dropping it disturbs the others.

A device that says more than its share is told once a minute as one event, however many messages were dropped.
Dropping one costs this process time; a device of which very many were dropped loses its broker account for CUT_OFF,
which ends its connection. It keeps its place in the fleet and its spool, and is let in again by itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from edgeops import limits
from fleet_server.db import devices, events
from fleet_server.db.database import Database, is_outage
from fleet_server.db.events import EventKind
from fleet_server.link.allowance import Allowance
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_ALERT_S = limits.ALERT_INTERVAL.total_seconds()


class FloodWatch:
    """One thread that looks at what was dropped."""

    def __init__(
        self,
        database: Database,
        *,
        allowance: Allowance,
        publish_accounts: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        self._database = database
        self._allowance = allowance
        self._publish_accounts = publish_accounts
        self._stopping = stopping
        #: Dropped and not told yet: messages and bytes.
        self._untold: dict[str, tuple[int, int]] = {}
        #: When a device was told of last.
        self._told_s: dict[str, float] = {}
        #: Until when somebody is cut off; None = nobody is.
        self._next_end: datetime | None = None

    def run(self) -> None:
        """Look until stopped."""
        with self._database.read() as connection:
            self._next_end = devices.next_cut_off_end(connection)
        while not self._stopping.is_set():
            self._allowance.alarm.wait(_INTERVAL_S)
            try:
                self.look(now=utc_now(), now_s=time.monotonic())
            except Exception as error:
                # The border between the watch and the world: what could not be told is told later.
                if not is_outage(error):
                    raise
                self._stopping.wait(_INTERVAL_S)

    def look(self, *, now: datetime, now_s: float) -> None:
        """Tell what is due, cut off who disturbs the others, let in again whose time is over."""
        floods = self._allowance.floods()
        for flood in floods:
            messages, size_bytes = self._untold.get(flood.device_id, (0, 0))
            self._untold[flood.device_id] = messages + flood.messages, size_bytes + flood.size_bytes
        harmful = {flood.device_id for flood in floods if flood.is_harmful}
        due = {one for one in self._untold if one in harmful or now_s - self._told_s.get(one, -_ALERT_S) >= _ALERT_S}
        if due:
            self._tell(due, harmful, now)
            self._told_s |= dict.fromkeys(due, now_s)
            for device_id in due:
                del self._untold[device_id]
        # Further away than any end is set: the clock was put back.
        ended = self._next_end is not None and not now < self._next_end <= now + limits.CUT_OFF
        if harmful or ended:
            self._publish_accounts()
            with self._database.read() as connection:
                self._next_end = devices.next_cut_off_end(connection, after=now)

    def _tell(self, due: Iterable[str], harmful: Iterable[str], now: datetime) -> None:
        until = now + limits.CUT_OFF
        with self._database.write() as connection:
            devices.cut_off(connection, harmful, until=until)
            for device_id in sorted(due):
                messages, size_bytes = self._untold[device_id]
                data: dict[str, object] = {"messages": messages, "bytes": size_bytes}
                if device_id in harmful:
                    data["cut_off_until"] = until.isoformat()
                events.append(connection, EventKind.DEVICE_FLOODS, device_id, data, now)
                log.warning("flood.dropped device=%s messages=%d bytes=%d", device_id, messages, size_bytes)
