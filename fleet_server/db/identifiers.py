"""Makes ids: a readable prefix, then time, then randomness, so that ids sort by age.

Ids sort like their birth times to the microsecond, which lets a page's cursor be the last id. It does
not decide who may use them.
"""

import secrets
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: 13 hex digits of microseconds last until 2112.
_TIME_DIGITS = 13


def new_id(prefix: str, now: datetime) -> str:
    """An id such as `job-64d0c1a5f3b2e-9f31c2`."""
    microseconds = (now - _EPOCH) // timedelta(microseconds=1)
    return f"{prefix}-{microseconds:0{_TIME_DIGITS}x}-{secrets.token_hex(3)}"
