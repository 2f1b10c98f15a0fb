"""A fleet that speaks TLS loses its server twice, each time restored from one backup with online keys."""

import contextlib
import json
import shutil

import pytest

from edgeops.local.listening import Listening
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

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def endings():
    with contextlib.ExitStack() as stack:
        yield stack


def site_of(data):
    return Site(data, agents=0, starter=True, listening=Listening(forced_tls=True))


def restore(kept, data, *more):
    restored = edgeops("restore", kept, "--data", data, *more)
    assert restored.returncode == 0, restored.stderr
    return restored.stderr


def put_aside(keys, safe):
    """What a person keeps elsewhere."""
    safe.mkdir()
    for role in ("root", "targets"):
        shutil.copy(keys / f"{role}.pem", safe)


def listed(data):
    """The CAs of a server."""
    shown = edgeops("key", "ca", "show", "--json", "--data", data)
    assert shown.returncode == 0, shown.stderr
    return [one["fingerprint"] for one in json.loads(shown.stdout)["authorities"]]


def believed(agent):
    """The CAs that a device believes, as PEM."""
    return json.loads((agent.state / "trust/ca.json").read_bytes())["certificates"]


def actives(agents):
    return [agent.active for agent in agents]


def test_a_fleet_with_tls_comes_back_under_the_ca_of_its_backup_and_under_a_new_one_with_new_keys(tmp_path, endings):
    lost, second, third, kept, safe = (tmp_path / name for name in ("lost", "second", "third", "backups", "safe"))
    with site_of(lost) as site:
        assert site.endpoints.url.startswith("https://")
        digests = {version: add_version(lost, version) for version in (1, 2)}
        agents = [Agent(tmp_path / "agents", name, site) for name in ("pi-1", "pi-2")]
        for agent in agents:
            endings.callback(agent.close)
        for version in digests:
            publish(site.client, version)
        assert roll_out(site.client, 1).state == "finished"
        backup = edgeops("backup", kept, "--with-online-keys", "--data", lost)
        assert backup.returncode == 0, backup.stderr
        assert roll_out(site.client, 2).state == "finished"
        [ca] = listed(lost)
        eventually(lambda: all(len(believed(agent)) == 1 for agent in agents), what="the devices know the CA")
        known = believed(agents[0])
        old = site.endpoints
        put_aside(lost / "keys", safe)
    shutil.rmtree(lost)

    assert "certificate authority is new" not in restore(kept, second)
    with site_of(second) as site:
        api = Forward(old.api_port, site.endpoints.api_port)
        broker = Forward(old.broker_port, site.endpoints.broker_port)
        for forward in (api, broker):
            endings.callback(forward.close)
            assert forward.port != forward.to
        assert listed(second) == [ca]
        eventually(lambda: online(site.client, agents), what="both devices found the second server")
        assert actives(agents) == [digests[2]] * 2, "a restore changes no model"
        again = roll_out(site.client, 1)
        assert again.state == "finished", again.reason
        assert actives(agents) == [digests[1]] * 2
        assert [believed(agent) for agent in agents] == [known] * 2
    shutil.rmtree(second)

    assert "certificate authority is new" in restore(kept, third, "--keys", safe)
    with site_of(third) as site:
        api.to, broker.to = site.endpoints.api_port, site.endpoints.broker_port
        [new] = listed(third)
        assert new != ca
        assert not list((third / "keys").glob(f"*{ca.removeprefix('sha256:')[:8]}*")), "the old CA's key is here"
        eventually(lambda: online(site.client, agents), what="both devices learnt the new CA")
        assert [believed(agent) for agent in agents] == [[(third / "tls/ca.pem").read_text()]] * 2
        again = roll_out(site.client, 2, waves=("1", "100%"))
        assert again.state == "finished", again.reason
        assert actives(agents) == [digests[2]] * 2
        digests[3] = add_version(third, 3)
        signed = edgeops("model", "sign", f"{MODEL}@3", "--keys", safe, "--data", third)
        assert signed.returncode == 0, signed.stderr
        agents.append(Agent(tmp_path / "agents", "pi-3", site))
        endings.callback(agents[-1].close)
        eventually(lambda: online(site.client, agents), what="a device enrols at a restored server")
        assert roll_out(site.client, 3).state == "finished"
        assert actives(agents) == [digests[3]] * 3
