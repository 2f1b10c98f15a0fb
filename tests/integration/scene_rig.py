"""A fleet of real agents that runs a good model, and rollouts of others to it, for scenarios.

A scenario plays with one `Scene`: real broker, server and agents (`edgeops.local.up.Site`), every device with the same
deployment and rows of its own. What a rollout came to is read over REST and from the devices themselves.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from device_agent.control import ask
from edgeops.api.shapes import DeploymentReport, DeploymentWhy, Installation, Rollout, WaveEvidence
from edgeops.errors import UnreachableError
from edgeops.local import processes
from edgeops.local.up import Agent, Site
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_rows
from tests.integration.backup_rig import MODEL, add_version, publish
from tests.integration.waiting import ask_until
from tests.models.bad import Bad, bad_artifact, striking_row

DEPLOYMENT = "pump-1"
VARIANT = "float32"
RATE_HZ = 50
DEADLINE_S = 120.0

eventually = partial(ask_until, seconds=DEADLINE_S)

#: How long things take, and how many inputs both models answer; nothing of what is judged is any laxer for it.
POLICY = {"bake": 2, "trial_inferences": 20, "shadow_share": 1.0, "shadow_cpu": 0.5, "control_share": 0}
#: There is nothing that the first model could be compared with.
_FIRST = {**POLICY, "bake": 0, "health": {"min_rows": 20, "max_error_rise": 0.2}}
_UNDER_WAY = frozenset({"scheduled", "awaiting-blessing", "running", "rolling-back"})


class Scene:
    """A site on which all devices run the good model."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = site.client
        #: By digest.
        self._versions: dict[str, int] = {}
        self._sources = 0
        self.good = self.add(tiny_artifact(MODEL, 1, VARIANT))
        self.play(good_rows(2_000))
        # A rollout is of the devices that report the deployment when it is ordered.
        eventually(lambda: all(map(self.has_deployment, self.site.agents)), what="every device reports the deployment")
        self.ended(self.roll_out(self.good, waves=("100%",), policy=_FIRST), "finished")

    # -- what people do

    def add(self, artifact: bytes) -> str:
        """Publish the next version, whose artifact says so; its digest."""
        version = len(self._versions) + 1
        digest = add_version(self.site.data, version, artifact)
        self._versions[digest] = version
        publish(self.client, version)
        return digest

    def add_good(self, **options) -> str:
        """Another version of the good model."""
        return self.add(tiny_artifact(MODEL, len(self._versions) + 1, VARIANT, **options))

    def add_bad(self, bad: Bad) -> str:
        return self.add(bad_artifact(bad, name=MODEL, version=len(self._versions) + 1))

    def version(self, digest: str) -> int:
        return self._versions[digest]

    def roll_out(self, digest: str, *, waves: Sequence[str] = ("1", "100%"), policy=POLICY, **order) -> Rollout:
        return self.client.create_rollout(
            MODEL,
            self._versions[digest],
            variant=VARIANT,
            deployment=DEPLOYMENT,
            waves=tuple(waves),
            policy=policy,
            **order,
        )

    def play(self, rows: np.ndarray, *agents: Agent, rate_hz: float = RATE_HZ) -> None:
        """These rows are what the sensors of some agents show from now on, or of all, again and again."""
        self._sources += 1
        started = []
        for agent in agents or self.site.agents:
            file = agent.state / f"rows-{self._sources}.npz"
            np.savez(file, X=rows, columns=np.array(COLUMNS))
            line = ("replay", file, "--deployment", DEPLOYMENT, "--rate", str(rate_hz), "--predictions", "off")
            command = processes.python("device_agent.cli", "--state", agent.state, *line)
            started.append(processes.start(f"{agent.name}.replay", command, logs=self.site.logs))
        for child in started:
            processes.wait_until_done(child, timeout_s=DEADLINE_S)

    def stop_source(self, agent: Agent) -> None:
        """The sensors of a device show nothing any more."""
        command = processes.python("device_agent.cli", "--state", agent.state, "stop", "--deployment", DEPLOYMENT)
        child = processes.start(f"{agent.name}.stop", command, logs=self.site.logs)
        processes.wait_until_done(child, timeout_s=DEADLINE_S)

    def kill(self, agent: Agent) -> None:
        """A device loses its power."""
        agent.child.process.kill()
        agent.child.process.wait()
        eventually(lambda: self.client.device(agent.device_id).presence == "offline", what=f"{agent.name} is missed")

    def stop(self, agent: Agent) -> None:
        """A device is switched off."""
        self.site.stop_agent(agent)
        eventually(lambda: self.client.device(agent.device_id).presence == "offline", what=f"{agent.name} is off")

    # -- what became of it

    def ended(self, rollout: Rollout, *states: str, meanwhile: Callable[[], object] = lambda: None) -> Rollout:
        """The rollout, once nothing happens to it by itself; it must have come to one of these states."""

        def rests() -> Rollout | None:
            meanwhile()
            now = self.client.rollout(rollout.id)
            return None if now.state in _UNDER_WAY else now

        now = eventually(rests, what=f"the rollout of {rollout.model}@{rollout.version} comes to rest")
        assert now.state in states, f"{now.state}: {now.reason}"
        return now

    def installations(self, rollout: Rollout) -> dict[str, Installation]:
        """The newest of each device."""
        found = sorted(self.client.installations(rollout.id), key=lambda one: one.attempt)
        return {one.device_id: one for one in found}

    def installation(self, rollout: Rollout, agent: Agent) -> Installation:
        return self.installations(rollout)[agent.device_id]

    def canary(self, rollout: Rollout) -> Agent:
        """The one device of the first wave."""
        [canary] = [one.device_id for one in self.installations(rollout).values() if one.wave == 0]
        return self.agent(canary)

    def agent(self, device_id: str) -> Agent:
        return next(one for one in self.site.agents if one.device_id == device_id)

    def told(self, digest: str) -> set[str]:
        """Every device that was ever told to run it."""
        events = self.client.past_events(kinds=("desired.changed",))
        return {one.subject for one in events if one.data["digest"] == digest}

    def deployment(self, agent: Agent) -> DeploymentReport:
        """What a device reported last."""
        found = self.client.device(agent.device_id).deployments
        return next(one for one in found if one.deployment == DEPLOYMENT)

    def why(self, agent: Agent) -> DeploymentWhy:
        """What holds a device, by the server's word."""
        found = self.client.why(agent.device_id).deployments
        return next(one for one in found if one.deployment == DEPLOYMENT)

    def has_deployment(self, agent: Agent) -> bool:
        """Whether the server knows that a device has it."""
        return any(one.deployment == DEPLOYMENT for one in self.client.device(agent.device_id).deployments)

    def runs(self, agent: Agent) -> str | None:
        """The digest of what a device runs, by its own word."""
        try:
            status = ask(agent.state / "agent.sock", {"do": "status"})
        except UnreachableError:
            return None
        return next((one["active"] for one in status["deployments"] if one["deployment"] == DEPLOYMENT), None)

    def wave(self, rollout: Rollout, position: int = 0) -> WaveEvidence:
        """What a wave has shown."""
        return next(one for one in self.client.evidence(rollout.id).waves if one.position == position)

    def require_contained(self, rollout: Rollout, bad: str, *, states: Sequence[str]) -> None:
        """The model never left the canary, whose installation ended so, and everybody runs the good one."""
        canary = self.canary(rollout)
        assert rollout.wave == 0
        assert rollout.waves[1].started_at is None
        assert self.told(bad) == {canary.device_id}
        installations = self.installations(rollout)
        assert installations[canary.device_id].state in states
        others = [one for device, one in installations.items() if device != canary.device_id]
        assert [one.offered_at for one in others] == [None] * (len(self.site.agents) - 1)
        self.require_all_run(self.good)

    def require_all_run(self, digest: str) -> None:
        """Every device runs it, by its own word, and the server knows."""
        agents = self.site.agents
        eventually(lambda: {self.runs(agent) for agent in agents} == {digest}, what="everybody runs it")
        eventually(lambda: {self.deployment(agent).active for agent in agents} == {digest}, what="that is known")


def good_rows(count: int, *, seed: int = 1) -> np.ndarray:
    """Rows that no model of `tests.models.bad` is struck by."""
    return tiny_rows(count, seed=seed)[0]


def gappy_rows(count: int, *, every: int) -> np.ndarray:
    """Rows of which some lack a reading."""
    rows = good_rows(count)
    rows[::every, 1] = np.nan
    return rows


def striking_rows(count: int, *, every: int, first: int = 0) -> np.ndarray:
    """Rows of which some strike, and which one first."""
    rows = good_rows(count)
    rows[first::every] = striking_row()
    return rows
