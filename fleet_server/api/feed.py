"""News for many readers at once: one look at the events table serves all of them.

While anybody reads, a task asks for new events every STREAM_INTERVAL and keeps the latest STREAM_EVENTS in memory;
a reader who is further behind reads the database, a page at a time. Which events somebody wants is not decided here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from fastapi.concurrency import run_in_threadpool

from edgeops import limits
from edgeops.errors import PlatformError
from fleet_server.db import events
from fleet_server.db.database import Database
from fleet_server.db.events import Event

_log = logging.getLogger(__name__)


class EventFeed:
    """Lives in the event loop of one API process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers = 0
        self._looking: asyncio.Task[None] | None = None
        #: Every event above `_since` up to `_newest`, oldest first.
        self._kept: deque[Event] = deque()
        self._since = self._newest = 0
        #: Set, and replaced by another, when there are new events or none will come.
        self._news = asyncio.Event()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether no further reader is let in."""
        return self._readers >= limits.MAX_STREAMS

    @property
    def is_closed(self) -> bool:
        """Whether all readers shall leave."""
        return self._closed

    def close(self) -> None:
        """Ask all readers to leave."""
        self._closed = True
        self._wake()

    @asynccontextmanager
    async def reading(self, cursor: int | None) -> AsyncIterator[int]:
        """A reader's time; gives the cursor to begin with, None = at what is new from now on.

        Raises:
            PlatformError: there are too many readers.
        """
        if self.is_full:
            raise PlatformError(f"{limits.MAX_STREAMS} event streams are open, more are not served; try again later")
        self._readers += 1
        try:
            if self._looking is None:
                self._since = self._newest = await run_in_threadpool(self._last_id)
                self._kept.clear()
                if self._looking is None:
                    self._looking = asyncio.create_task(self._look())
            if cursor is not None and cursor > self._newest:
                # Read elsewhere before the last look here: nothing is told twice. Of another database: from now on.
                cursor = min(cursor, await run_in_threadpool(self._last_id))
            yield self._newest if cursor is None else cursor
        finally:
            self._readers -= 1
            if self._readers == 0 and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def after(self, cursor: int, *, wait_s: float) -> tuple[tuple[Event, ...], int]:
        """The next events behind `cursor`, and the cursor behind them; waits for one if there is none yet."""
        if cursor < self._since:
            behind = await run_in_threadpool(self._read, cursor)
            return behind, behind[-1].id if behind else self._since
        if cursor >= self._newest and not self._closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(wait_s, 0.0))
        if cursor < self._since:
            return (), cursor
        return tuple(event for event in self._kept if event.id > cursor), max(cursor, self._newest)

    async def _look(self) -> None:
        while True:
            await self._written(limits.STREAM_INTERVAL)
            try:
                new = await run_in_threadpool(self._read, self._newest)
            except Exception as error:  # noqa: BLE001 - the border to the database: the next look finds the same events
                _log.warning("feed.outage error=%s", error)
                continue
            self._keep(new)

    async def _written(self, interval: timedelta) -> None:
        """Return when something was written, or after `interval` where nobody tells."""
        news = self._database.news
        if not news.tells:
            await asyncio.sleep(interval.total_seconds())
            return
        written, loop = asyncio.Event(), asyncio.get_running_loop()
        unsubscribe = news.subscribe(lambda: loop.call_soon_threadsafe(written.set))
        # What was written just before is waited for by nobody: it is looked for a moment later.
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(written.wait(), interval.total_seconds())
            await asyncio.sleep(limits.NEWS_PAUSE.total_seconds())  # many writes in a row are one reason to look
        finally:
            unsubscribe()

    def _keep(self, new: Sequence[Event]) -> None:
        for event in new:
            self._kept.append(event)
            self._newest = event.id
            if len(self._kept) > limits.STREAM_EVENTS:
                self._since = self._kept.popleft().id
        if new:
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _read(self, cursor: int) -> tuple[Event, ...]:
        with self._database.read() as connection:
            return events.after(connection, cursor, limit=limits.MAX_PAGE_SIZE)

    def _last_id(self) -> int:
        with self._database.read() as connection:
            return events.last_id(connection)
