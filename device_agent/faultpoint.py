"""Dies on purpose, as a power cut would, at the fail point that the environment names.

Without `EDGEOPS_FAIL_POINT` nothing happens. What the points mean is in `edgeops.update.faults`.
"""

import os
import signal
from collections import Counter

from edgeops.update.faults import VARIABLE, FailPoint, parse

_armed = parse(os.environ.get(VARIABLE, ""))
_reached: Counter[FailPoint] = Counter()


def reach(point: FailPoint) -> None:
    """Pass `point`, or end this process with SIGKILL there."""
    if _armed is None or _armed[0] is not point:
        return
    _reached[point] += 1
    if _reached[point] == _armed[1]:
        os.kill(os.getpid(), signal.SIGKILL)
