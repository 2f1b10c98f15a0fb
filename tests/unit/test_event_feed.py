"""One look at the events serves all who read them, and tells nobody one twice."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from fleet_server.api.feed import EventFeed
from fleet_server.db import events
from tests.stores import database_in


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


def happen(database):
    with database.write() as connection:
        events.append(connection, "job.changed", "job-1", {}, datetime.now(UTC))
        return events.last_id(connection)


@pytest.mark.parametrize("ahead", [0, 5])
def test_who_has_read_further_than_the_feed_is_told_nothing_twice(database, monkeypatch, ahead):
    """As after reading the list of events, or a stream of another process; or events of a database that is no more."""
    monkeypatch.setattr(limits, "STREAM_INTERVAL", timedelta(seconds=0.5))

    async def read():
        feed = EventFeed(database)
        async with feed.reading(None):
            read_elsewhere = happen(database) + ahead
            async with feed.reading(read_elsewhere) as start:
                told, later, cursor = [], None, start
                until = asyncio.get_running_loop().time() + 30.0
                while not told and asyncio.get_running_loop().time() < until:
                    new, cursor = await feed.after(cursor, wait_s=0.1)
                    told += [one.id for one in new]
                    later = later or happen(database)
                return told, later

    told, later = asyncio.run(read())
    assert told == [later]
