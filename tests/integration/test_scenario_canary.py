"""What a canary is for: models that pass every check before their rollout meet a fleet, and do not get past it."""

import platform

import pytest

from edgeops.local.up import Site
from tests.integration.scene_rig import POLICY, Scene, eventually, good_rows, striking_rows
from tests.models.bad import Bad

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("scene"), starter=True) as site:
        yield Scene(site)


def test_a_model_that_installs_well_and_is_wrong_is_stopped_by_the_canary_without_a_label(scene):
    wrong = scene.add_bad(Bad.WRONG)
    rollout = scene.ended(scene.roll_out(wrong), "rolled-back")
    assert rollout.reason.startswith("not healthy: they differ on ")
    assert "two models of 99 % accuracy can differ on 2 % at most" in rollout.reason
    wave = scene.wave(rollout)
    assert (wave.health, wave.judged) == ("unhealthy", True)
    assert [one.kind for one in wave.findings if one.sign == "bad"] == ["answers"]
    scene.require_contained(rollout, wrong, states=["rolled-back"])


@pytest.mark.long
def test_a_model_that_answers_slowly_is_stopped_by_the_canary(scene):
    slow = scene.add_bad(Bad.SLOW)
    rollout = scene.ended(scene.roll_out(slow), "rolled-back")
    assert rollout.reason.startswith("not healthy: p95 ")
    assert "of the old model on the same inputs" in rollout.reason
    assert "limit 1.25 x, exceeded in " in rollout.reason
    [latency] = [one for one in scene.wave(rollout).findings if one.sign == "bad"]
    assert latency.kind == "latency"
    assert latency.value > 1.25 * latency.against
    scene.require_contained(rollout, slow, states=["rolled-back"])


@pytest.mark.long
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors do the division that takes it down")
def test_a_model_that_takes_the_agent_down_in_its_trial_is_taken_back_by_the_device(scene):
    crashing = scene.add_bad(Bad.CRASHING_ON_INPUT)
    # Its trial takes longer than it takes until a row strikes.
    scene.play(striking_rows(600, every=30))
    started = scene.roll_out(crashing, policy=POLICY | {"trial_inferences": 40})
    rollout = scene.ended(started, "failed", meanwhile=scene.site.mend)
    canary = scene.canary(rollout).device_id
    assert rollout.reason.startswith(f"1 of 1 device did not keep the model: {canary} rolled-back (trial-boots")
    scene.require_contained(rollout, crashing, states=["rolled-back"])
    scene.play(good_rows(2_000))


@pytest.mark.long
def test_a_rollout_that_is_aborted_in_the_trial_has_the_canary_go_back(scene):
    good = scene.add_good()
    # At the rate of the sensors the trial would take for minutes.
    started = scene.roll_out(good, policy=POLICY | {"trial_inferences": 10_000})
    canary = scene.canary(started)
    eventually(lambda: scene.deployment(canary).state == "trial", what="the canary tries it")
    assert scene.runs(canary) == scene.good, "what actuates hears the incumbent"
    scene.client.abort_rollout(started.id)
    rollout = scene.ended(started, "aborted")
    scene.require_contained(rollout, good, states=["superseded"])
    eventually(lambda: scene.deployment(canary).candidate is None, what="the canary has dropped it")
    assert scene.installations(rollout)[canary.device_id].evidence["committed"] is False
