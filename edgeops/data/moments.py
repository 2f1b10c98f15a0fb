"""Reads one moment as a person or a logger wrote it down: import and replay read alike."""

import math
from datetime import UTC, datetime, tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A signed 64-bit count of nanoseconds reaches to the year 2262; the other half of it is headroom for sums.
_MOST_NS = 2**62


def parse_moment(text: str, zone: tzinfo = UTC) -> int:
    """Nanoseconds since 1970 of an ISO 8601 text.

    Without an offset it is of `zone`, and the first of an hour that comes twice.

    Raises:
        ValueError: it is something else, or no 64-bit count of nanoseconds holds it.
    """
    moment = datetime.fromisoformat(text.strip())
    since = (moment if moment.tzinfo else moment.replace(tzinfo=zone)) - _EPOCH
    nanoseconds = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    if abs(nanoseconds) >= 2**63:
        raise ValueError(text)
    return nanoseconds


def count_moment(number: float, tick_ns: int) -> int | None:
    """Nanoseconds since 1970 of a number of ticks; None = it is missing.

    Raises:
        ValueError: no 64-bit count of nanoseconds holds it.
    """
    if math.isnan(number):
        return None
    if not abs(number) < _MOST_NS / tick_ns:
        raise ValueError(number)
    # Apart, so that a fraction does not cost the last digits of the whole.
    whole = math.floor(number)
    return whole * tick_ns + round((number - whole) * tick_ns)
