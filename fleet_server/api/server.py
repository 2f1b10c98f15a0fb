"""What every endpoint needs, handed to it by value: configuration, database, blobs, access, the clock."""

from asyncio import Lock
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from fleet_server.access import Access
from fleet_server.api.feed import EventFeed
from fleet_server.api.pace import Pace
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db.database import Database


@dataclass(frozen=True, slots=True)
class Server:
    """One API process."""

    config: ServerConfig
    database: Database
    blobs: Blobs
    artifacts: Artifacts
    access: Access
    #: The present moment, aware UTC.
    now: Callable[[], datetime]
    feed: EventFeed
    #: Of artifacts in ranges.
    pace: Pace
    #: Held while rows of a snapshot are written out: one at a time.
    exporting: Lock = field(default_factory=Lock)


def _server(request: Request) -> Server:
    server = request.app.state.server
    assert isinstance(server, Server)
    return server


ServerOf = Annotated[Server, Depends(_server)]
