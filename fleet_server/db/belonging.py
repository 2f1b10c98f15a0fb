"""A shared database belongs to one fleet: that of the data folder which was the first to be prepared with it.

Two folders have two sets of keys; with one set of tables both servers would tell the same devices what only one of
them can sign. A copy of a folder is the same fleet: it is known by its first TUF root, which no rotation changes.
"""

from collections.abc import Callable

from sqlalchemy import Connection

from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError
from fleet_server.config import ServerConfig
from fleet_server.db import settings


def fleet_of(config: ServerConfig) -> str | None:
    """What the fleet of a data folder is known by; None = it has none yet."""
    try:
        return digest_bytes((config.metadata / "1.root.json").read_bytes())
    except FileNotFoundError:
        return None


def claim(connection: Connection, config: ServerConfig) -> None:
    """Have the tables belong to the fleet of this folder, which has one. Call it inside a write transaction.

    Raises:
        ConfigError: they belong to another one.
    """
    own = fleet_of(config)
    assert own is not None, "it is known by its keys, which are made before"
    owner = settings.read(connection, settings.FLEET)
    _require(owner, own, config)
    if owner is None:
        settings.write(connection, settings.FLEET, own)


def guard(config: ServerConfig) -> Callable[[Callable[[str], str | None]], None]:
    """A check for new connections: it is given what reads a setting, and raises ConfigError for another's tables."""

    def check(read: Callable[[str], str | None]) -> None:
        _require(read(settings.FLEET), fleet_of(config), config)

    return check


def _require(owner: str | None, own: str | None, config: ServerConfig) -> None:
    if owner is not None and owner != own:
        raise ConfigError(
            f"the database that --database or EDGEOPS_DATABASE names belongs to another fleet than the data folder "
            f"{config.data}: to the one that began with the TUF root {owner[:19]}, here is "
            f"{'none yet' if own is None else own[:19]}; give each server a database of its own, or name the folder "
            "that this one was made with"
        )
