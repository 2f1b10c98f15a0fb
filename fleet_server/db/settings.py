"""The server's own few facts: text by key.

Knows no meaning beyond the counters below; configuration that a person writes lives elsewhere.
"""

from sqlalchemy import Connection, bindparam, select

from fleet_server.db.tables import settings
from fleet_server.db.upsert import insert

#: Which fleet key signs; its private half is `keys/fleet-<epoch>.pem`.
FLEET_EPOCH = "fleet.epoch"
#: Starts of the link: the session counter of everything the server says.
LINK_SESSIONS = "link.sessions"
#: Up to where the engine has taken in `events`.
ENGINE_CURSOR = "engine.cursor"

#: Which fleet the tables belong to (`fleet_server.db.belonging`).
FLEET = "fleet"
#: Up to where `events` were dropped.
EVENTS_DROPPED = "events.dropped"

_FIRST_EPOCH = 1
# Made once: the engine reads several at each turn, and making it took longer than asking the database.
_VALUE = select(settings.c.value).where(settings.c.key == bindparam("key"))


def read(connection: Connection, key: str) -> str | None:
    """The text under `key`, or None."""
    return connection.execute(_VALUE, {"key": key}).scalar_one_or_none()


def write(connection: Connection, key: str, value: str) -> None:
    """Make `key` hold `value`."""
    statement = insert(connection, settings).values(key=key, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def count_up(connection: Connection, key: str, *, at_least: int = 1) -> int:
    """Raise the number under `key` (0 when absent) by one, or to `at_least`, and return it."""
    number = max(int(read(connection, key) or 0) + 1, at_least)
    write(connection, key, str(number))
    return number


def fleet_epoch(connection: Connection) -> int:
    """The epoch of the fleet key that signs now."""
    return int(read(connection, FLEET_EPOCH) or _FIRST_EPOCH)
