"""Proves that the agent's loops turn, and ends the process when one does not, so that its supervisor starts a new one.

A loop counts its turns (`Pulse`); whether server, broker or sensor answer is no turn and no hang. Silence is measured
in the watchdog's own turns, each worth no more than twice its interval: while the machine sleeps, the process is
stopped or nothing gets the processor, nobody grows silent, and no step of a clock counts. Under systemd the same thread
feeds its watchdog (sd_notify(3)).
"""

import faulthandler
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from threading import Event, Thread

from edgeops import limits

_log = logging.getLogger(__name__)

#: The exit code of a process that ended itself because a loop hung (EX_SOFTWARE, sysexits.h).
HUNG = 70
_INTERVAL_S = 1.0


class Pulse:
    """One loop's turns; counting costs it next to nothing and takes no lock."""

    __slots__ = ("resting", "turns")

    def __init__(self) -> None:
        self.turns = 0
        #: It waits for work, or has not begun, and may do so for ever.
        self.resting = True

    def beat(self) -> None:
        """The loop turned."""
        self.turns += 1
        self.resting = False

    def rest(self) -> None:
        """The loop waits for work."""
        self.turns += 1
        self.resting = True


class Vigil:
    """How long each loop has been silent, by the turns of whoever looks."""

    def __init__(self, *, most_s: float) -> None:
        """`most_s`: one look counts for so long at most, however much time has passed."""
        self._most_s = most_s
        self._watched: dict[str, tuple[Pulse, float]] = {}
        self._seen: dict[str, tuple[int, float]] = {}

    def watch(self, name: str, pulse: Pulse, *, hangs_after: timedelta) -> None:
        """Hold this loop to it."""
        self._watched[name] = pulse, hangs_after.total_seconds()

    def forget(self, name: str) -> None:
        """The loop ends, and nobody shall miss it."""
        self._watched.pop(name, None)
        self._seen.pop(name, None)

    @property
    def turns(self) -> Mapping[str, int]:
        """Of each loop, for `status` and tests."""
        return {name: pulse.turns for name, (pulse, _) in list(self._watched.items())}

    def look(self, elapsed_s: float) -> str | None:
        """The loop that hangs, if one does; `elapsed_s` since the last look."""
        for name, (pulse, after_s) in list(self._watched.items()):
            turns, silent_s = self._seen.get(name, (-1, 0.0))
            moved = pulse.turns != turns or pulse.resting
            silent_s = 0.0 if moved else silent_s + min(elapsed_s, self._most_s)
            self._seen[name] = pulse.turns, silent_s
            if silent_s >= after_s:
                return name
        return None


class Watchdog:
    """The thread that looks."""

    def __init__(self, *, interval_s: float = _INTERVAL_S, end: Callable[[str], None] | None = None) -> None:
        """`end` is called with the name of a loop that hangs; it ends the process unless a test says otherwise."""
        self._vigil = Vigil(most_s=2 * interval_s)
        self._interval_s = interval_s
        self._end = end or _end_process
        self._closing = Event()
        self._thread = Thread(target=self._run, name="watchdog", daemon=True)

    def pulse(self, name: str, *, hangs_after: timedelta | None = None) -> Pulse:
        """The pulse of a new loop; it is watched from now on."""
        pulse = Pulse()
        self._vigil.watch(name, pulse, hangs_after=hangs_after or limits.LOOP_HANGS_AFTER)
        return pulse

    def forget(self, name: str) -> None:
        """The loop ends, and the process goes on."""
        self._vigil.forget(name)

    @property
    def turns(self) -> Mapping[str, int]:
        """How often each loop has turned."""
        return self._vigil.turns

    def start(self) -> None:
        """Begin to look."""
        notify("READY=1")
        self._thread.start()

    def close(self, *, goes_on: bool = False) -> None:
        """Look no more: what ends in order may take its time. `goes_on`: another agent begins in this process."""
        if not goes_on:
            notify("STOPPING=1")
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        last_s = time.monotonic()
        while not self._closing.wait(self._interval_s):
            now_s = time.monotonic()
            hung = self._vigil.look(now_s - last_s)
            last_s = now_s
            if hung is not None:
                self._end(hung)
                return
            notify("WATCHDOG=1")


def notify(state: str) -> None:
    """Tell systemd, if it asked for it: one datagram (sd_notify(3)); nobody there is nobody's harm."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        _log.warning("notify.failed", extra={"error": error})


def _end_process(hung: str) -> None:
    """Not an exception: whoever hangs would not hear it. All that counts is on disk before it counts."""
    _log.critical("loop.hangs", extra={"loop": hung})
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback(sys.__stderr__)
    os._exit(HUNG)
