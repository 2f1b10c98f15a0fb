"""The time floor: a moment that certainly has passed, for devices whose clock may be lost.

A device without a clock battery boots in 1970, or wherever its clock stood. What it was told under a signature is
later than that, so expiry is judged by the later of clock and floor. Only signed statements raise the floor, and never
to the end of anything that was signed offline: whoever has the server's keys can lie about the time, and must not be
able to end with a lie what only the offline keys could sign again.
"""

from datetime import UTC, datetime, timedelta

#: Before any statement: the clock alone is known.
NEVER = datetime.fromtimestamp(0, UTC)
_BEFORE_THE_END = timedelta(seconds=1)


def raised(floor: datetime, told: datetime, *, ends: datetime | None) -> datetime:
    """The floor after a signed statement was `told` to be of this time.

    `ends` is when the first of what was signed offline ends; None = nothing was verified yet, so nothing bounds a lie.
    """
    if ends is None:
        return floor
    return max(floor, min(told, ends - _BEFORE_THE_END))
