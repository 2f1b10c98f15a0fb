"""A device that is off while the others prove a model comes later, and has to prove it by itself."""

import pytest

from edgeops.artifact.manifest import MissingPolicy
from edgeops.local.up import Site
from tests.integration.scene_rig import POLICY, Scene, eventually, gappy_rows

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("scene"), starter=True) as site:
        yield Scene(site)


def without_the_last(scene, good, **policy):
    """A rollout that ends well while one device is off; that device."""
    late = scene.site.agents[-1]
    scene.stop(late)
    rollout = scene.ended(scene.roll_out(good, policy=POLICY | policy), "finished")
    part = scene.installation(rollout, late)
    assert (part.state, part.offered_at, part.wave) == ("pending", None, 1)
    assert scene.told(good) == {one.device_id for one in scene.site.agents} - {late.device_id}
    return rollout, late


def states_of(scene, rollout, late):
    """How its installation went on, from the events of the server."""
    part = scene.installation(rollout, late)
    events = scene.client.past_events(kinds=("installation.changed",), subject=part.id)
    return [one.data["state"] for one in events]


def test_a_late_joiner_passes_a_health_gate_of_its_own(scene):
    good = scene.add_good()
    rollout, late = without_the_last(scene, good)
    scene.site.start_agent(late)
    part = eventually(
        lambda: next((one for one in [scene.installation(rollout, late)] if one.state == "healthy"), None),
        what="the late one has proved it",
    )
    assert states_of(scene, rollout, late)[-2:] == ["committed", "healthy"]
    assert "inputs on 1 device, " in part.detail, "by what it has shown itself"
    assert "by both models" in part.detail
    assert scene.client.rollout(rollout.id).state == "finished"
    scene.require_all_run(good)
    scene.good = good


def test_a_late_joiner_whose_sensors_the_model_cannot_read_goes_back_and_the_others_keep_it(scene):
    picky = scene.add_good(missing=MissingPolicy.REFUSE)
    # So long that the gaps are there before it could pass.
    rollout, late = without_the_last(scene, picky, bake=15)
    scene.site.start_agent(late)
    eventually(lambda: scene.installation(rollout, late).state == "committed", what="the late one has it")
    scene.play(gappy_rows(600, every=5), late)
    part = eventually(
        lambda: next((one for one in [scene.installation(rollout, late)] if one.state != "committed"), None),
        what="the late one is judged",
    )
    assert part.state == "rolled-back"
    assert part.detail.startswith("not healthy: of ")
    assert "ended in an error of the new one alone" in part.detail
    eventually(lambda: scene.runs(late) == scene.good, what="the late one runs what it ran")
    eventually(lambda: scene.deployment(late).active == scene.good, what="that is known")
    others = [one for one in scene.site.agents if one is not late]
    assert {scene.runs(one) for one in others} == {picky}
    assert {scene.installation(rollout, one).state for one in others} == {"healthy"}
