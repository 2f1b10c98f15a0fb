"""The first pass of a demo: data, training, signing, rollout to the agents, their answers, and the score.

Each step goes over REST or the agents' own command line, as a person would go; every figure of the report is read
from the server. It starts no server (`edgeops.local.up` does), and all it computes is the join of answers and truth.
What happens when the world changes is `edgeops.local.circle`.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Job, JobState, Rollout, Snapshot, Version
from edgeops.errors import ServerError, WaitTimeoutError
from edgeops.local.playing import Replay, play, published, wait, wait_for_answers
from edgeops.local.scenarios.scenario import Rows, Scenario
from edgeops.local.score import Score, score_device, total
from edgeops.local.stopwatch import Stopwatch
from edgeops.local.up import Agent, Site

#: What is rolled out.
VARIANT = "int8"
WAVES = ("1", "100%")
#: Below this share of joined rows the demo has failed.
REQUIRED_COVERAGE = 0.99

_JOB_TIMEOUT_S = limits.JOB_TIMEOUT.total_seconds()
#: Waves are judged on the rows that a demo has, and do not bake: a device may have answered all of them in its trial.
QUICK = {"bake": 0, "health": {"min_rows": 20, "labels": 0}}
_GOES_ON = frozenset({"scheduled", "running"})
_HOLDING = frozenset({"committed", "healthy"})
_ROLLOUT_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFigures:
    """One variant as the server judged it, on the rows that the devices see later."""

    digest: str
    accuracy: float
    size_bytes: int
    tflite_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigures:
    """What one device did."""

    device: str
    pid: int
    #: Rows it was to answer; those it answered with the committed model; accuracy over the latter.
    rows: int
    joined: int
    accuracy: float | None
    #: Telemetry windows that the server acknowledged, rows counted in them, bytes of them.
    windows: int
    window_rows: int
    telemetry_bytes: int
    #: Bytes of the artifact, which came in blocks.
    update_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures of one first pass; the same for people and as JSON."""

    scenario: str
    seed: int
    model: str
    rollout: str
    state: str
    artifacts: Mapping[str, ArtifactFigures]
    devices: tuple[DeviceFigures, ...]
    rows: int
    joined: int
    #: From the predictions that the agents published.
    accuracy: float | None
    telemetry_bytes_per_window: float | None
    #: Seconds per phase, in order.
    phases: Mapping[str, float]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the model is installed, running, and answered for (nearly) all rows."""
        return self.state == "finished" and self.rows > 0 and self.joined >= REQUIRED_COVERAGE * self.rows


def run(site: Site, scenario: Scenario, *, seed: int, watch: Stopwatch) -> Report:
    """The whole pass on a running site.

    Raises:
        ServerError: a job failed, or the rollout did not finish.
        WaitTimeoutError: one of them did not end in time.
        PlatformError: a process of the server ended.
    """
    client = site.client
    with watch.phase("import") as note:
        note(f"{import_rows(site, scenario, seed=seed).rows} rows")
    with watch.phase("train") as note:
        version = train(site, scenario, seed=seed)
        note(", ".join(f"{one.variant} {one.metrics['accuracy']:.1%}" for one in version.artifacts))
    with watch.phase("publish") as note:
        publish(site, version)
        note(f"{version.model}@{version.version} signed")
    with watch.phase("replay") as note:
        replayed = replay(site, scenario)
        note(f"{' + '.join(str(len(share)) for share in replayed.shares.values())} rows wait on the devices")
    with watch.phase("rollout") as note:
        rollout = roll_out(site, version, replayed.deployment)
        note(f"{VARIANT} runs on {len(replayed.shares)} devices")
    with watch.phase("answers"):
        wait_for_answers(site, replayed, rollout.digest)
    with watch.phase("score") as note:
        scores = judge(client, scenario, replayed, rollout)
        devices = tuple(_device_figures(client, agent, scores[agent.device_id], version) for agent in site.agents)
        note(f"{sum(one.joined for one in devices)} of {sum(one.rows for one in devices)} rows answered")
    overall = total(scores.values())
    windows = sum(one.windows for one in devices)
    return Report(
        scenario=scenario.name,
        seed=seed,
        model=f"{version.model}@{version.version}",
        rollout=rollout.id,
        state=rollout.state,
        artifacts={
            one.variant: ArtifactFigures(
                digest=one.digest,
                accuracy=one.metrics["accuracy"],
                size_bytes=one.size_bytes,
                tflite_bytes=one.tflite_bytes,
            )
            for one in version.artifacts
        },
        devices=devices,
        rows=overall.rows,
        joined=overall.joined,
        accuracy=overall.accuracy,
        telemetry_bytes_per_window=sum(one.telemetry_bytes for one in devices) / windows if windows else None,
        phases=dict(watch.phases),
        seconds=sum(watch.phases.values()),
    )


def import_rows(site: Site, scenario: Scenario, *, seed: int) -> Snapshot:
    """Upload what is learnt from; the rows that the server holds out are the ones the devices see first."""
    path = scenario.write_dataset(site.data, seed=seed)
    name = scenario.name
    job = site.client.import_dataset(path, name=name, label=scenario.label, hold_out=scenario.hold_out, seed=seed)
    path.unlink()
    finish(site, job)
    head = site.client.dataset(name).head
    assert head is not None, "it was imported this moment"
    return head


def train(site: Site, scenario: Scenario, *, seed: int) -> Version:
    """Train, quantize and judge both variants in the server's worker."""
    job = site.client.train(scenario.name, scenario.name, recipe=scenario.recipe, seed=seed)
    return trained(site, scenario, job)


def trained(site: Site, scenario: Scenario, job: Job) -> Version:
    """What came of a training, once it has."""
    result = finish(site, job).result or {}
    return site.client.version(scenario.name, int(result["version"]))


def publish(site: Site, version: Version) -> None:
    """Sign and list both variants."""
    finish(site, site.client.publish(version.model, version.version))


def replay(site: Site, scenario: Scenario, *, deployment: str | None = None, rate_hz: float | None = None) -> Replay:
    """Give each agent its share of the held-out rows, once; they wait on the device until it has a model.

    Args:
        site: its agents take part.
        scenario: whose rows they are.
        deployment: what the agents call it; None = as the scenario does.
        rate_hz: rows a second; None = as fast as the model answers.
    """
    with np.load(io.BytesIO(site.client.dataset_rows(scenario.name))) as file:
        ids = tuple(str(one) for one in file["id"])
        rows = Rows(values=file["X"], ids=ids, labels=("",) * len(ids))
    return play(site, rows, deployment=deployment or scenario.name, rate_hz=rate_hz)


def roll_out(site: Site, version: Version, deployment: str) -> Rollout:
    """Bring the quantized model to all devices, a canary first.

    Raises:
        ServerError: it ended badly.
        WaitTimeoutError: it did not end in time.
    """
    rollout = site.client.create_rollout(
        version.model, version.version, variant=VARIANT, deployment=deployment, to="all", waves=WAVES, policy=QUICK
    )

    def has_ended() -> bool:
        nonlocal rollout
        rollout = site.client.rollout(rollout.id)
        return rollout.state not in _GOES_ON

    if not wait(site, has_ended, timeout_s=_ROLLOUT_TIMEOUT_S):
        raise WaitTimeoutError(f"the rollout still runs after {_ROLLOUT_TIMEOUT_S:g} s")
    if rollout.state != "finished":
        raise ServerError(f"the rollout is {rollout.state}, not finished: {rollout.reason or 'no reason given'}")
    return rollout


def judge(client: Client, scenario: Scenario, replayed: Replay, rollout: Rollout) -> dict[str, Score]:
    """Each device's published answers against the labels, joined by (device, committed digest, input id)."""
    truth = _read_labels(client.dataset_labels(scenario.name))
    return score(client, replayed, truth, committed_by(client, rollout.id))


def score(client: Client, replayed: Replay, truth: Mapping[str, str], committed: Mapping[str, str]) -> dict[str, Score]:
    """Judge each device: `truth` is input id -> label, `committed` device id -> the digest whose answers count."""
    return {
        device: score_device(
            device,
            share,
            truth,
            committed=committed.get(device),
            answers=published(client, device, replayed.deployment),
        )
        for device, share in replayed.shares.items()
    }


def committed_by(client: Client, rollout_id: str) -> dict[str, str]:
    """Device id -> the digest that it committed in a rollout."""
    return {one.device_id: one.digest for one in client.installations(rollout_id) if one.state in _HOLDING}


def healthy_in(client: Client, rollout_id: str) -> set[str]:
    """The devices whose wave passed."""
    return {one.device_id for one in client.installations(rollout_id) if one.state == "healthy"}


def finish(site: Site, job: Job) -> Job:
    """Wait for a job.

    Raises:
        ServerError: it failed.
        WaitTimeoutError: it did not end in time.
    """

    def has_ended() -> bool:
        nonlocal job
        job = site.client.job(job.id)
        return job.ended

    if not wait(site, has_ended, timeout_s=_JOB_TIMEOUT_S):
        raise WaitTimeoutError(f"job {job.id} ({job.kind}) is still {job.state} after {_JOB_TIMEOUT_S:g} s")
    if job.state is JobState.FAILED:
        raise ServerError(f"job {job.id} ({job.kind}) failed: {job.error or 'no reason given'}")
    return job


def _read_labels(data: bytes) -> dict[str, str]:
    return {row["id"]: row["label"] for row in csv.DictReader(io.StringIO(data.decode()))}


def _device_figures(client: Client, agent: Agent, scored: Score, version: Version) -> DeviceFigures:
    windows = list(client.telemetry(agent.device_id, deployment=version.model))
    return DeviceFigures(
        device=agent.device_id,
        pid=agent.child.pid,
        rows=scored.rows,
        joined=scored.joined,
        accuracy=scored.accuracy,
        windows=len(windows),
        window_rows=sum(one.source_rows for one in windows),
        telemetry_bytes=sum(one.record_bytes for one in windows),
        update_bytes=next(one.size_bytes for one in version.artifacts if one.variant == VARIANT),
    )
