"""A bad model meets the fleet: it passes every check before its rollout, and must not get past the canary.

The first model gets on all devices, which see images all the time. Meanwhile somebody mixes up two labels, trains,
signs and rolls out what comes of it. What stops it is the server's doing: the canary answers with both models, and they
differ more than two models can that are as good as they state. All of it goes over REST and the agents' own command
line, as a person would go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeops.api.shapes import Evidence, Rollout, Version, WaveEvidence
from edgeops.errors import ServerError, WaitTimeoutError
from edgeops.local import demo
from edgeops.local.playing import play, wait
from edgeops.local.scenarios.mixed_up import SWAPPED, MixedUp
from edgeops.local.scenarios.scenario import Scenario
from edgeops.local.stopwatch import Stopwatch
from edgeops.local.up import Site

#: What the cameras send, images a second.
_RATE_HZ = 40.0
_TIMEOUT_S = 90.0
#: There is nothing to compare the first model with; it only has to run.
_FIRST = {"bake": 1, "trial_inferences": 20, "control_share": 0, "health": {"min_rows": 40, "max_error_rise": 0.2}}
#: The bake is as long as a demo has time for; nothing of what is judged is any laxer for it.
_SECOND = {"bake": 15, "trial_inferences": 20, "shadow_share": 1.0, "shadow_cpu": 0.5}
_UNDER_WAY = frozenset({"scheduled", "running", "rolling-back"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How the bad model was stopped."""

    seed: int
    #: What each version says of itself, on rows that it never learnt from.
    good: Version
    bad: Version
    rollout: Rollout
    evidence: Evidence
    #: Devices that were asked to run it, and all there are.
    asked: int
    devices: int
    #: Devices that run the good one at the end.
    restored: int
    phases: Mapping[str, float]

    @property
    def wave(self) -> WaveEvidence | None:
        """The wave that did not pass."""
        return next((one for one in self.evidence.waves if one.health == "unhealthy"), None)

    def require_shown(self) -> None:
        """Pass when the canary stopped it, and everybody runs the good model.

        Raises:
            ServerError: says what happened instead.
        """
        if self.wave is None or self.wave.position != 0 or self.asked != 1:
            raise ServerError(
                f"the canary did not stop it: {self.rollout.id} is {self.rollout.state} after {self.asked} of"
                f" {self.devices} devices were asked; {self.rollout.reason or 'no reason given'}"
            )
        if self.restored != self.devices:
            raise ServerError(f"{self.restored} of {self.devices} devices run the good model at the end")

    def document(self, *, seconds: float) -> Mapping[str, Any]:
        """For scripts."""
        wave = self.wave
        return {
            "scenario": "bad-model",
            "seed": self.seed,
            "seconds": round(seconds, 1),
            "phases": dict(self.phases),
            "model": f"{self.bad.model}@{self.bad.version}",
            "rollout": self.rollout.id,
            "state": self.rollout.state,
            "stated_accuracy": {"good": stated(self.good), "bad": stated(self.bad)},
            "stopped_in_wave": None if wave is None else wave.position + 1,
            "reason": self.rollout.reason if wave is None else wave.words,
            "evidence": [] if wave is None else [one.model_dump(mode="json") for one in wave.findings],
            "devices": {"all": self.devices, "asked": self.asked, "restored": self.restored},
        }


def run(site: Site, scenario: Scenario, *, seed: int, watch: Stopwatch) -> Stopped:
    """All of it on a running site.

    Raises:
        ServerError: a job failed, or the first model did not get on the devices.
        WaitTimeoutError: one of them did not end in time.
        PlatformError: a process of the server ended.
    """
    client = site.client
    with watch.phase("import") as note:
        note(f"{demo.import_rows(site, scenario, seed=seed).rows} rows")
    with watch.phase("train") as note:
        good = demo.train(site, scenario, seed=seed)
        note(f"{good.model}@{good.version}, {stated(good):.1%} of rows that it never saw")
        demo.publish(site, good)
    with watch.phase("mix up") as note:
        demo.import_rows(site, MixedUp(), seed=seed)
        # It is learnt from while the first model spreads.
        training = client.train(MixedUp.name, scenario.name, recipe=scenario.recipe, seed=seed + 1)
        note(f"{SWAPPED[0]} and {SWAPPED[1]} are labelled as each other, and somebody trains on that")
    with watch.phase("roll out") as note:
        play(
            site, scenario.control(seed).rows, deployment=scenario.name, loop=True, rate_hz=_RATE_HZ, predictions="off"
        )
        first = _follow(site, good, scenario.name, _FIRST)
        if first.state != "finished":
            raise ServerError(f"rollout {first.id} {first.state}: {first.reason or 'no reason given'}")
        note(f"{good.model}@{good.version} runs on {len(site.agents)} devices")
    with watch.phase("train again") as note:
        bad = demo.trained(site, scenario, training)
        demo.publish(site, bad)
        note(f"{bad.model}@{bad.version}, {stated(bad):.1%} of rows that it never saw: signed")
    with watch.phase("roll out again") as note:
        second = _follow(site, bad, scenario.name, _SECOND)
        note(f"{second.state}")
    with watch.phase("restore") as note:
        digest = _digest(good)
        wait(site, lambda: _running(site, scenario.name, digest) == len(site.agents), timeout_s=_TIMEOUT_S)
        restored = _running(site, scenario.name, digest)
        note(f"{restored} of {len(site.agents)} devices run {good.model}@{good.version}")
    return Stopped(
        seed=seed,
        good=good,
        bad=bad,
        rollout=second,
        evidence=client.evidence(second.id),
        asked=sum(one.offered_at is not None for one in client.installations(second.id)),
        devices=len(site.agents),
        restored=restored,
        phases=dict(watch.phases),
    )


def stated(version: Version) -> float:
    """The accuracy that a version states."""
    return float(next(one.metrics["accuracy"] for one in version.artifacts if one.variant == demo.VARIANT))


def _digest(version: Version) -> str:
    return next(one.digest for one in version.artifacts if one.variant == demo.VARIANT)


def _follow(site: Site, version: Version, deployment: str, policy: Mapping[str, Any]) -> Rollout:
    """Roll out, to the end."""
    rollout = site.client.create_rollout(
        version.model, version.version, variant=demo.VARIANT, deployment=deployment, waves=demo.WAVES, policy=policy
    )

    def has_ended() -> bool:
        nonlocal rollout
        rollout = site.client.rollout(rollout.id)
        return rollout.state not in _UNDER_WAY

    if not wait(site, has_ended, timeout_s=_TIMEOUT_S):
        raise WaitTimeoutError(f"rollout {rollout.id} is still {rollout.state} after {_TIMEOUT_S:g} s")
    return rollout


def _running(site: Site, deployment: str, digest: str) -> int:
    """Devices that say they run it."""
    found = [one for agent in site.agents for one in site.client.device(agent.device_id).deployments]
    return sum(one.deployment == deployment and one.active == digest for one in found)
