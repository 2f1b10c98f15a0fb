"""An API process with open event streams ends at once when it is told to, and its readers know."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from edgeops.api.client import Client
from edgeops.api.roles import Role
from edgeops.errors import UnreachableError
from fleet_server.access import Access
from fleet_server.config import ServerConfig
from fleet_server.db import events
from fleet_server.db.database import Database
from fleet_server.setup import init
from tests.integration.ports import free_port
from tests.integration.waiting import ask_until

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0
API = """
import pathlib, sys
from fleet_server.app import serve
from fleet_server.config import ServerConfig
serve(ServerConfig(pathlib.Path(sys.argv[1]), api_port=int(sys.argv[2])))
"""


class Api:
    """One API process, started and ended by its pid."""

    def __init__(self, config):
        self.process = subprocess.Popen([sys.executable, "-c", API, str(config.data), str(config.api_port)])

    def end(self):
        """How long it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_S)
        return time.monotonic() - begun


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path / "data", api_port=free_port())
    init(config, now=datetime.now(UTC))
    return config


@pytest.fixture
def database(config):
    database = Database.in_folder(config.db)
    yield database
    database.close()


def happen(database):
    with database.write() as connection:
        events.append(connection, "job.changed", "job-1", {}, datetime.now(UTC))
        return events.last_id(connection)


def answers(client):
    try:
        return client.health()
    except UnreachableError:
        return None


def test_a_restart_of_the_server_ends_streams_at_once_and_costs_their_readers_nothing(config, database):
    token = Access(database).create_token("ann", Role.VIEWER, created_by="test", now=datetime.now(UTC)).text
    api = Api(config)
    try:
        with Client(f"http://127.0.0.1:{config.api_port}", token) as client:
            ask_until(lambda: answers(client), what="the API answers", seconds=DEADLINE_S)
            first = happen(database)
            stream = client.events(after=first - 1)
            assert next(stream).id == first
            assert api.end() < 4
            second = happen(database)
            api = Api(config)
            assert [next(stream).id, happen(database), next(stream).id] == [second, second + 1, second + 1]
    finally:
        api.end()
