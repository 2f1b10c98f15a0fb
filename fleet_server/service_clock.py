"""Keeps the service clock (`edgeops.rollout.clock`) in the database, for all processes.

The link writes a heartbeat while it hears devices; the engine looks at it and writes the clock down. Everybody else
reads what the clock shows.
"""

from datetime import datetime

import msgspec

from edgeops import limits
from edgeops.rollout import clock as machine
from edgeops.rollout.clock import ServiceClock
from fleet_server.db import settings
from fleet_server.db.database import Connection, Database

_CLOCK = "clock.service"
_BEAT = "clock.heartbeat"


def beat(connection: Connection, now: datetime) -> None:
    """The link hears devices and commits what they say."""
    settings.write(connection, _BEAT, now.isoformat())


def service_time(connection: Connection, now: datetime) -> datetime:
    """What the service clock shows."""
    return _read(connection, now).at(now)


def deaf_since(connection: Connection, now: datetime) -> datetime | None:
    """When the link last heard devices, if it hears them no more; None = it does, or never did."""
    last = _last_beat(connection)
    return last if last is not None and machine.is_missed(last, now) else None


def keep(database: Database, now: datetime) -> None:
    """Look for the heartbeat, and write the clock down when that is due or it stops or starts."""
    with database.read() as connection:
        before = _read(connection, now)
        beat_at = _last_beat(connection)
        is_new = settings.read(connection, _CLOCK) is None
    after = machine.looked(before, now, beat_at=beat_at)
    stands = before.stands_until is not None, after.stands_until is not None
    if (
        is_new
        or stands[0] is not stands[1]
        or not now - before.looked_at < limits.CLOCK_KEPT_EVERY
        or now < before.looked_at
    ):
        with database.write() as connection:
            settings.write(connection, _CLOCK, msgspec.json.encode(after).decode())


def _last_beat(connection: Connection) -> datetime | None:
    beat_at = settings.read(connection, _BEAT)
    return None if beat_at is None else datetime.fromisoformat(beat_at)


def _read(connection: Connection, now: datetime) -> ServiceClock:
    text = settings.read(connection, _CLOCK)
    return machine.started(now) if text is None else msgspec.json.decode(text, type=ServiceClock)
