"""Models that take the agent down, hang it or eat its memory: in the probe, in the trial and in the bake."""

import platform
import sys
from functools import partial

import pytest

from edgeops.local import processes
from edgeops.local.up import Site
from tests.integration.scene_rig import POLICY, Scene, eventually, good_rows, striking_rows
from tests.models.bad import Bad

pytestmark = [pytest.mark.slow, pytest.mark.long]

needs_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="other processors do the division that takes it down"
)
#: The agent of a device with little patience: seconds for a loop, seconds for a probe, and its arguments.
HASTY = """
import sys
from datetime import timedelta
from edgeops import limits
limits.LOOP_HANGS_AFTER, limits.PROBE_TIMEOUT = (timedelta(seconds=float(one)) for one in sys.argv[1:3])
from device_agent.cli import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("scene"), starter=True) as site:
        yield Scene(site)


@pytest.fixture
def canary(scene):
    """The first device, with sensors that show nothing unusual before and after."""
    [canary] = scene.site.agents[:1]
    usual = canary.start
    yield canary
    scene.stop(canary)
    canary.start = usual
    scene.site.start_agent(canary)
    scene.play(good_rows(2_000), canary)


def roll_out(scene, bad, canary, **policy):
    return scene.roll_out(bad, waves=(f"id={canary.device_id}", "100%"), policy=POLICY | policy)


def make_hasty(scene, agent, *, loop_s, probe_s):
    """Start its agent anew, now and whenever it ended."""
    scene.stop(agent)
    places = scene.site.endpoints
    where = ("--broker", f"{places.broker_host}:{places.broker_port}", "--server", places.url)
    line = [sys.executable, "-c", HASTY, str(loop_s), str(probe_s), "--state", str(agent.state), "run", *where]
    agent.start = partial(processes.start, agent.name, line, logs=scene.site.logs)
    scene.site.start_agent(agent)


@needs_x86
def test_a_model_that_crashes_in_the_probe_costs_no_inference(scene, canary):
    bad = scene.add_bad(Bad.CRASHING)
    rollout = scene.ended(roll_out(scene, bad, canary), "failed")
    assert f"{canary.device_id} failed (probe: " in rollout.reason
    assert "SIGFPE" in rollout.reason
    scene.require_contained(rollout, bad, states=["failed"])


def test_a_model_that_hangs_in_the_probe_costs_no_inference(scene, canary):
    bad = scene.add_bad(Bad.HANGING)
    make_hasty(scene, canary, loop_s=300, probe_s=3)
    rollout = scene.ended(roll_out(scene, bad, canary), "failed")
    assert f"{canary.device_id} failed (probe: " in rollout.reason
    assert "hung" in rollout.reason
    scene.require_contained(rollout, bad, states=["failed"])


def test_a_model_that_hangs_in_the_trial_is_taken_back_by_the_device_once_its_watchdog_saw_it(scene, canary):
    bad = scene.add_bad(Bad.HANGING_ON_INPUT)
    make_hasty(scene, canary, loop_s=5, probe_s=60)
    scene.play(striking_rows(600, every=30), canary)
    started = roll_out(scene, bad, canary, trial_inferences=40)
    rollout = scene.ended(started, "failed", meanwhile=scene.site.mend)
    assert f"{canary.device_id} rolled-back (trial-boots: " in rollout.reason
    scene.require_contained(rollout, bad, states=["rolled-back"])


@needs_x86
@pytest.mark.parametrize("bad", [Bad.CRASHING_ON_INPUT, Bad.HANGING_ON_INPUT])
def test_a_model_that_takes_the_agent_down_in_the_bake_again_and_again_is_stopped(scene, canary, bad):
    digest = scene.add_bad(bad)
    make_hasty(scene, canary, loop_s=5, probe_s=60)
    started = roll_out(scene, digest, canary, bake=60)
    eventually(lambda: scene.installation(started, canary).state == "committed", what="the canary has it")
    # Each start lives long enough to be heard.
    scene.play(striking_rows(600, every=600, first=250), canary)

    def supervise():
        if not canary.child.running:
            scene.site.start_agent(canary)

    rollout = scene.ended(started, "rolled-back", meanwhile=supervise)
    assert "of the agent that nobody asked for" in rollout.reason
    assert [one.kind for one in scene.wave(rollout).findings if one.sign == "bad"] == ["crashes"]
    scene.require_contained(rollout, digest, states=["rolled-back"])


def test_a_model_that_takes_far_more_memory_is_stopped(scene, canary):
    bad = scene.add_bad(Bad.LARGE)
    rollout = scene.ended(roll_out(scene, bad, canary), "rolled-back")
    assert [one.kind for one in scene.wave(rollout).findings if one.sign == "bad"] == ["memory"]
    assert "MiB of the old model; limit 1.5 x" in rollout.reason or "MiB against" in rollout.reason
    scene.require_contained(rollout, bad, states=["rolled-back"])
