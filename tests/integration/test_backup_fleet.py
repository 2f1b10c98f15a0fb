"""Yesterday's backup in another folder, at another port: the fleet goes on without a visit."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from edgeops.local.up import Site
from tests.integration.backup_rig import (
    MODEL,
    Agent,
    Forward,
    add_version,
    edgeops,
    eventually,
    online,
    publish,
    roll_out,
)

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]


OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


def documented(verb, where):
    """A command of the page for operators, word by word, with the places of this test."""
    [line] = set(re.findall(rf"^    edgeops ({verb} .*)$", OPERATIONS.read_text(), re.MULTILINE))
    return [where.get(word, word) for word in line.split()]


@pytest.fixture
def endings():
    with contextlib.ExitStack() as stack:
        yield stack


def test_after_a_restore_elsewhere_every_device_converges_without_a_visit(tmp_path, endings):
    """Since the backup, devices saw newer metadata, revisions and sessions, and one a model that the backup lacks."""
    data, kept, safe, new = (tmp_path / name for name in ("old", "backups", "safe", "new"))
    with Site(data, agents=0, starter=True) as site:
        digests = {version: add_version(data, version) for version in (1, 2)}
        first, _ = agents = [Agent(tmp_path / "agents", name, site) for name in ("pi-1", "pi-2")]
        for agent in agents:
            endings.callback(agent.close)
        for version in digests:
            publish(site.client, version)
        assert roll_out(site.client, 1).state == "finished"

        where = {"/media/disk/edgeops": kept, "/srv/edgeops-new": new, "/media/stick/edgeops-keys": safe}
        backup = edgeops(*documented("backup", where), "--data", data)
        assert backup.returncode == 0, backup.stderr

        assert roll_out(site.client, 2).state == "finished"
        digests[3] = add_version(data, 3)
        publish(site.client, 3)
        assert roll_out(site.client, 3, to=f"id={first.id}").state == "finished"
        assert [agent.active for agent in agents] == [digests[3], digests[2]]
        old_port = site.endpoints.broker_port
        safe.mkdir()
        for role in ("root", "targets"):
            shutil.copy(data / f"keys/{role}.pem", safe)
    shutil.rmtree(data)

    restored = edgeops(*documented("restore", where))
    assert restored.returncode == 0, restored.stderr
    with Site(new, agents=0, starter=True) as site:
        client = site.client
        assert site.endpoints.broker_port != old_port
        endings.callback(Forward(old_port, site.endpoints.broker_port).close)
        eventually(lambda: online(client, agents), what="both devices found the new server")
        assert [agent.active for agent in agents] == [digests[3], digests[2]], "a restore changes no model"

        again = roll_out(client, 2, waves=("1", "100%"))
        assert again.state == "finished", again.reason
        assert [agent.active for agent in agents] == [digests[2]] * 2, "one came from a model that nobody knows here"
        digests[4] = add_version(new, 4)
        signed = edgeops("model", "sign", f"{MODEL}@4", "--keys", safe, "--data", new)
        assert signed.returncode == 0, signed.stderr
        assert roll_out(client, 4).state == "finished"
        assert [agent.active for agent in agents] == [digests[4]] * 2
        assert "this server was restored" in edgeops(*documented("devices list", where)).stderr
