"""Wakes whoever waits for something to be written to `control`.

A wake is a hint, not news: who is woken looks into the tables, and looks from time to time although nobody woke it.
This module knows no database: on SQLite nothing tells, so everybody looks often; how PostgreSQL tells is in
`fleet_server.db.postgres`.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from edgeops import limits

#: How often somebody who waits looks whether all shall end.
_LOOK_S = 0.1


class News(Protocol):
    """Where wakes come from."""

    @property
    def tells(self) -> bool:
        """Whether it would say now; who waits looks more seldom then."""

    def subscribe(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Have `wake` called, on a thread of this, when something was written; the end of that."""

    def close(self) -> None:
        """Say nothing any more."""


class Polling:
    """Nobody tells."""

    tells = False

    def subscribe(self, wake: Callable[[], object]) -> Callable[[], None]:  # noqa: ARG002 - the protocol's
        """Never called."""
        return lambda: None

    def close(self) -> None:
        """Nothing to end."""


class Watch:
    """One thread that waits for what others write."""

    def __init__(self, news: News, stop: threading.Event) -> None:
        self._news = news
        self._stop = stop
        self._woken = threading.Event()
        # Before this nobody told it anything, so it looks once whatever it is told.
        self._woken.set()
        self._end = news.subscribe(self.wake)

    def wake(self) -> None:
        """End the wait; from any thread."""
        self._woken.set()

    def wait(self, interval: timedelta, *, at_rest: bool = True) -> bool:
        """Return when something was written, or it is time to look, or at once when all shall end: then it is true.

        It is time after `interval` where nobody tells, or when who waits is not `at_rest`: then it waits for something
        else as well.
        """
        if not self._news.tells or not at_rest:
            return self._stop.wait(interval.total_seconds())
        # Many writes in a row are one reason to look.
        if self._stop.wait(limits.NEWS_PAUSE.total_seconds()):
            return True
        end_s = time.monotonic() + max(interval, limits.NEWS_LOOK_AFTER).total_seconds()
        while not self._stop.is_set() and time.monotonic() < end_s and self._news.tells:
            if self._woken.wait(_LOOK_S):
                break
        self._woken.clear()
        return self._stop.is_set()

    def close(self) -> None:
        """Wait no more."""
        self._end()
