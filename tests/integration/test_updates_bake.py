"""Which models an update machine has answer: in trial, while the committed model bakes, after a crash, on a bad disk."""

import pytest
from msgspec.structs import replace

from device_agent.probe import ProbeVerdict
from edgeops import limits
from edgeops.protocol.messages import Reason, Shadowing, UpdateState
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import Device, Server

pytestmark = pytest.mark.processes

SHADOWING = Shadowing(share=0.2, cpu=0.1, for_ms=600_000, window_ms=5_000)


def passes(_path, _set) -> ProbeVerdict:
    return ProbeVerdict(reason=Reason.NONE, detail="")


class Site:
    def __init__(self, folder) -> None:
        self._folder = folder
        self.server = Server(folder)
        self.first, self.second = (self.server.publish(tiny_artifact(version=version)) for version in (1, 2))
        self.device = self.start()
        self.install(self.first, revision=1)

    def start(self) -> Device:
        self.device = Device(self._folder, self.server, probe=passes)
        return self.device

    def desire(self, descriptor, *, revision, shadowing=None) -> None:
        self.device.desire(
            descriptor, revision=revision, installation=f"inst-{descriptor.digest[-4:]}", shadowing=shadowing
        )

    def install(self, descriptor, *, revision, shadowing=None) -> None:
        self.desire(descriptor, revision=revision, shadowing=shadowing)
        self.device.run_until(UpdateState.TRIAL)
        self.commit()

    def commit(self) -> None:
        self.device.infer()
        self.device.acknowledge()
        assert self.device.state is UpdateState.COMMITTED

    def shadow(self) -> str | None:
        shadow = self.device.updates.running().shadow
        return None if shadow is None else shadow.digest

    @property
    def shadowing(self) -> Shadowing | None:
        return self.device.updates.running().shadowing


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.device.close()


def test_the_incumbent_is_the_shadow_from_the_trial_to_the_end_of_the_bake(site):
    assert (site.shadow(), site.shadowing) == (None, None)
    site.desire(site.second, revision=2, shadowing=SHADOWING)
    assert site.shadow() is None
    site.device.run_until(UpdateState.TRIAL)
    assert (site.shadow(), site.shadowing) == (site.first.digest, SHADOWING)
    site.commit()
    assert site.device.active == site.second.digest
    assert (site.shadow(), site.shadowing) == (site.first.digest, SHADOWING)
    changes = site.device.changes
    site.device.later(601)
    assert (site.shadow(), site.shadowing) == (None, None)
    assert site.device.changes > changes


def test_a_candidate_that_fails_is_no_longer_watched(site):
    site.desire(site.second, revision=2, shadowing=SHADOWING)
    site.device.run_until(UpdateState.TRIAL)
    site.device.updates.trial_inference(ok=False, latency_us=0, detail="it broke")
    assert (site.shadow(), site.shadowing) == (None, None)
    site.device.updates.tick()
    assert site.device.state is UpdateState.ROLLED_BACK
    assert (site.shadow(), site.shadowing) == (None, None)


def test_a_bake_ends_by_a_newer_revision_and_nothing_is_installed_for_it(site):
    site.install(site.second, revision=2, shadowing=SHADOWING)
    reports = len(site.device.reports())
    site.desire(site.second, revision=3)
    assert (site.shadow(), site.shadowing) == (None, None)
    assert (site.device.state, site.device.active) == (UpdateState.COMMITTED, site.second.digest)
    assert len(site.device.reports()) == reports


def test_a_bake_that_is_asked_for_again_lasts_from_then_on(site):
    site.install(site.second, revision=2, shadowing=SHADOWING)
    site.device.later(500)
    site.desire(site.second, revision=3, shadowing=SHADOWING)
    site.device.later(500)
    assert site.shadow() == site.first.digest
    site.device.later(101)
    assert site.shadowing is None


def test_a_control_device_closes_windows_early_without_a_shadow(site):
    control = replace(SHADOWING, share=0.0)
    site.desire(site.first, revision=2, shadowing=control)
    assert (site.shadow(), site.shadowing) == (None, control)
    site.device.later(300)
    assert site.shadowing == control
    site.device.later(301)
    assert site.shadowing is None


def test_the_first_model_of_a_device_bakes_without_a_shadow(tmp_path):
    site = Site.__new__(Site)
    site._folder, site.server = tmp_path, Server(tmp_path)
    descriptor = site.server.publish(tiny_artifact())
    site.start()
    site.install(descriptor, revision=1, shadowing=SHADOWING)
    assert (site.shadow(), site.shadowing) == (None, SHADOWING)
    site.device.close()


def test_another_desired_model_ends_the_bake_at_once(site):
    site.install(site.second, revision=2, shadowing=SHADOWING)
    site.desire(site.first, revision=3)
    assert site.device.state is UpdateState.FETCHING
    assert (site.shadow(), site.shadowing) == (None, None)


@pytest.mark.parametrize("wall_s", [-10 * 365 * 86_400, 0, 10 * 365 * 86_400])
def test_a_restart_goes_on_with_the_bake_whatever_the_clock_shows(site, wall_s):
    site.install(site.second, revision=2, shadowing=SHADOWING)
    site.device.later(400)
    site.device.close()
    site.start()
    site.device.wall += site.device.wall.resolution * 1_000_000 * wall_s
    assert (site.shadow(), site.shadowing) == (site.first.digest, SHADOWING)
    site.device.later(199)
    assert site.shadow() == site.first.digest
    site.device.later(2)
    assert site.shadow() is None


def test_a_model_that_is_lost_in_its_bake_is_watched_anew_when_it_is_there_again(site):
    site.install(site.second, revision=2, shadowing=SHADOWING)
    site.device.later(400)
    slot = site.device.updates.running().active
    site.device.close()
    slot.path.write_bytes(b"damaged")
    site.start()
    assert site.device.active == site.first.digest
    assert (site.shadow(), site.shadowing) == (None, None)
    site.device.run_until(UpdateState.TRIAL)
    site.commit()
    site.device.later(500)
    assert (site.shadow(), site.device.active) == (site.first.digest, site.second.digest)


def test_too_many_starts_in_a_bake_leave_the_shadow_out_for_the_rest_of_it(site):
    site.install(site.second, revision=2, shadowing=SHADOWING)
    for _ in range(limits.SHADOW_STARTS + 1):
        site.device.close()
        site.start()
    assert (site.shadow(), site.shadowing) == (None, replace(SHADOWING, share=0.0))
    site.device.later(limits.BAKE_NOTED_AFTER.total_seconds())
    assert (site.shadow(), site.shadowing) == (None, replace(SHADOWING, share=0.0))
    site.device.later(600)
    assert site.shadowing is None
