"""Yesterday's backup of a server whose tables are in PostgreSQL, brought back into another database."""

import contextlib
import os
import shutil

import pytest

from edgeops.local.up import Site
from fleet_server.db import events
from tests import postgresql
from tests.integration.backup_rig import (
    Agent,
    Forward,
    add_version,
    edgeops,
    eventually,
    online,
    publish,
    roll_out,
)
from tests.stores import STORES

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Have everything that is started from now on use a database of that name; PostgreSQL's own programs are on PATH."""
    STORES.url(tmp_path, empty=True)
    environment = postgresql.environment(postgresql.binaries())
    monkeypatch.setenv("PATH", f"{postgresql.binaries()}:{os.environ['PATH']}")
    if "LD_LIBRARY_PATH" in environment:
        monkeypatch.setenv("LD_LIBRARY_PATH", environment["LD_LIBRARY_PATH"])

    def call(name):
        monkeypatch.setenv("EDGEOPS_DATABASE", STORES.url(tmp_path / name, empty=True))

    return call


@pytest.fixture
def endings():
    with contextlib.ExitStack() as stack:
        yield stack


def ids_of_events(about=None):
    with STORES.open(os.environ["EDGEOPS_DATABASE"]).read() as connection:
        return [event.id for event in events.page(connection, subject=about, limit=10_000)]


def test_a_fleet_on_postgresql_goes_on_from_a_backup_in_another_database(tmp_path, endings, use):
    """Since the backup the device saw newer metadata, revisions and sessions."""
    data, kept, safe, new = (tmp_path / name for name in ("old", "backups", "safe", "new"))
    use("the-old-one")
    with Site(data, agents=0, starter=True) as site:
        first, second = (add_version(data, version) for version in (1, 2))
        agent = Agent(tmp_path / "agents", "pi-1", site)
        endings.callback(agent.close)
        for version in (1, 2):
            publish(site.client, version)
        assert roll_out(site.client, 1).state == "finished"
        backup = edgeops("backup", kept, "--data", data)
        assert backup.returncode == 0, backup.stderr

        assert roll_out(site.client, 2).state == "finished"
        told = ids_of_events()[-1]
        old_port = site.endpoints.broker_port
        safe.mkdir()
        for role in ("root", "targets"):
            shutil.copy(data / f"keys/{role}.pem", safe)
    shutil.rmtree(data)

    restore = ("restore", kept, "--data", new, "--keys", safe)
    refused = edgeops(*restore)
    assert refused.returncode == 6
    assert "is not empty" in refused.stderr
    assert not new.exists()
    use("the-new-one")
    restored = edgeops(*restore)
    assert restored.returncode == 0, restored.stderr
    with Site(new, agents=0, starter=True) as site:
        client = site.client
        endings.callback(Forward(old_port, site.endpoints.broker_port).close)
        eventually(lambda: online(client, [agent]), what="the device found the new server")
        assert agent.active == second, "a restore changes no model"
        again = roll_out(client, 1)
        assert again.state == "finished", again.reason
        assert agent.active == first
        assert "this server was restored" in edgeops("devices", "list", "--data", new).stderr
        assert ids_of_events(about=again.id)[0] > told
        assert not list((new / "db").iterdir()), "the tables are elsewhere"
