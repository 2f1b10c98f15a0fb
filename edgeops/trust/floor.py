"""The time floor: what time it is by the last word that somebody signed, for devices whose clock may be lost.

A device without a clock battery boots in 1970, or wherever its clock stood. What it was told under a fleet key is
later than that, so expiry is judged by the later of clock and floor. It is the last word and not the latest time: a
server whose clock went wrong for a moment puts it right by saying the time once more. Words are ordered by their place,
so that who has no fleet key can withhold one, and never bring an earlier one back.

Who has a fleet key can lie. A lie never takes the floor to the end of anything that was signed offline, and the floor
falls when a root replaces the timestamp keys, as everything that was signed with those does (TUF specification 1.0,
5.3.11): that takes the keys of root, and is how devices are won back from a thief.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from edgeops.protocol.messages import Moment

#: Before any statement: the clock alone is known.
NEVER = datetime.fromtimestamp(0, UTC)
_BEFORE_THE_END = timedelta(seconds=1)

#: Where a word stands: the epoch of the fleet key, its session's counter, its number in it.
Place = tuple[int, int, int]


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the time; `clock.json`."""

    at: Moment = NEVER
    #: When the first of what was signed offline ends; None = nothing was verified yet, so nothing bounds a lie.
    ends: Moment | None = None
    #: Ids of the timestamp keys of the root that was verified last.
    keys: tuple[str, ...] = ()
    #: Of the last word; what stands before it, or there, says nothing.
    place: Place = (0, 0, 0)


def told(floor: Floor, at: datetime, *, place: Place) -> Floor:
    """After a message of the server said that it was sent `at`, signed and at its `place`."""
    if floor.ends is None or place <= floor.place:
        return floor
    return msgspec.structs.replace(floor, at=_bounded(at, floor.ends), place=place)


def answered(floor: Floor, at: datetime) -> Floor:
    """After the server answered a question that never was asked before: nothing that was said earlier is newer."""
    if floor.ends is None:
        return floor
    return msgspec.structs.replace(floor, at=_bounded(at, floor.ends))


def verified(floor: Floor, *, ends: datetime, keys: Sequence[str], epoch: int) -> Floor:
    """After TUF metadata was verified.

    Args:
        floor: as it was.
        ends: when the first of what was signed offline ends.
        keys: ids of the timestamp keys in the newest root.
        epoch: of the newest fleet key that is listed; what older ones say of the time counts no more.
    """
    at = NEVER if is_fallen(floor.keys, keys) else floor.at
    return Floor(at=at, ends=ends, keys=tuple(keys), place=max(floor.place, (epoch, 0, 0)))


def is_fallen(before: Sequence[str], keys: Sequence[str]) -> bool:
    """Whether a root with these timestamp keys ends what was told under those before; () = none were known."""
    return bool(before) and set(before) != set(keys)


def _bounded(at: datetime, ends: datetime) -> datetime:
    return min(at, ends - _BEFORE_THE_END)
