"""Dies, stands still or errs on purpose, at the fail point that the environment names.

Without `EDGEOPS_FAIL_POINT` nothing happens. What points and faults mean is in `edgeops.update.faults`.
"""

import os
import signal
from collections import Counter
from typing import assert_never

from edgeops.update.faults import VARIABLE, FailPoint, Fault, parse

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
            os.kill(os.getpid(), signal.SIGSTOP)
        case Fault.ERROR:
            raise RuntimeError(f"armed to fail at {point}")
        case _:
            assert_never(_armed.fault)
