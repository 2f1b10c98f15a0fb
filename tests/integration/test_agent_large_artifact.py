"""A real site and a real agent, and an artifact that comes over HTTP: cut off by a kill, and damaged at the server."""

import contextlib
import random
import secrets
import signal
import tempfile
from pathlib import Path

import pytest

from edgeops import limits
from edgeops.artifact.blockplan import BlockMap
from edgeops.artifact.package import open_artifact, package, tflite_part
from edgeops.local.up import Site
from edgeops.update.faults import VARIABLE, FailPoint
from fleet_server.config import ServerConfig
from tests.golden.tiny import tiny_artifact
from tests.integration.backup_rig import (
    DEPLOYMENT,
    MODEL,
    QUICK,
    VARIANT,
    Agent,
    Forward,
    add_version,
    eventually,
    publish,
    roll_out,
)
from tests.integration.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

SIZE = 12 * 1024 * 1024
BLOCKS = SIZE // limits.BLOCK_BYTES
KILLED_AT = 200
#: So far the map of what is there may be behind.
UNSAVED = 16


def large(version):
    """A tiny model with a heavy file: a runtime looks at nothing that is not in its flatbuffer."""
    artifact = tiny_artifact(MODEL, version)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact)
        like = open_artifact(path)
    ballast = random.Random(version).randbytes(SIZE - len(artifact))
    return package(
        tflite_part(artifact) + ballast, like.manifest, reference=like.reference, golden=like.golden, card=like.card
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site") / "data", agents=0, starter=True) as running:
        for version, artifact in ((1, None), (2, large(2)), (3, large(3))):
            add_version(running.data, version, artifact)
            publish(running.client, version)
        yield running


@pytest.fixture
def endings():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def api(site, endings):
    """The way to the API, which counts what comes back."""
    forward = Forward(free_port(), site.endpoints.api_port)
    endings.callback(forward.close)
    return forward


@pytest.fixture
def agent(tmp_path, site, api, endings):
    """A device with a model of the first version, and an agent that dies in the mid of the next one's fetch."""
    agent = Agent(tmp_path / "agents", f"pi-{secrets.token_hex(2)}", site)
    endings.callback(agent.close)
    eventually(lambda: site.client.device(agent.id).deployments, what="the server knows the deployment")
    assert roll_out(site.client, 1, to=f"id={agent.id}").state == "finished"
    agent.close()
    # Its own server's address is what enrolment said; this one leads there too, and counts.
    agent.way = f"http://127.0.0.1:{api.port}"
    agent.start("--server", agent.way, **{VARIABLE: f"{FailPoint.BLOCK_WRITTEN}:{KILLED_AT}"})
    return agent


def offer(site, agent, version):
    return site.client.create_rollout(
        MODEL, version, variant=VARIANT, deployment=DEPLOYMENT, to=f"id={agent.id}", waves=("100%",), policy=QUICK
    ).id


def die_in_mid_fetch(agent):
    eventually(lambda: not agent.child.running, what="the agent is killed while it fetches")
    assert agent.child.process.returncode == -signal.SIGKILL


def blocks_on_disk(agent):
    """Of the download that a killed agent left."""
    [file] = agent.state.rglob("*.map")
    return BlockMap.from_bytes(file.read_bytes()).received


def test_a_fetch_over_http_that_a_kill_cut_off_goes_on_where_it_was(site, api, agent):
    incumbent = agent.active
    begun = api.returned_bytes
    rollout = offer(site, agent, 2)
    die_in_mid_fetch(agent)
    assert api.returned_bytes - begun > (KILLED_AT - 1) * limits.BLOCK_BYTES, "it came another way"
    saved = blocks_on_disk(agent)
    assert KILLED_AT - UNSAVED <= saved < KILLED_AT
    cut = api.returned_bytes

    agent.start("--server", agent.way)
    assert agent.active == incumbent

    eventually(lambda: site.client.rollout(rollout).state != "running", what="the rollout ends")
    assert site.client.rollout(rollout).state == "finished"
    assert agent.active != incumbent
    came = (api.returned_bytes - cut) / limits.BLOCK_BYTES
    # What was written and not yet noted is right as well, as only the process was killed.
    assert BLOCKS - KILLED_AT <= came < BLOCKS - saved + 1, "it began anew, or came another way"


def test_a_file_that_was_swapped_or_cut_at_the_server_is_not_taken_and_the_right_one_is(site, agent):
    incumbent = agent.active
    rollout = offer(site, agent, 3)
    die_in_mid_fetch(agent)
    saved = blocks_on_disk(agent)
    [map_file] = agent.state.rglob("*.map")
    blob = ServerConfig(site.data).blob_path(f"sha256:{map_file.stem}")
    right = blob.read_bytes()

    for wrong in (random.Random(9).randbytes(len(right)), right[: len(right) // 4]):
        blob.write_bytes(wrong)
        agent.start("--server", agent.way)
        rows = agent.deployment()["source_rows"]
        eventually(lambda rows=rows: agent.deployment()["source_rows"] > rows + 100, what="the incumbent answers")
        eventually(
            lambda: agent.status()["counters"].get("block.mismatched", 0) > 0,
            what="the agent sees that it is not the right one",
        )
        assert (agent.active, agent.deployment()["state"]) == (incumbent, "fetching")
        agent.close()
        assert blocks_on_disk(agent) == saved, "a wrong block was taken"

    blob.write_bytes(right)
    agent.start("--server", agent.way)
    eventually(lambda: site.client.rollout(rollout).state != "running", what="the rollout ends")
    assert site.client.rollout(rollout).state == "finished"
    assert agent.active == f"sha256:{map_file.stem}"
