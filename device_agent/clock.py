"""What time it is at least: the system's clock and a floor that survives restarts (`clock.json`).

And what time it is, where the server was asked: that counts for the certificates of servers (`present`), not for what
was signed offline (`now`), which shall end also for a server that lies about the time.

The clock may step in either direction at any moment; nothing here or elsewhere in the agent measures spans with it.
How a floor rises is `edgeops.trust.floor`'s. A file that cannot be read counts as none: expiry is then judged by the
clock alone until the server is heard again.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from device_agent.faultpoint import wall_s
from device_agent.store.aside import set_aside
from edgeops.digest import write_atomically
from edgeops.protocol.messages import Moment
from edgeops.trust.floor import NEVER, raised

_log = logging.getLogger(__name__)

#: The roles that are signed offline; others are signed again by the server.
_OFFLINE = ("root", "targets")
#: A floor that rose by less is not worth a write to the card.
_WORTH_WRITING = timedelta(hours=1)


def _seconds_passed() -> float:
    """Since the machine booted, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    floor: Moment = NEVER
    #: When the first of what was signed offline ends, by the metadata that was verified last.
    ends: Moment | None = None


class Clock:
    """May be called from any thread."""

    def __init__(
        self, path: Path, *, now: Callable[[], float] = wall_s, passed: Callable[[], float] = _seconds_passed
    ) -> None:
        """`now` tells Unix seconds, `passed` seconds that nobody sets; for tests."""
        self._path = path
        self._now = now
        self._passed = passed
        #: What the server answered, less what had passed by then; it holds until the process ends.
        self._answered: datetime | None = None
        self._lock = threading.Lock()
        #: Files set aside since this process started.
        self.damaged = 0
        self._known = self._written = self._read()

    @property
    def floor(self) -> datetime:
        """What certainly has passed; 1970 before any statement."""
        return self._known.floor

    def now(self) -> datetime:
        """The later of clock and floor."""
        return max(datetime.fromtimestamp(self._now(), UTC), self._known.floor)

    def present(self) -> datetime:
        """What the server answered and what passed since; without an answer, the later of clock and floor."""
        if self._answered is None:
            return self.now()
        return max(self._answered + timedelta(seconds=self._passed()), self._known.floor)

    def answered(self, at: datetime) -> None:
        """The server was asked what time it is, and its answer is proven (`edgeops.trust.moment`)."""
        self._answered = at - timedelta(seconds=self._passed())
        self.told(at)

    def now_s(self) -> int:
        """The same in Unix seconds."""
        return int(self.now().timestamp())

    def __str__(self) -> str:
        """For people who wonder why something has ended."""
        clock = datetime.fromtimestamp(self._now(), UTC)
        return f"this device's clock says {clock:%Y-%m-%d %H:%M} UTC, its time floor {self.floor:%Y-%m-%d %H:%M} UTC"

    def verified(self, expires: Mapping[str, int]) -> None:
        """TUF metadata was verified: when each role's ends, Unix seconds."""
        ends = [datetime.fromtimestamp(expires[role], UTC) for role in _OFFLINE if role in expires]
        if ends:
            self._take(lambda known: msgspec.structs.replace(known, ends=min(ends)))

    def told(self, at: datetime) -> None:
        """A verified message of the server says that it was sent at this time."""
        self._take(lambda known: msgspec.structs.replace(known, floor=raised(known.floor, at, ends=known.ends)))

    def _take(self, change: Callable[[_Known], _Known]) -> None:
        with self._lock:
            self._known = known = change(self._known)
            before = self._written
            if known.ends == before.ends and known.floor - before.floor < _WORTH_WRITING:
                return
            try:
                write_atomically(self._path, msgspec.json.encode(known))
            except OSError as error:
                # It holds in memory; the next statement is written down.
                _log.warning("clock.not-written", extra={"error": error})
                return
            self._written = known

    def _read(self) -> _Known:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Known)
        except FileNotFoundError:
            return _Known()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("clock.damaged", extra={"error": error})
            self.damaged += 1
            set_aside(self._path)
            return _Known()
