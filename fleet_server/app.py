"""Wires the API process: context, routers, limits, problem documents, and uvicorn around them."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI

import edgeops
from edgeops import limits
from edgeops.errors import ConfigError
from edgeops.structs import learn_all
from fleet_server.access import Access
from fleet_server.api import (
    aliases,
    datasets,
    devices,
    drift,
    enrolment,
    events,
    fleet,
    health,
    jobs,
    keys,
    labels,
    models,
    predictions,
    problems,
    quarantine,
    retraining,
    rollouts,
    runs,
    samples,
    telemetry,
    tokens,
    tuf,
)
from fleet_server.api.bodies import FORM_OVERHEAD_BYTES, BodyLimit
from fleet_server.api.feed import EventFeed
from fleet_server.api.server import Server
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db.database import Database

PREFIX = "/api/v1"

_NOUNS = (
    health,
    tokens,
    enrolment,
    keys,
    devices,
    telemetry,
    predictions,
    fleet,
    events,
    quarantine,
    datasets,
    runs,
    models,
    aliases,
    drift,
    labels,
    retraining,
    samples,
    jobs,
    rollouts,
)

#: Requests that still run at a stop get this long.
_STOP_S = 5
_BACKLOG = 2048


def _utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(config: ServerConfig, *, now: Callable[[], datetime] = _utc_now) -> FastAPI:
    """The API over the data folder of `config`, which `fleet_server.setup` has prepared."""
    database = Database.in_folder(config.db)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        database.close()

    app = FastAPI(
        title="EdgeOps",
        version=edgeops.__version__,
        summary=edgeops.__doc__,
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        # These pages load scripts from a CDN; no request leaves the site.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    blobs = Blobs(config)
    app.state.server = Server(config, database, blobs, Artifacts(blobs), Access(database), now, EventFeed(database))
    for noun in _NOUNS:
        app.include_router(noun.router, prefix=PREFIX, responses=problems.RESPONSES)
    app.include_router(tuf.router, responses=problems.RESPONSES)
    app.add_middleware(
        BodyLimit,
        larger={
            f"{PREFIX}/datasets": limits.MAX_UPLOAD_BYTES + FORM_OVERHEAD_BYTES,
            f"{PREFIX}/keys/changes": limits.MAX_CHANGE_BYTES,
        },
    )
    problems.install(app)
    return app


def serve(config: ServerConfig) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Raises:
        ConfigError: somebody else listens there.
    """
    learn_all()
    family = socket.AF_INET6 if ":" in config.api_host else socket.AF_INET
    try:
        listener = socket.create_server((config.api_host, config.api_port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.api_host}:{config.api_port}: {os.strerror(error.errno or 0)}; "
            "choose another --api-port"
        ) from error
    with listener:
        options = uvicorn.Config(
            create_app(config),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
        )
        _Uvicorn(options).run(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    """Ends event streams before it waits for the requests that still run."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, wait, and end."""
        self.config.app.state.server.feed.close()  # type: ignore[union-attr]  # it is the application of `serve`
        await super().shutdown(sockets)
