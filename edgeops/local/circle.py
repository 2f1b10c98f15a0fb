"""The whole circle, once per stage: the world changes, the fleet sees it, asks for a few labels, and heals.

For each stage of a scenario the first part of its rows is played to the agents. What happens then is the server's
doing: its verdict from sketches, its nominations, its choice of samples, its retraining, promotion gate, signature and
rollout. This module only plays the world, which goes on sending rows, and the lab, which answers the label requests
that the public API shows. The rest, which nobody saw before, then measures what the healed fleet answers. What
older models would have answered on the same rows is asked of `edgeops-agent batch`.
"""

import csv
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from shutil import copyfile

from edgeops.api.client import Client
from edgeops.api.shapes import DriftFinding, Retraining
from edgeops.errors import ServerError, WaitTimeoutError
from edgeops.local import processes
from edgeops.local.demo import committed_by, healthy_in, score
from edgeops.local.playing import Replay, play, stop, wait, wait_for_answers, wait_for_windows, write_rows
from edgeops.local.scenarios.scenario import Rows, Scenario, Stage
from edgeops.local.score import total
from edgeops.local.up import Site

_HEAL_TIMEOUT_S = 180.0
_BATCH_TIMEOUT_S = 60.0
#: What the sensors send while a healed model is tried on the devices.
_TRIAL_RATE_HZ = 15.0

#: Waves of a demo are judged on the rows of the trial, in which both models answer, and do not bake: rows of this batch
#: would drown those of the next. That the healed model is the better one the promotion gate has shown, on labels that
#: the stage has bought; of disagreements no more are bought.
_HEALING = {
    "bake": 0,
    "shadow_share": 1.0,
    "shadow_cpu": 0.5,
    "health": {"min_rows": 40, "labels": 0, "max_error_rise": 0.2},
}

_DRIFT = "drift"
_STABLE = "stable"
_ROLLING_OUT = "rolling-out"
_HEALED = "healed"
_SUPPRESSED = "suppressed"
_UNDER_WAY = frozenset({"nominating", "labelling", "training", _ROLLING_OUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """What one stage came to; shares between 0 and 1, times from the server."""

    stage: int | str
    rows: int
    #: On the held-out rows: the first model, the model before this stage, and what the healed fleet published.
    static: float
    before: float
    after: float | None
    #: The first fleet-wide verdict on this stage, its words, and the channels that moved.
    drift: bool
    reason: str
    channels: tuple[str, ...]
    drift_at: datetime | None
    first_label_at: datetime | None
    labels: int
    #: How the retraining ended; empty when there was none.
    retraining: str
    version: int | None
    #: The fleet-wide verdict on the held-out rows, under the model that then runs.
    verdict_after: str
    windows: int
    telemetry_bytes: int
    #: Per device: sent up as telemetry, and fetched as updates.
    telemetry_bytes_per_device: float
    update_bytes_per_device: float
    seconds: float

    @property
    def stable_after(self) -> bool:
        """Whether that verdict is STABLE."""
        return self.verdict_after == _STABLE

    @property
    def drifted_after(self) -> bool:
        """Whether it is DRIFT although the fleet was healed."""
        return self.after is not None and self.verdict_after == _DRIFT

    def in_words(self) -> str:
        """One line."""
        if not self.drift:
            return f"no drift, {self.before:.1%} right"
        after = "not healed" if self.after is None else f"{self.after:.1%}"
        return f"drift seen, {self.labels} labels bought, right answers {self.before:.1%} -> {after}"


@dataclass(frozen=True, slots=True)
class Control:
    """What happened while nothing had changed."""

    windows: int
    #: Verdicts of drift, fleet-wide or local, and retrainings.
    alarms: int


@dataclass(slots=True, kw_only=True)
class Circle:
    """A site on which the first model runs, and what is asked of it."""

    site: Site
    scenario: Scenario
    #: Labels that may be bought per stage, and the share of them drawn at random.
    labels: int
    random_share: float
    seed: int
    #: Copies of the artifacts by digest, as the devices received them.
    folder: Path
    first: str
    active: str
    rollouts: int = 1
    _artifacts: dict[str, Path] = field(default_factory=dict)
    #: What the lab can tell: input id -> label of everything that was shown until now.
    _truth: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Let the server heal this model by itself: a delegated key, an acceptance set, and a policy."""
        name = self.scenario.name
        command = processes.python("edgeops.cli.entry", "key", "delegate", name, "--data", self.site.data, "--yes")
        processes.wait_until_done(
            processes.start("delegate", command, logs=self.site.logs),
            timeout_s=_BATCH_TIMEOUT_S,
            meanwhile=self.site.require_server,
        )
        self._let_heal(by_itself=True)
        self._keep(self.active)

    def _let_heal(self, *, by_itself: bool) -> None:
        policy = {
            "mode": "auto" if by_itself else "off",
            "labels": self.labels,
            "random_share": self.random_share,
            "cooldown": 0,
            "rollout_policy": _HEALING,
            "seed": self.seed,
            "retrainings_per_week": 100,
            "labels_per_month": 100_000,
        }
        self.site.client.set_retraining_policy(self.scenario.name, policy)

    def live_through(self, stage: Stage) -> StageFigures:
        """One stage, to its end.

        Raises:
            ServerError: a retraining was begun and did not heal the fleet.
            WaitTimeoutError: something did not happen in time.
        """
        started = time.monotonic()
        shown, held_out = stage.rows.shown_and_held_out()
        older = {digest: self._judged(digest, held_out, stage) for digest in {self.first, self.active}}
        before = self.active
        # Drift is seen on some of the rows already, and on a busy machine some devices are far behind. What is asked of
        # the lab shall depend on the rows, not on who was first: it is asked for when all devices have seen theirs.
        self._let_heal(by_itself=False)
        replay = self._show(shown)
        if not wait_for_windows(self.site, replay):
            raise WaitTimeoutError(f"the server did not count all rows of {stage.name} in time")
        self._let_heal(by_itself=True)
        finding = self._verdict()
        retraining = self._heal(shown, replay) if finding.verdict == _DRIFT else None
        replay_after = self._show(held_out, predictions="all")
        if not wait_for_answers(self.site, replay_after, self.active):
            raise WaitTimeoutError(f"the devices did not answer all held-out rows of {stage.name} in time")
        after = None
        if retraining is not None and retraining.rollout_id is not None:
            committed = committed_by(self.site.client, retraining.rollout_id)
            after = total(score(self.site.client, replay_after, self._truth, committed).values()).accuracy
        ended = self._verdict()
        if retraining is None and ended.verdict == _DRIFT:
            # Seen too late for this stage, whose held-out rows are spent; the next one begins with a healed fleet.
            self._heal(held_out, replay_after)
        windows = self._windows(replay)
        devices = len(self.site.agents)
        labelled = [] if retraining is None else self._labels_of(retraining)
        return StageFigures(
            stage=stage.name,
            rows=len(stage.rows),
            static=older[self.first].accuracy(),
            before=older[before].accuracy(),
            after=after,
            drift=finding.verdict == _DRIFT,
            reason=finding.reason,
            channels=finding.drifted,
            drift_at=finding.first_at if finding.verdict == _DRIFT else None,
            first_label_at=min(labelled, default=None),
            labels=len(labelled),
            retraining="" if retraining is None else retraining.state,
            version=None if retraining is None else retraining.version,
            verdict_after=ended.verdict,
            windows=len(windows),
            telemetry_bytes=sum(windows),
            telemetry_bytes_per_device=sum(windows) / devices,
            update_bytes_per_device=0.0 if self.active == before else self._artifacts[self.active].stat().st_size,
            seconds=time.monotonic() - started,
        )

    def stay(self, stage: Stage) -> Control:
        """A stage in which nothing has changed."""
        replay = self._show(stage.rows)
        if not wait_for_windows(self.site, replay):
            raise WaitTimeoutError(f"the server did not count all rows of {stage.name} in time")
        self._verdict()
        return self.control(replay.since)

    def control(self, since: datetime) -> Control:
        """What the server has made of everything since then, in which nothing had changed."""
        client, name = self.site.client, self.scenario.name
        windows = sum(
            len(list(client.telemetry(one.device_id, deployment=name, since=since))) for one in self.site.agents
        )
        alarms = sum(one.verdict == _DRIFT and one.first_at >= since for one in client.drift_history(name))
        return Control(windows, alarms + sum(one.created_at >= since for one in client.retrainings(name)))

    # -- the world and the lab

    def _show(self, rows: Rows, *, predictions: str = "latest") -> Replay:
        """Play rows once, as fast as the devices answer."""
        self._truth.update(zip(rows.ids, rows.labels, strict=True))
        return play(self.site, rows, deployment=self.scenario.name, predictions=predictions)

    def _heal(self, rows: Rows, replay: Replay) -> Retraining:
        """Answer label requests and go on sending rows until the retraining has ended."""
        client, name = self.site.client, self.scenario.name
        retraining: Retraining | None = None
        sending: set[str] | None = None

        def has_ended() -> bool:
            nonlocal retraining, sending
            retraining = next(_begun(client, name, since=replay.since), None)
            if retraining is None:
                return False
            asked = {one.sample_id: self._truth[one.input_id] for one in client.label_queue(name)}
            if asked:
                client.add_labels(asked, source="api")
            if retraining.state == _ROLLING_OUT and sending is None:
                play(self.site, rows, deployment=name, loop=True, rate_hz=_TRIAL_RATE_HZ, predictions="latest")
                sending = {agent.device_id for agent in self.site.agents}
            if sending and retraining.rollout_id is not None:
                # The same rows again and again are no evidence of drift: a device whose wave passed gets no more.
                done = sending & healthy_in(client, retraining.rollout_id)
                stop(self.site, name, [agent for agent in self.site.agents if agent.device_id in done])
                sending -= done
            return retraining.state not in _UNDER_WAY

        if not wait(self.site, has_ended, timeout_s=_HEAL_TIMEOUT_S):
            raise WaitTimeoutError(
                f"no retraining ended within {_HEAL_TIMEOUT_S:g} s; {self._why_not(retraining, since=replay.since)}"
            )
        assert retraining is not None, "it ended"
        stop(self.site, name, self.site.agents)
        if retraining.state != _HEALED or retraining.rollout_id is None:
            raise ServerError(f"retraining {retraining.id} is {retraining.state}: {retraining.detail}")
        self.rollouts += 1
        self.active = client.rollout(retraining.rollout_id).digest
        self._keep(self.active)
        return retraining

    def _why_not(self, retraining: Retraining | None, *, since: datetime) -> str:
        """What holds a retraining up that should have ended by now."""
        if retraining is not None:
            return f"{retraining.id} is {retraining.state}: {retraining.detail}"
        retrainings = self.site.client.retrainings(self.scenario.name)
        suppressed = next((one for one in retrainings if one.created_at >= since), None)
        return "nothing fired" if suppressed is None else f"{suppressed.id} was suppressed: {suppressed.reason}"

    def _verdict(self) -> DriftFinding:
        """The newest fleet-wide judgement of the model that runs, made of all that has arrived."""
        drift = self.site.client.check_drift(self.scenario.name, deployment=self.scenario.name)
        fleet = [one for one in drift.findings if one.digest == self.active and not one.device_id]
        if not fleet:
            raise ServerError(f"the server has no verdict on {self.scenario.name}, though windows arrived")
        return fleet[0]

    def _labels_of(self, retraining: Retraining) -> list[datetime]:
        """When each label arrived that was bought for this retraining."""
        labels = self.site.client.labels(self.scenario.name)
        return [one.at for one in labels if one.asker == retraining.id]

    def _windows(self, replay: Replay) -> list[int]:
        """Bytes of each window that closed since the stage began."""
        client = self.site.client
        return [
            window.record_bytes
            for device in replay.shares
            for window in client.telemetry(device, deployment=replay.deployment, since=replay.since)
        ]

    # -- older models on the same rows

    def _keep(self, digest: str) -> None:
        """Copy an artifact out of a device's slots, which hold the last two only."""
        slots = self.site.agents[0].state / "deployments" / self.scenario.name / "slots"
        copy = self.folder / f"{digest.removeprefix('sha256:')[:12]}.tflite"
        copyfile(slots / digest.removeprefix("sha256:") / "artifact.tflite", copy)
        self._artifacts[digest] = copy

    def _judged(self, digest: str, rows: Rows, stage: Stage) -> "_Batch":
        path, labels = self.folder / f"{stage.name}.npz", self.folder / f"{stage.name}.csv"
        write_rows(path, rows)
        _write_labels(labels, rows)
        command = processes.python(
            "device_agent.cli", "batch", self._artifacts[digest], path, "--labels", labels, "--json"
        )
        return _Batch(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))


def _begun(client: Client, model: str, *, since: datetime) -> Iterator[Retraining]:
    """Retrainings that a trigger began, the newest first; what was suppressed comes to nothing."""
    return (one for one in client.retrainings(model) if one.created_at >= since and one.state != _SUPPRESSED)


class _Batch:
    """`edgeops-agent batch`, under way beside the rest."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def accuracy(self) -> float:
        out, _ = self._process.communicate(timeout=_BATCH_TIMEOUT_S)
        if self._process.returncode:
            raise ServerError(f"edgeops-agent batch ended with exit code {self._process.returncode}")
        document: Mapping[str, float] = json.loads(out)
        return float(document["accuracy"])


def _write_labels(path: Path, rows: Rows) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "label"))
        writer.writerows(zip(rows.ids, rows.labels, strict=True))
