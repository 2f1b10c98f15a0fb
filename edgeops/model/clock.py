"""Columns that a clock gives: the hour of day and the weekday at the moment of a row, as a model reads them.

Import and training compute them for whole tables, a device row by row, by the same look-up: the minute of the local
day and the day of the week are found in tables of sines and cosines, so that both forms, and all machines, agree bit
for bit. The offset of a zone is asked for once per quarter of an hour (UTC), for no zone changes it in between today.
What time it is, is an argument; what is known of time zones is what the machine knows (`zoneinfo`).
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import ClockPart, clock_columns
from edgeops.errors import ConfigError

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE_NS = 60 * 10**9
_QUARTER_MINUTES = 15
_DAY_MINUTES = 24 * 60
_WEEK_DAYS = 7
#: 1970 began on a Thursday; a week begins on Monday.
_EPOCH_WEEKDAY = 3


def _circle(steps: int) -> Floats:
    """(steps, 2): sine and cosine of each step of one turn."""
    angles = [2 * math.pi * step / steps for step in range(steps)]
    return np.array([(math.sin(angle), math.cos(angle)) for angle in angles], np.float32)


_HOURS, _WEEKDAYS = _circle(_DAY_MINUTES), _circle(_WEEK_DAYS)


class ClockColumns:
    """The columns of some parts of the clock in one zone."""

    def __init__(self, parts: Sequence[ClockPart], *, zone: str) -> None:
        """`parts` in the order of their columns; `zone` is a name of the IANA database.

        Raises:
            ConfigError: this machine does not know the zone.
        """
        self.names = clock_columns(parts)
        self._parts = tuple(parts)
        self._zone = zone_named(zone)
        self._missing = np.full(len(self.names), np.nan, np.float32)
        #: Rows follow each other, and many are of one minute.
        self._minute: int | None = None
        self._last = self._missing

    def row(self, moment_ns: int | None) -> Floats:
        """float32 (columns,) at a moment in nanoseconds since 1970, NaN where it is unknown; not to be written to."""
        if moment_ns is None:
            return self._missing
        minute = moment_ns // _MINUTE_NS
        if minute != self._minute:
            self._last, self._minute = self._look_up(np.array([minute]))[0], minute
        return self._last

    def rows(self, moments: Integers) -> Floats:
        """float32 (rows, columns) at moments (rows,), each known: `row` of each."""
        minutes, places = np.unique(moments // _MINUTE_NS, return_inverse=True)
        found: Floats = self._look_up(minutes)[places]
        return found

    def beside(self, row: Floats, moment_ns: int | None) -> Floats:
        """A new row: measured columns (n,), then those of the clock."""
        return np.concatenate((row, self.row(moment_ns)))

    def _look_up(self, minutes: Integers) -> Floats:
        """(n, columns) at minutes (n,) since 1970."""
        quarters, places = np.unique(minutes // _QUARTER_MINUTES, return_inverse=True)
        offsets = np.fromiter(map(self._offset, quarters.tolist()), np.int64, len(quarters))
        days, of_day = np.divmod(minutes + offsets[places], _DAY_MINUTES)
        told = {ClockPart.HOUR: _HOURS[of_day], ClockPart.WEEKDAY: _WEEKDAYS[(days + _EPOCH_WEEKDAY) % _WEEK_DAYS]}
        return np.concatenate([told[part] for part in self._parts], axis=1)

    def _offset(self, quarter: int) -> int:
        """Of the zone from UTC, in whole minutes, at a quarter of an hour since 1970."""
        offset = (_EPOCH + quarter * timedelta(minutes=_QUARTER_MINUTES)).astimezone(self._zone).utcoffset()
        assert offset is not None, "an aware datetime has one"
        return offset // timedelta(minutes=1)


def zone_named(name: str) -> ZoneInfo:
    """A time zone of the IANA database.

    Raises:
        ConfigError: this machine does not know it.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"no data of the time zone {name!r} on this machine; name one of the IANA database (Europe/Berlin), or "
            "install it: apt install tzdata"
        ) from error
