"""Who says nothing proves nothing: a sensor, a device in its bake and a device in its trial fall silent."""

import pytest

from edgeops.local.up import Site
from tests.integration.scene_rig import POLICY, Scene, eventually, good_rows

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("scene"), starter=True) as site:
        yield Scene(site)


def committed(scene, started, canary):
    eventually(lambda: scene.installation(started, canary).state == "committed", what="the canary has it")


def test_a_sensor_that_falls_silent_in_the_bake_pauses_the_rollout_however_well_the_model_is(scene):
    good = scene.add_good()
    # More than can come before it falls silent.
    policy = POLICY | {"evidence_timeout": 5, "health": {"min_rows": 2_000}}
    started = scene.roll_out(good, policy=policy)
    canary = scene.canary(started)
    committed(scene, started, canary)
    scene.stop_source(canary)
    rollout = scene.ended(started, "paused")
    assert rollout.reason.startswith("insufficient evidence: not enough was heard: ")
    assert " of 2,000 inputs answered" in rollout.reason
    assert (rollout.wave, scene.told(good)) == (0, {canary.device_id})
    pause = scene.why(canary).hindrances[0]
    assert pause.cause == "pause"
    assert rollout.reason in pause.words
    scene.client.direct_rollout(rollout.id, "abort", roll_back=True)
    # What it ran before proves itself like any model, on inputs.
    eventually(lambda: scene.deployment(canary).state == "trial", what="the canary tries what it ran before")
    ended, differs = scene.why(canary).hindrances
    assert ended.words.startswith(f"in rollout {rollout.id} it ended rolled-back")
    assert differs.words.endswith("; it is trial")
    scene.play(good_rows(2_000), canary)
    scene.require_contained(scene.ended(rollout, "rolled-back"), good, states=["rolled-back"])


def test_a_device_that_loses_its_power_in_the_trial_times_out_and_comes_back_with_what_it_had(scene):
    good = scene.add_good()
    policy = POLICY | {"trial_inferences": 10_000, "offer_timeout": 60, "retries": 0}
    started = scene.roll_out(good, policy=policy)
    canary = scene.canary(started)
    eventually(lambda: scene.deployment(canary).state == "trial", what="the canary tries it")
    scene.kill(canary)
    rollout = scene.ended(started, "failed")
    device = canary.device_id
    assert rollout.reason.startswith(
        f"1 of 1 device did not keep the model: {device} timed-out (nothing final within 60 s of the offer)"
    )
    scene.site.start_agent(canary)
    scene.require_contained(rollout, good, states=["superseded"])


def test_a_device_that_loses_its_power_in_the_bake_holds_the_rollout_up_until_it_is_back(scene):
    good = scene.add_good()
    started = scene.roll_out(good, policy=POLICY | {"bake": 30, "evidence_timeout": 5})
    canary = scene.canary(started)
    committed(scene, started, canary)
    eventually(lambda: scene.wave(started).health == "healthy", what="the canary has shown enough")
    scene.kill(canary)
    rollout = scene.ended(started, "paused")
    assert rollout.reason == "insufficient evidence: not enough was heard: 1 device fell silent"
    assert (rollout.wave, scene.told(good)) == (0, {canary.device_id})
    scene.site.start_agent(canary)
    eventually(lambda: scene.client.device(canary.device_id).presence == "online", what="the canary is back")
    scene.client.direct_rollout(rollout.id, "resume")
    scene.ended(rollout, "finished")
    scene.require_all_run(good)
    scene.good = good
