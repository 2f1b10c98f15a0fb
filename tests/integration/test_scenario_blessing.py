"""A fleet of real agents tries a model before its rollout begins, and one that does not bless it keeps it out."""

import pytest

from edgeops.local.up import Site
from tests.integration.scene_rig import MODEL, POLICY, VARIANT, Scene
from tests.models.bad import Bad

pytestmark = [pytest.mark.slow, pytest.mark.processes]

AUTO = POLICY | {"require_blessing": "auto", "bake": 0, "health": {"min_rows": 20, "max_error_rise": 0.2}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("scene"), starter=True) as site:
        yield Scene(site)


def test_the_server_has_one_device_try_a_model_and_begins_its_rollout(scene):
    good = scene.add_good()
    rollout = scene.roll_out(good, waves=("100%",), policy=AUTO)
    assert rollout.state == "awaiting-blessing"
    scene.ended(rollout, "finished")
    version = scene.client.version(MODEL, rollout.version)
    (blessing,) = version.benchmarks
    assert (blessing.outcome, blessing.variant, blessing.asked_by) == ("blessed", VARIANT, rollout.id)
    assert blessing.result.inferences > 0
    assert blessing.result.latency_p99_us >= blessing.result.latency_p50_us > 0
    assert scene.client.run(version.run_id).benchmarks == version.benchmarks
    assert all(scene.runs(agent) == good for agent in scene.site.agents)


def test_a_model_that_ends_its_process_reaches_no_device(scene):
    before = {device.id: device.desired for device in scene.client.devices()}
    crashing = scene.add_bad(Bad.CRASHING)
    rollout = scene.ended(scene.roll_out(crashing, policy=AUTO), "failed")
    assert "did not bless the model: probe: the benchmark was killed by" in rollout.reason
    assert {device.id: device.desired for device in scene.client.devices()} == before
    assert all(agent.child.process.poll() is None for agent in scene.site.agents)


def test_a_device_that_is_away_tries_it_when_it_comes(scene):
    good = scene.add_good()
    agent = scene.site.agents[0]
    scene.stop(agent)
    asked = scene.client.benchmarks.ask(MODEL, scene.version(good), variant=VARIANT, device=agent.device_id)
    assert (asked.repeated_at, asked.ended_at) == (None, None)
    scene.site.start_agent(agent)
    assert scene.client.benchmarks.wait(asked.id).outcome == "blessed"
