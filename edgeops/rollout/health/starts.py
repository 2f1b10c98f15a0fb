"""How often an agent started anew before it was asked: the measure for starts since.

A device counts its starts, and the server notes when it heard of each further one. It keeps the newest few, so of a
device that starts very often the time before the oldest of them is taken to have been like the time after it. Which
windows are of that time is decided by the caller.
"""

from collections.abc import Sequence
from datetime import datetime
from math import ceil

from edgeops import limits


def noted(starts: Sequence[int], *, more: int, at: datetime) -> tuple[int, ...]:
    """The newest starts, in seconds since 1970, after `more` of them were heard of at once."""
    fresh = (int(at.timestamp()),) * min(more, limits.STARTS_KEPT)
    return (*starts, *fresh)[-limits.STARTS_KEPT :]


def starts_between(starts: Sequence[int], opened_at: datetime, asked_at: datetime) -> int:
    """How many there were from the opening of the first window that is counted until the device was asked."""
    first, last = opened_at.timestamp(), asked_at.timestamp()
    count = sum(first <= one < last for one in starts)
    is_cut = len(starts) >= limits.STARTS_KEPT and first < starts[0] < last
    return ceil(count * (last - first) / (last - starts[0])) if is_cut else count
