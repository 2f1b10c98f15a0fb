"""Maintenance windows: how people write them, whether one is open, and when the next one opens.

A window is a weekly time by the wall clock of its zone. Where a clock is put forward, a border in the hour that does
not exist is the moment after it, so that a window inside that hour does not occur that day; where a clock is put back,
a border in the hour that comes twice is the first of the two. It reads no clock: `now` is an argument. What it knows of
zones is what the machine knows (`zoneinfo`).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgeops.errors import InputError
from edgeops.protocol.messages import Maintenance

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = "write it as sat,sun 22:00-05:00 Europe/Berlin (days: mon to sun, mon-fri, or daily)"
_TEXT = re.compile(r"([a-z,-]+)\s+([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})\s+(\S+)")
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
#: A window that falls into an hour that does not exist comes again a week later; no zone leaves out two weeks in a row.
_LOOK_AHEAD_DAYS = 22


def parse_window(text: str) -> Maintenance:
    """Read one window.

    Raises:
        InputError: not of that form, no such day or time, or a zone that this machine does not know.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise InputError(f"not a maintenance window: {text[:120]!r}; {_FORM}")
    days, *times, zone = match.groups()
    hour, minute, end_hour, end_minute = map(int, times)
    window = Maintenance(
        zone=zone,
        days=_days(days, text),
        opens=_minutes(hour, minute, text) % 1440,
        closes=_minutes(end_hour, end_minute, text) % 1440,
    )
    unknown = unknown_zone((window,))
    if unknown is not None:
        raise InputError(f"{unknown}; {_FORM}")
    return window


def words(window: Maintenance) -> str:
    """As `parse_window` reads it."""
    days = "daily" if len(window.days) == len(DAYS) else ",".join(DAYS[day] for day in window.days)
    return f"{days} {_clock(window.opens)}-{_clock(window.closes)} {window.zone}"


def unknown_zone(windows: Sequence[Maintenance]) -> str | None:
    """Why a window cannot be judged here, for people; None = every zone is known."""
    for window in windows:
        try:
            ZoneInfo(window.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return (
                f"no data of the time zone {window.zone!r} on this machine; name one of the IANA database "
                "(Europe/Berlin), or install it: apt install tzdata"
            )
    return None


def is_open(windows: Sequence[Maintenance], now: datetime) -> bool:
    """Whether a device may turn to another model now: no window was named, or one of them is open.

    Raises:
        ZoneInfoNotFoundError: of a zone that `unknown_zone` names.
    """
    return not windows or any(opens <= now < closes for window in windows for opens, closes in _near(window, now, 2))


def opens_next(windows: Sequence[Maintenance], now: datetime) -> datetime:
    """When the next of the windows opens, after `now`, in the zone of that window; at least one must be named.

    Raises:
        ZoneInfoNotFoundError: of a zone that `unknown_zone` names.
    """
    coming = [
        (opens, window.zone)
        for window in windows
        for opens, closes in _near(window, now, _LOOK_AHEAD_DAYS)
        if now < opens < closes
    ]
    opens, zone = min(coming)
    return opens.astimezone(ZoneInfo(zone))


# -- below ---------------------------------------------------------------------------------


def _near(window: Maintenance, now: datetime, count: int) -> Iterator[tuple[datetime, datetime]]:
    """When it opens and closes on the days around now: from yesterday, whose window may still be open."""
    zone = ZoneInfo(window.zone)
    yesterday = now.astimezone(zone).date() - _DAY
    for day in (yesterday + _DAY * number for number in range(count)):
        if day.weekday() in window.days:
            ends = day if window.closes > window.opens else day + _DAY
            yield _moment(day, window.opens, zone), _moment(ends, window.closes, zone)


def _moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """When the wall clock shows it, the first time; where it never does, when the clock jumps over it."""
    wall = datetime.combine(day, time(minutes // 60, minutes % 60))
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(moment, zone) > wall:
        # By the offset of before the jump it lies behind it, by as much as the hour that is left out is long at most.
        while _wall(moment - _MINUTE, zone) > wall:
            moment -= _MINUTE
    return moment


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _days(text: str, whole: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if part == "daily":
            found |= set(range(len(DAYS)))
        elif first in DAYS and (last in DAYS if dash else True):
            start = DAYS.index(first)
            span = (DAYS.index(last) - start) % len(DAYS) if dash else 0
            found |= {(start + number) % len(DAYS) for number in range(span + 1)}
        else:
            raise InputError(f"no such day: {part[:20]!r} in {whole[:120]!r}; {_FORM}")
    return tuple(sorted(found))


def _minutes(hour: int, minute: int, whole: str) -> int:
    minutes = hour * 60 + minute
    if minute > 59 or minutes > 1440:
        raise InputError(f"no such time: {hour}:{minute:02} in {whole[:120]!r}; {_FORM}")
    return minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
