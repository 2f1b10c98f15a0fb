"""Databases for tests: one of the two kinds, so that what holds on one is shown to hold on the other.

A test asks `database_in(folder)` and gets SQLite, unless its module says `pytestmark = stores.ON_BOTH`: then it runs on
SQLite and on PostgreSQL. With `EDGEOPS_TEST_DATABASE=postgresql` every test that asks has PostgreSQL, and only those run
that may ask (`tests.standing`) and do not run on both anyway.
"""

import os
from pathlib import Path

import pytest
from sqlalchemy import event

from fleet_server.config import ServerConfig
from fleet_server.db.database import Database
from tests import postgresql

SQLITE, POSTGRESQL = "sqlite", "postgresql"

#: Each test of the module on either kind of database.
ON_BOTH = pytest.mark.usefixtures("kind_of_database")
#: Each test of the module on PostgreSQL alone.
ON_POSTGRESQL = [ON_BOTH, pytest.mark.parametrize("kind_of_database", [POSTGRESQL], indirect=True)]


class Stores:
    """What the tests of this process have."""

    def __init__(self):
        self.by_default = self.kind = os.environ.get("EDGEOPS_TEST_DATABASE", SQLITE)
        self._server = None
        self._template = None
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
            template = "template0" if empty else self._migrated()
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
        database = Database.at(url)
        self._opened.setdefault(url, []).append(database)
        return database

    def stop(self):
        """End the server, if there is one."""
        for database in (one for some in self._opened.values() for one in some):
            database.close()
        if self._server is not None:
            self._server.stop()
        self._server = self._template = None

    def _migrated(self):
        if self._template is None:
            from fleet_server.db.migrate import upgrade

            url = self.server.create()
            database = Database.at(url)
            upgrade(database)
            database.close()
            self._template = postgresql.name_of(url)
        return self._template


STORES = Stores()


def on_postgresql():
    """Whether the running test has PostgreSQL."""
    return STORES.kind == POSTGRESQL


def url_for(folder, *, empty=False):
    """What a server with this folder has for a database; None = SQLite in it."""
    return STORES.url(folder, empty=empty) if on_postgresql() else None


def database_in(folder, *, empty=False):
    """The database that stands for this folder, of the running test's kind; `empty` = without tables on PostgreSQL."""
    url = url_for(folder, empty=empty)
    return Database.in_folder(folder) if url is None else STORES.open(url)


def config_for(folder, **more):
    """The configuration of a server in this folder, with a database of the running test's kind."""
    return ServerConfig(folder, database=url_for(ServerConfig(folder).db), **more)


def hasty(database):
    """The same, for tests that are not about power cuts: waiting for the disk would be most of their time."""
    if not database.is_shared:
        for engine in (database.control, database.telemetry):
            event.listen(engine, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF"))
    return database
