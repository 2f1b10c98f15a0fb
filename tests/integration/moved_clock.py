"""Processes whose clocks a test sets ahead while they run: a day passes in as long as they take to live through it.

As a program, `python -m tests.integration.moved_clock FILE GLANCE_S agent SPOOL_BYTES ARGUMENTS...` runs an agent with a
spool of so many bytes, and `... FILE GLANCE_S server ARGUMENTS...` a process of a server, with clocks that show what the
system's show plus what `MovedClock` wrote into FILE. The clocks and the timed waits of the standard library are replaced
before anything of ours is loaded: a wait ends at most GLANCE_S of real time after the clock that is shown has come to
its end. `sleep`, joins and what the kernel waits for (sockets, children) take real time.
"""

import mmap
import queue
import sys
import threading
import time
from pathlib import Path

_SIZE_BYTES = 8


class MovedClock:
    """The test's end: how far ahead the clocks of its processes are, in seconds."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_SIZE_BYTES))
        self.path = path
        self.ahead_s = 0.0
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SIZE_BYTES)
        # Written and read whole, which `struct` does not promise: it fills with zeros first.
        self._ahead = memoryview(self._shared).cast("d")

    def move(self, seconds: float) -> None:
        self.ahead_s += seconds
        self._ahead[0] = self.ahead_s

    def close(self) -> None:
        self._ahead.release()
        self._shared.close()


def _set_clocks(path: Path) -> None:
    with path.open("rb") as file:
        ahead = memoryview(mmap.mmap(file.fileno(), _SIZE_BYTES, access=mmap.ACCESS_READ)).cast("d")

    for name in ("time", "monotonic", "perf_counter"):
        real, real_ns = getattr(time, name), getattr(time, f"{name}_ns")
        setattr(time, name, lambda real=real: real() + ahead[0])
        setattr(time, f"{name}_ns", lambda real_ns=real_ns: real_ns() + round(ahead[0] * 1e9))
    gettime = time.clock_gettime
    time.clock_gettime = lambda which: gettime(which) + ahead[0]
    threading._time = time.monotonic


def _set_waits(glance_s: float) -> None:
    wait = threading.Condition.wait

    def wait_by_the_clock(self, timeout=None):
        if timeout is None:
            return wait(self)
        ends_s = time.monotonic() + timeout
        while (left_s := ends_s - time.monotonic()) > 0:
            if wait(self, min(left_s, glance_s)):
                return True
        return False

    class Queue(queue.SimpleQueue):
        def get(self, block=True, timeout=None):  # noqa: FBT002 - the standard library's
            if not block or timeout is None:
                return super().get(block)
            ends_s = time.monotonic() + timeout
            while True:
                left_s = ends_s - time.monotonic()
                try:
                    return super().get(timeout=max(0.0, min(left_s, glance_s)))
                except queue.Empty:
                    if left_s <= 0:
                        raise

    threading.Condition.wait = wait_by_the_clock
    queue.SimpleQueue = Queue


def _main(clock: str, glance_s: str, program: str, *arguments: str) -> int:
    _set_clocks(Path(clock))
    _set_waits(float(glance_s))

    if program == "server":
        from fleet_server import cli as server

        return server.main(arguments)
    from edgeops import limits

    spool_bytes, *arguments = arguments
    limits.SPOOL_BYTES = int(spool_bytes)
    from device_agent import cli as agent

    return agent.main(arguments)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
