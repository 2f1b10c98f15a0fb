"""Dies, stands still, errs or mistakes the time on purpose, at the fail point that the environment names.

Without `EDGEOPS_FAIL_POINT` nothing happens. What points and faults mean is in `edgeops.update.faults`.
"""

import os
import signal
import threading
import time
from collections import Counter
from typing import assert_never

from edgeops.update.faults import CLOCKS, HANG, VARIABLE, FailPoint, Fault, parse

#: What the fault did to the clock.
_clock_ahead_s = 0.0
_armed = parse(os.environ.get(VARIABLE, ""))
_reached: Counter[FailPoint] = Counter()


def reach(point: FailPoint) -> None:
    """Pass `point`, unless this process is armed to come to grief there.

    Raises:
        RuntimeError: the fault is an error that nobody foresaw.
    """
    if _armed is None or _armed.point is not point:
        return
    _reached[point] += 1
    if _reached[point] != _armed.time:
        return
    match _armed.fault:
        case Fault.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fault.STOP:
            # To this thread, which then stops first; one to the process may be taken by a thread that runs later.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case Fault.ERROR:
            raise RuntimeError(f"armed to fail at {point}")
        case Fault.HANG:
            time.sleep(HANG.total_seconds())
        case Fault.CLOCK_1970 | Fault.CLOCK_2038:
            _turn_clock(CLOCKS[_armed.fault].timestamp())
        case _:
            assert_never(_armed.fault)


def wall_s() -> float:
    """What the system's clock shows, in Unix seconds, unless a fault turned it."""
    return time.time() + _clock_ahead_s


def _turn_clock(to_s: float) -> None:
    global _clock_ahead_s  # noqa: PLW0603 - one clock a process
    _clock_ahead_s = to_s - time.time()
