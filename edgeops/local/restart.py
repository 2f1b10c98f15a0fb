"""Decides whether and when a process that ended is started again. Pure: it is told the times and starts nothing."""

from collections.abc import Sequence
from datetime import timedelta

from edgeops import limits


def pause_before_restart(ends_s: Sequence[float]) -> timedelta | None:
    """How long a process that has just ended rests before it starts again; None = give up.

    The pause doubles with each end of late: one that fell over once is back at once, one that cannot
    live gets a few more chances, each later than the one before.

    Args:
        ends_s: when it ended, each time, in seconds of one monotonic clock; the last one is now.
    """
    span_s = limits.RESTART_SPAN.total_seconds()
    lately = sum(ends_s[-1] - end_s < span_s for end_s in ends_s)
    return None if lately >= limits.RESTART_ENDS else limits.RESTART_PAUSE * 2 ** (lately - 1)
