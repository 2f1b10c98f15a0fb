"""How a client waits for something on the server: it asks again and again, slower while nothing changes."""

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from edgeops.errors import WaitTimeoutError

#: The slowest and the quickest that a waiting client asks again.
_POLL_MIN = timedelta(milliseconds=50)
POLL_MAX = timedelta(seconds=1)
_POLL_GROWTH = 1.5

_Thing = TypeVar("_Thing")


def wait(
    ask: Callable[[], _Thing],
    *,
    has_ended: Callable[[_Thing], bool],
    on_change: Callable[[_Thing], object] | None = None,
    timeout: timedelta,
    overdue: Callable[[_Thing], str],
) -> _Thing:
    """Ask until it has ended; `on_change` sees every change, `overdue` says how it stands when time is over.

    Raises:
        WaitTimeoutError: it did not end in `timeout`.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    pause = _POLL_MIN.total_seconds()
    seen: _Thing | None = None
    while True:
        thing = ask()
        if thing != seen:
            seen, pause = thing, _POLL_MIN.total_seconds()
            if on_change is not None:
                on_change(thing)
        if has_ended(thing):
            return thing
        if time.monotonic() + pause > deadline:
            raise WaitTimeoutError(overdue(thing))
        time.sleep(pause)
        pause = min(pause * _POLL_GROWTH, POLL_MAX.total_seconds()) * random.uniform(0.9, 1.1)  # noqa: S311 - spreads clients
