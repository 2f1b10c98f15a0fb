"""What time it is at least: the system's clock and a floor that survives restarts (`clock.json`).

And what time it is, where the server was asked: that counts for the certificates of servers (`present`), not for what
was signed offline (`now`), which shall end also for a server that lies about the time.

The clock may step in either direction at any moment; nothing here or elsewhere in the agent measures spans with it.
How the floor moves is `edgeops.trust.floor`'s. A file that cannot be read counts as none: expiry is then judged by the
clock alone until the server is heard again.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from device_agent.faultpoint import wall_s
from device_agent.store.aside import read_or_set_aside
from edgeops.digest import write_atomically
from edgeops.trust import floor
from edgeops.trust.floor import Floor, Place

_log = logging.getLogger(__name__)

#: The roles that are signed offline; others are signed again by the server.
_OFFLINE = ("root", "targets")
#: A floor that moved by less is not worth a write to the card.
_WORTH_WRITING = timedelta(hours=1)


def _seconds_passed() -> float:
    """Since the machine booted, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """May be called from any thread."""

    def __init__(
        self, path: Path, *, now: Callable[[], float] = wall_s, passed: Callable[[], float] = _seconds_passed
    ) -> None:
        """`now` tells Unix seconds, `passed` seconds that nobody sets; for tests."""
        self._path = path
        self._now = now
        self._passed = passed
        #: What the server answered, less what had passed by then; until the process ends, or the floor falls.
        self._answered: datetime | None = None
        #: What the server said of itself, likewise.
        self._told: datetime | None = None
        self._lock = threading.Lock()
        #: Files set aside since this process started.
        self.damaged = 0
        self._known = self._written = self._read()

    @property
    def floor(self) -> datetime:
        """What the server said last, within bounds; 1970 before it said anything."""
        return self._known.at

    @property
    def timestamp_keys(self) -> tuple[str, ...]:
        """Ids of the timestamp keys that the floor holds under."""
        return self._known.keys

    def alone(self) -> datetime:
        """What the system's clock shows."""
        return datetime.fromtimestamp(self._now(), UTC)

    def now(self) -> datetime:
        """The later of clock and floor."""
        return max(self.alone(), self._known.at)

    def present(self) -> datetime:
        """What the server answered and what passed since; without an answer, the later of clock and floor."""
        answered = self._answered
        return self.now() if answered is None else answered + timedelta(seconds=self._passed())

    def certain(self) -> datetime | None:
        """What time it is, for what shall happen at a time of day; None = nobody knows.

        The last word of the server and what passed since; without one in this process the system's clock, unless it
        is behind what the server said before: then it was lost, and how far it is behind is not known.
        """
        if self._told is not None:
            return self._told + timedelta(seconds=self._passed())
        alone = self.alone()
        return alone if alone >= self._known.at and self._known.at > floor.NEVER else None

    def now_s(self) -> int:
        """`now` in Unix seconds."""
        return int(self.now().timestamp())

    def __str__(self) -> str:
        """For people who wonder why something has ended."""
        alone = self.alone()
        return f"this device's clock says {alone:%Y-%m-%d %H:%M} UTC, its time floor {self.floor:%Y-%m-%d %H:%M} UTC"

    def answered(self, at: datetime) -> None:
        """The server was asked what time it is, and its answer is proven (`edgeops.trust.moment`)."""
        self._answered = self._told = at - timedelta(seconds=self._passed())
        self._take(partial(floor.answered, at=at))

    def told(self, at: datetime, *, place: Place) -> None:
        """A verified message of the server says that it was sent at this time."""
        is_news = place > self._known.place
        self._take(partial(floor.told, at=at, place=place))
        if is_news and self._known.place == place:
            self._told = at - timedelta(seconds=self._passed())

    def verified(self, expires: Mapping[str, int], timestamp_keys: Sequence[str], *, epoch: int) -> None:
        """TUF metadata was verified: when each role's ends (Unix seconds), and which keys may speak of the time now.

        `epoch` is that of the newest fleet key which is listed; 0 = none.
        """
        ends = min(datetime.fromtimestamp(expires[role], UTC) for role in _OFFLINE)
        if floor.is_fallen(self._known.keys, timestamp_keys):
            _log.info("clock.floor-fell", extra={"floor": str(self.floor)})
            # It was proven under a fleet key that may be in the same hands.
            self._answered = self._told = None
        self._take(partial(floor.verified, ends=ends, keys=timestamp_keys, epoch=epoch))

    def _take(self, change: Callable[[Floor], Floor]) -> None:
        with self._lock:
            self._known = known = change(self._known)
            before = self._written
            is_same = (known.ends, known.keys) == (before.ends, before.keys)
            # Also one that fell: after a power cut the last word counts, not the latest time.
            if is_same and abs(known.at - before.at) < _WORTH_WRITING:
                return
            try:
                write_atomically(self._path, msgspec.json.encode(known))
            except OSError as error:
                # It holds in memory; the next statement is written down.
                _log.warning("clock.not-written", extra={"error": error})
                return
            self._written = known

    def _read(self) -> Floor:
        return read_or_set_aside(self._path, Floor, on_damage=self._count_damage) or Floor()

    def _count_damage(self, error: Exception) -> None:
        _log.warning("clock.damaged", extra={"error": error})
        self.damaged += 1
