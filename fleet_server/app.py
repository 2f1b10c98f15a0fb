"""Wires the API process: context, routers, limits, problem documents, and uvicorn around them."""

import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI

import edgeops
from edgeops import limits
from edgeops.errors import ConfigError
from edgeops.structs import learn_all
from fleet_server.access import Access
from fleet_server.api import (
    aliases,
    audit,
    benchmarks,
    brought,
    cards,
    choices,
    datasets,
    devices,
    drift,
    enrolment,
    events,
    evidence,
    fleet,
    four_eyes,
    freeze,
    groups,
    health,
    incidents,
    jobs,
    keys,
    labels,
    lineage,
    models,
    pins,
    predictions,
    previews,
    problems,
    promotion,
    quarantine,
    ranges,
    recipes,
    reproductions,
    restoration,
    retraining,
    rollouts,
    runs,
    sample_imports,
    samples,
    telemetry,
    tokens,
    transport,
    tuf,
    webhooks,
)
from fleet_server.api.bodies import FORM_OVERHEAD_BYTES, BodyLimit
from fleet_server.api.feed import EventFeed
from fleet_server.api.pace import Pace
from fleet_server.api.parameters import KNOWN_ALONE
from fleet_server.api.promises import EVERYWHERE
from fleet_server.api.server import Server
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db.database import Database, is_outage
from fleet_server.wall_clock import utc_now

PREFIX = "/api/v1"

_NOUNS = (
    health,
    restoration,
    tokens,
    audit,
    enrolment,
    transport,
    keys,
    devices,
    groups,
    pins,
    telemetry,
    predictions,
    fleet,
    events,
    quarantine,
    incidents,
    datasets,
    sample_imports,
    recipes,
    runs,
    models,
    choices,
    cards,
    brought,
    aliases,
    promotion,
    benchmarks,
    reproductions,
    lineage,
    drift,
    labels,
    retraining,
    samples,
    jobs,
    webhooks,
    previews,
    rollouts,
    four_eyes,
    freeze,
    evidence,
)

_log = logging.getLogger(__name__)

#: How often the API looks whether its certificate was renewed, in tenths of a second.
_CERTIFICATE_TICKS = 10
#: Requests that still run at a stop get this long.
_STOP_S = 5
_BACKLOG = 2048


def create_app(config: ServerConfig, *, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """The API over the data folder of `config`, which `fleet_server.setup` has prepared."""
    database = Database.of(config)

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
    app.state.server = Server(
        config,
        database,
        blobs,
        Artifacts(blobs),
        Access(database),
        now,
        EventFeed(database),
        Pace(config.range_rate, config.device_rate),
    )
    for noun in _NOUNS:
        app.include_router(noun.router, prefix=PREFIX, dependencies=[KNOWN_ALONE], responses=EVERYWHERE)
    for noun in (tuf, ranges):
        app.include_router(noun.router, dependencies=[KNOWN_ALONE], responses=EVERYWHERE)
    app.add_middleware(
        BodyLimit,
        larger={
            f"{PREFIX}/datasets": limits.MAX_UPLOAD_BYTES + FORM_OVERHEAD_BYTES,
            f"{PREFIX}/datasets/inspect": limits.MAX_UPLOAD_BYTES + FORM_OVERHEAD_BYTES,
            f"{PREFIX}/models": limits.MAX_BROUGHT_BYTES + FORM_OVERHEAD_BYTES,
            f"{PREFIX}/keys/changes": limits.MAX_CHANGE_BYTES,
            f"{PREFIX}/rollouts/preview": limits.MAX_PREVIEW_BYTES,
        },
    )
    problems.install(app)
    return app


def serve(config: ServerConfig) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Raises:
        ConfigError: somebody else listens there; the database belongs to another data folder.
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
        app = create_app(config)
        _look_at(app.state.server.database)
        options = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
        )
        options.load()
        if config.tls:
            options.ssl = _context(config.certificate)
        _Uvicorn(options, certificate=config.certificate).run(sockets=[listener])


def _look_at(database: Database) -> None:
    """Another fleet's tables are told here, and not to whoever asks something; those that are away come back."""
    try:
        with database.read():
            pass
    except Exception as error:
        # The border to the database.
        if not is_outage(error):
            raise
        _log.warning("api.database-away error=%s", error)


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate)
    except OSError as error:
        raise ConfigError(
            f"cannot use the certificate {certificate}: {error}; `edgeops-server init` with the same options makes it"
        ) from error
    return context


class _Uvicorn(uvicorn.Server):
    """Shows a renewed certificate from the next connection on; ends event streams before it waits for requests."""

    def __init__(self, options: uvicorn.Config, *, certificate: Path) -> None:
        super().__init__(options)
        self._certificate = certificate
        self._shown = _version(certificate)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        context = self.config.ssl
        if context is not None and counter % _CERTIFICATE_TICKS == 0 and _version(self._certificate) != self._shown:
            self._shown = _version(self._certificate)
            try:
                context.load_cert_chain(self._certificate)
                _log.info("certificate.renewed")
            except OSError:
                # The one before is still shown.
                _log.exception("certificate.unusable file=%s", self._certificate)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, wait, and end."""
        self.config.app.state.server.feed.close()  # type: ignore[union-attr]  # it is the application of `serve`
        await super().shutdown(sockets)


def _version(file: Path) -> int | None:
    """Another number for another file under this name; None = there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
