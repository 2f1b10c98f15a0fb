"""Says that devices are heard: the service clock runs only while this is said.

It is written while the link is connected to its broker and what it hears is committed; the write itself needs the
database that ingestion needs.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from edgeops import limits
from fleet_server.db.database import Database, is_outage
from fleet_server.link.mqtt import Broker
from fleet_server.service_clock import beat
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

_INTERVAL_S = limits.HEARTBEAT_INTERVAL.total_seconds()
#: Until the first one, the clock of a site that begins stands still.
_FIRST_S = 0.2


class Heartbeat:
    """One thread that says it now and then."""

    def __init__(
        self, database: Database, *, broker: Broker, commits: Callable[[], bool], stopping: threading.Event
    ) -> None:
        """`commits` = ingestion gets its batches into the database."""
        self._database = database
        self._broker = broker
        self._commits = commits
        self._stopping = stopping

    def run(self) -> None:
        """Say it until stopped."""
        pause_s = _FIRST_S
        while not self._stopping.wait(pause_s):
            if self.say(now=utc_now()):
                pause_s = _INTERVAL_S

    def say(self, *, now: datetime) -> bool:
        """Say it, if it is so; whether it was said."""
        if not (self._broker.is_connected and self._commits()):
            return False
        try:
            with self._database.write() as connection:
                beat(connection, now)
        except Exception as error:
            # The border between the heartbeat and the world: what cannot be written is not said.
            if not is_outage(error):
                raise
            log.warning("heartbeat.unsaid error=%s", error)
            return False
        return True
