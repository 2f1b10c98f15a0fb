"""Databases for tests: one of the two kinds, so that what holds on one is shown to hold on the other.

A test asks `database_in(folder)` and gets SQLite, unless its module says `pytestmark = stores.ON_BOTH`: then it runs on
SQLite and on PostgreSQL. With `EDGEOPS_TEST_DATABASE=postgresql` every test that asks has PostgreSQL, and only those run
that may ask (`tests.standing`) and do not run on both anyway.

Migrations run once in a process and on a kind, for a template that every database begins as a copy of; and what
SQLAlchemy compiled for one database serves all of its kind. A small test would do little else.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.util import LRUCache

from fleet_server.config import ServerConfig
from fleet_server.db.database import Database
from fleet_server.db.migrate import upgrade
from tests import postgresql

SQLITE, POSTGRESQL = "sqlite", "postgresql"

#: Each test of the module on either kind of database.
ON_BOTH = pytest.mark.usefixtures("kind_of_database")
#: A test of such a module that takes long on PostgreSQL: there in `make test-all` alone.
LONG_ON_POSTGRESQL = pytest.mark.parametrize(
    "kind_of_database", [SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.long)], indirect=True
)
#: Each test of the module on PostgreSQL alone.
ON_POSTGRESQL = [ON_BOTH, pytest.mark.parametrize("kind_of_database", [POSTGRESQL], indirect=True)]


class Template:
    """A database with all tables and nobody connected to it: what others of its kind begin as copies of."""

    def __init__(self, place, database):
        #: Its folder; on PostgreSQL, its name.
        self.place = place
        upgrade(database)
        database.close()
        self._chains = [(engine.dialect, LRUCache(1_000)) for engine in (database.control, database.telemetry)]

    def teach(self, database):
        """The same database, which compiles only what none of its kind has."""
        for engine, (dialect, compiled) in zip((database.control, database.telemetry), self._chains, strict=True):
            engine.dialect = dialect  # SQLAlchemy finds what it compiled by it
            engine.update_execution_options(compiled_cache=compiled)
        return database


class Stores:
    """What the tests of this process have."""

    def __init__(self):
        self.by_default = self.kind = os.environ.get("EDGEOPS_TEST_DATABASE", SQLITE)
        self._server = None
        #: By kind.
        self._templates: dict[str, Template] = {}
        #: URL by folder: a folder that is opened again is the same database.
        self._urls: dict[Path, str] = {}
        self._opened: dict[str, list[Database]] = {}

    @property
    def server(self):
        """This process's PostgreSQL, started when it is first needed."""
        if self._server is None:
            reason = postgresql.unusable()
            if reason:
                pytest.skip(reason)
            self._server = postgresql.PrivateServer()
        return self._server

    def url(self, folder, *, empty=False):
        """Where the PostgreSQL database that stands for a folder is; with all tables, unless `empty`."""
        folder = Path(folder).absolute()
        if folder not in self._urls:
            template = "template0" if empty else self._template(POSTGRESQL).place
            self._urls[folder] = self.server.create(template=template)
        return self._urls[folder]

    def copy(self, source, folder):
        """Have a folder stand for a copy of what another one stands for; nobody may be connected to either."""
        self.forget(folder)
        self._urls[Path(folder).absolute()] = self.server.create(template=postgresql.name_of(self.url(source)))

    def forget(self, below):
        """Drop the databases that stand for folders below that of a test that ended."""
        for folder in [folder for folder in self._urls if folder.is_relative_to(Path(below).absolute())]:
            url = self._urls.pop(folder)
            for database in self._opened.pop(url, ()):
                database.close()
            self._server.drop(url)

    def open(self, url):
        """A database on PostgreSQL, closed at the latest when the test ends."""
        database = self._template(POSTGRESQL).teach(Database.at(url))
        self._opened.setdefault(url, []).append(database)
        return database

    def in_folder(self, folder, *, empty=False):
        """A database on SQLite that does not wait for the disk; a new one has all tables, unless `empty`."""
        template = self._template(SQLITE)
        if not empty and not (folder / "control.db").exists():
            shutil.copytree(template.place, folder, dirs_exist_ok=True)
        return template.teach(hasty(Database.in_folder(folder)))

    def stop(self):
        """End the server, if there is one, and forget the templates."""
        for database in (one for some in self._opened.values() for one in some):
            database.close()
        if self._server is not None:
            self._server.stop()
            self._server = None
        if SQLITE in self._templates:
            shutil.rmtree(self._templates[SQLITE].place)
        self._templates.clear()

    def _template(self, kind):
        if kind not in self._templates:
            if kind == SQLITE:
                place = Path(tempfile.mkdtemp(prefix="edgeops-template-"))
                self._templates[kind] = Template(place, Database.in_folder(place))
            else:
                url = self.server.create()
                self._templates[kind] = Template(postgresql.name_of(url), Database.at(url))
        return self._templates[kind]


STORES = Stores()


def on_postgresql():
    """Whether the running test has PostgreSQL."""
    return STORES.kind == POSTGRESQL


def url_for(folder, *, empty=False):
    """What a server with this folder has for a database; None = SQLite in it."""
    return STORES.url(folder, empty=empty) if on_postgresql() else None


def database_in(folder, *, empty=False):
    """The database that stands for this folder, of the running test's kind; with all tables, unless `empty`."""
    url = url_for(folder, empty=empty)
    return STORES.in_folder(Path(folder), empty=empty) if url is None else STORES.open(url)


def config_for(folder, **more):
    """The configuration of a server in this folder, with a database of the running test's kind."""
    return ServerConfig(folder, database=url_for(ServerConfig(folder).db), **more)


def hasty(database):
    """The same, which waits for no disk: no test is about power cuts, and most of their time would be that."""
    if not database.is_shared:
        for engine in (database.control, database.telemetry):
            event.listen(engine, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF"))
    return database
