"""Ends the presence of devices that fell silent: their broker died with them, so no last will came.

A device tells its state every minute. Silence is measured on service time: as long as the link itself was
not connected, or the database could not be written, nobody counts as silent. Whoever reports again is
online again (`fleet_server.link.reading`). When they were last seen is told by this machine's clock: when that is set,
everybody may be heard anew before anybody counts as silent.
"""

import logging
import threading
import time
from datetime import datetime

from edgeops import limits
from fleet_server.db import devices
from fleet_server.db.database import Database, is_outage
from fleet_server.link.mqtt import Broker
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

_INTERVAL_S = limits.LAST_SEEN_INTERVAL.total_seconds()
#: Devices in one transaction; the others come next time.
_BATCH = 500
_SILENCE_S = limits.SILENCE_TIMEOUT.total_seconds()


class SilenceWatch:
    """One thread that looks at the devices now and then."""

    def __init__(self, database: Database, *, broker: Broker, stopping: threading.Event) -> None:
        self._database = database
        self._broker = broker
        self._stopping = stopping
        #: Since when devices could have been heard without a gap; None = they cannot be.
        self._hearing_since_s: float | None = None
        #: The last look, by the clock that may be set and by the one that may not.
        self._looked: tuple[datetime, float] | None = None

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.wait(_INTERVAL_S):
            try:
                self.look(now=utc_now(), now_s=time.monotonic())
            except Exception as error:
                # The border between the watch and the world: what could not be written was not heard either.
                if not is_outage(error):
                    raise
                self._hearing_since_s = None

    def look(self, *, now: datetime, now_s: float) -> None:
        """Mark those offline that said nothing for SILENCE_TIMEOUT, if they could have been heard all the time."""
        is_set = self._clock_is_set(now, now_s)
        if not self._broker.is_connected:
            self._hearing_since_s = None
            return
        if self._hearing_since_s is None or is_set:
            self._hearing_since_s = now_s
        if now_s - self._hearing_since_s < _SILENCE_S:
            return
        with self._database.read() as connection:
            silent = devices.silent_ids(connection, now=now, limit=_BATCH)
        if not silent:
            return
        with self._database.write() as connection:
            gone = devices.end_silent(connection, silent, now=now)
        log.warning("presence.silent devices=%d", gone)

    def _clock_is_set(self, now: datetime, now_s: float) -> bool:
        """Whether the machine's clock was set since the last look."""
        before, before_s = self._looked or (now, now_s)
        self._looked = now, now_s
        return abs((now - before).total_seconds() - (now_s - before_s)) >= _INTERVAL_S
