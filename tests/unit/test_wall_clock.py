"""The clock of a server's machine is read in one place; else a test that moves it reaches half of a server."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import fleet_server
from fleet_server.wall_clock import utc_now


def test_it_shows_what_the_clock_of_this_machine_shows():
    assert abs(datetime.now(UTC) - utc_now()) < timedelta(minutes=1)
    assert utc_now().utcoffset() == timedelta(0)


def test_nothing_else_of_a_server_reads_that_clock():
    [root] = map(Path, fleet_server.__path__)
    readers = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(one in path.read_text() for one in ("datetime.now", "datetime.today", "utcnow", "time.time("))
    }
    assert readers == {"wall_clock.py"}
