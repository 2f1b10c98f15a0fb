"""Two models on the same inputs in a real agent: in trial, after the commit, over a kill, and what leaves the device."""

import signal

import numpy as np
import pytest

from device_agent.control import ask
from edgeops.artifact.manifest import MissingPolicy, Preprocess
from edgeops.digest import digest_raw
from edgeops.protocol import messages
from edgeops.protocol.messages import Phase, Shadowing
from edgeops.protocol.topics import DownKind
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

pytestmark = [pytest.mark.slow, pytest.mark.processes]

LONG = Shadowing(share=0.5, cpu=0.5, for_ms=600_000, window_ms=1_000)
#: Shifted so far that it answers some rows otherwise.
SHIFTED = Preprocess(add=(1.0, -1.0, 0.5, 0.0), clip=8.0)


class Site:
    """One device that runs a first model, and a second one that disagrees here and there."""

    def __init__(self, rig, **first) -> None:
        self.rig = rig
        self.old, self._old_target = rig.server.publish_model(version=1, **first)
        self.new, self._new_target = rig.server.publish_model(version=2, preprocess=SHIFTED)
        rig.play(2_000, rate_hz=200.0, loop=True)
        rig.server.desire(1, (DEPLOYMENT, self.old, self._old_target), installation="inst-old")
        rig.start_agent()
        eventually(lambda: rig.committed(self.old), what="the first model is committed")

    def desire_new(self, revision, shadowing) -> None:
        wanted = (DEPLOYMENT, self.new, self._new_target)
        self.rig.server.desire(revision, wanted, installation="inst-new", shadowing=shadowing)

    def bake(self, shadowing) -> None:
        self.desire_new(2, shadowing)
        eventually(lambda: self.rig.committed(self.new), what="the second model is committed")

    def shadow(self):
        """The digest of what answers beside the model in charge; "" while nobody can be asked."""
        status = self.rig.status()
        found = [one for one in (status or {}).get("deployments", []) if one["deployment"] == DEPLOYMENT]
        return found[0]["shadow"] if found else ""

    def paired(self, phase, at_least=1):
        """What windows of the new model say of the old one, once there are so many pairs."""

        def enough():
            windows = [one for one in self.rig.server.windows() if one.phase is phase and one.paired is not None]
            assert all(
                (one.digest, one.paired.shadow) == (digest_raw(self.new), digest_raw(self.old)) for one in windows
            )
            return windows if sum(one.paired.rows for one in windows) >= at_least else None

        return eventually(enough, what=f"{at_least} pairs in {phase}")


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_a_trial_and_a_bake_send_pairs_until_the_server_wants_no_more(rig):
    site = Site(rig)
    site.bake(LONG)
    in_trial = site.paired(Phase.TRIAL)
    windows = site.paired(Phase.LIVE, at_least=300)
    assert site.shadow() == site.old
    for window in (*in_trial, *windows):
        paired = window.paired
        assert paired.rows <= window.rows
        assert sum(paired.cells) == paired.rows
        assert (paired.errors, paired.shadow_errors, paired.skipped, paired.unmatched) == (0, 0, 0, 0)
    rows, answered = (sum(one) for one in zip(*((w.rows, w.paired.rows) for w in windows), strict=True))
    assert 0.35 <= answered / rows <= 0.65
    agreement = np.sum([window.paired.cells for window in windows], axis=0).reshape(3, 3)
    assert 0 < agreement.sum() - np.trace(agreement) < agreement.sum() / 2
    assert all(window.duration_ms < 3_000 for window in windows[:-1])

    request = messages.Nominate(
        deployment=DEPLOYMENT, digest=site.new, count=40, random_share=0.2, seed=1, disagreements=True
    )
    rig.server.say(DownKind.COMMAND, messages.Command(command="nom-1", request=request))
    (answer,) = eventually(lambda: rig.server.samples("nom-1"), what="the nominations")
    disagree = [one.shadow_answer not in (None, one.answer) for one in answer.samples]
    assert disagree == sorted(disagree, reverse=True)
    assert sum(disagree) >= 5

    reports = len(rig.server.reports())
    site.desire_new(3, None)
    eventually(lambda: site.shadow() is None, what="the end of the bake")
    windows = len(rig.server.windows())
    eventually(lambda: len(rig.server.windows()) > windows + 1, what="windows after the bake")
    assert rig.server.windows()[-1].paired is None
    assert len(rig.server.reports()) == reports, "nothing was installed for it"
    assert rig.committed(site.new)


@pytest.mark.long
def test_a_killed_agent_goes_on_with_its_bake_which_ends_by_itself(rig):
    site = Site(rig)
    site.bake(Shadowing(share=0.5, cpu=0.5, for_ms=8_000, window_ms=1_000))
    site.paired(Phase.LIVE)
    rig.stop_agent(signal.SIGKILL)
    before = sum(window.paired.rows for window in site.paired(Phase.LIVE))
    rig.start_agent()
    site.paired(Phase.LIVE, at_least=before + 50)
    assert site.shadow() == site.old
    eventually(lambda: site.shadow() is None, what="the end of the bake")
    assert rig.committed(site.new)


def test_a_shadow_keeps_to_its_share_of_the_processor_and_its_errors_harm_nobody(rig):
    site = Site(rig, missing=MissingPolicy.REFUSE)
    site.bake(LONG)
    rig.play(2_000, rate_hz=200.0, loop=True, run="run-2", gaps_every=9)
    ask(rig.state.socket, {"do": "reload", "deployment": DEPLOYMENT})
    windows = eventually(
        lambda: [one for one in rig.server.windows() if one.paired is not None and one.paired.shadow_errors],
        what="errors of the shadow",
    )
    assert sum(window.errors for window in windows) == 0
    assert rig.status()["counters"].get("shadow.given-up", 0) == 0
    # A millionth of a core: what it may use up at once is one answer's time.
    site.desire_new(3, Shadowing(share=0.5, cpu=1e-6, for_ms=600_000, window_ms=1_000))
    skipped = eventually(
        lambda: [one.paired for one in rig.server.windows() if one.paired is not None and one.paired.skipped > 50],
        what="inputs that were skipped",
    )
    assert all(paired.rows <= 2 for paired in skipped)
