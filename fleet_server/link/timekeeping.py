"""Whom the link shall tell what time it is, besides those that began a session: who was told long ago, or wrongly.

A device keeps the last word it heard of the time over restarts, and judges by it what has ended. So every device that
is heard is told once a day, when the link has started anew, and at once when this machine's clock stepped: then
everybody was told the wrong time before, or is from now on, and an event says so. Which of the two is not known here.
"""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from edgeops import limits
from fleet_server.db import events
from fleet_server.db.database import Database
from fleet_server.db.events import EventKind
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)


def _seconds_passed() -> float:
    """Since the machine booted, sleep included: a sleep is no step."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Timekeeping:
    """For one thread."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime] = utc_now,
        passed: Callable[[], float] = _seconds_passed,
    ) -> None:
        """`now` is this machine's clock, `passed` tells seconds that nobody sets; for tests."""
        self._database = database
        self._now = now
        self._passed = passed
        self._looked = (now(), passed())
        #: By device, when it shall be told again, in passed seconds.
        self._due_s: dict[str, float] = {}

    def due(self, heard: Iterable[str]) -> set[str]:
        """Those of the devices just heard that shall be told the time.

        Raises:
            SQLAlchemyError: a step could not be written down; it is found again.
        """
        self._look()
        passed_s = self._passed()
        return {device_id for device_id in heard if self._due_s.get(device_id, passed_s) <= passed_s}

    def told(self, device_id: str) -> None:
        """It was told now."""
        self._due_s[device_id] = self._passed() + limits.TIME_TOLD_AGAIN_AFTER.total_seconds()

    def _look(self) -> None:
        (before, before_s), (now, passed_s) = self._looked, (self._now(), self._passed())
        step_s = (now - before).total_seconds() - (passed_s - before_s)
        if abs(step_s) >= limits.CLOCK_STEP.total_seconds():
            with self._database.write() as connection:
                events.append(connection, EventKind.CLOCK_STEPPED, "server", {"by_s": round(step_s)}, now)
            log.warning("clock.stepped by_s=%d now=%s", step_s, now.isoformat())
            self._due_s.clear()
        self._looked = (now, passed_s)
