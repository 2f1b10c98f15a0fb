"""One real pass: data, training, signing, rollout to the agents, their answers, and the score.

Each step goes over REST or the agents' own command line, as a person would go; every figure of the
report is read from the server. It starts no server (`edgeops.local.up` does), and all it computes is
the join of answers and truth.
"""

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Job, JobState, Rollout, Snapshot, Version
from edgeops.errors import ServerError, WaitTimeoutError
from edgeops.local import processes
from edgeops.local.scenarios import digits
from edgeops.local.score import Answer, Score, score_device, total
from edgeops.local.up import Agent, Site

#: What is rolled out.
VARIANT = "int8"
WAVES = ("1", "100%")
#: Below this share of joined rows the demo has failed.
REQUIRED_COVERAGE = 0.99

_JOB_TIMEOUT_S = limits.JOB_TIMEOUT.total_seconds()
_REPLAY_TIMEOUT_S = 30.0
_ROLLOUT_TIMEOUT_S = 90.0
_ANSWERS_TIMEOUT_S = 30.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Replay:
    """Which device answers which rows."""

    deployment: str
    #: Device id -> input ids.
    shares: Mapping[str, tuple[str, ...]]


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
    """All figures of one demo; the same for people and as JSON."""

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


@dataclass(slots=True)
class Stopwatch:
    """Seconds per named phase."""

    #: Hears of each phase when it begins, and what came of it when it has ended well.
    begins: Callable[[str], None] = lambda _: None
    ended: Callable[[str], None] = lambda _: None
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[Callable[[str], None]]:
        """Count the time inside under `name`; what is given takes a note on what came of it."""
        notes: list[str] = []
        self.begins(name)
        started = time.monotonic()
        yield notes.append
        seconds = time.monotonic() - started
        self.phases[name] = self.phases.get(name, 0.0) + seconds
        self.ended(f"{name}: {', '.join((f'{seconds:.1f} s', *notes))}")


def run(site: Site, *, seed: int, watch: Stopwatch) -> Report:
    """The whole pass on a running site.

    Raises:
        ServerError: a job failed, or the rollout did not finish.
        WaitTimeoutError: one of them did not end in time.
        PlatformError: a process of the server ended.
    """
    client = site.client
    with watch.phase("import") as note:
        note(f"{import_rows(site, seed=seed).rows} rows")
    with watch.phase("train") as note:
        version = train(site, seed=seed)
        note(", ".join(f"{one.variant} {one.metrics['accuracy']:.1%}" for one in version.artifacts))
    with watch.phase("publish") as note:
        publish(site, version)
        note(f"{version.model}@{version.version} signed")
    with watch.phase("replay") as note:
        replayed = replay(site)
        note(f"{' + '.join(str(len(share)) for share in replayed.shares.values())} rows wait on the devices")
    with watch.phase("rollout") as note:
        rollout = roll_out(site, version, replayed.deployment)
        note(f"{VARIANT} runs on {len(replayed.shares)} devices")
    with watch.phase("answers"):
        wait_for_answers(site, replayed, rollout.digest)
    with watch.phase("score") as note:
        scores = judge(client, replayed, rollout)
        devices = tuple(_device_figures(client, agent, scores[agent.device_id], version) for agent in site.agents)
        note(f"{sum(one.joined for one in devices)} of {sum(one.rows for one in devices)} rows answered")
    overall = total(scores.values())
    windows = sum(one.windows for one in devices)
    return Report(
        scenario=digits.NAME,
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


def import_rows(site: Site, *, seed: int) -> Snapshot:
    """Upload the digits; the rows that the server holds out are the ones the devices see."""
    path = digits.write_dataset(site.data)
    job = site.client.import_dataset(path, name=digits.NAME, label=digits.LABEL, hold_out=digits.HOLD_OUT, seed=seed)
    path.unlink()
    _finish(site, job)
    head = site.client.dataset(digits.NAME).head
    assert head is not None, "it was imported this moment"
    return head


def train(site: Site, *, seed: int) -> Version:
    """Train, quantize and judge both variants in the server's worker."""
    job = site.client.train(digits.NAME, digits.NAME, recipe=digits.RECIPE, seed=seed)
    result = _finish(site, job).result or {}
    return site.client.version(digits.NAME, int(result["version"]))


def publish(site: Site, version: Version) -> None:
    """Sign and list both variants."""
    _finish(site, site.client.publish(version.model, version.version))


def replay(site: Site, *, deployment: str = digits.NAME, rate_hz: float | None = None) -> Replay:
    """Give each agent its share of the held-out rows, once; they wait on the device until it has a model.

    Args:
        site: its agents take part.
        deployment: what the agents call it.
        rate_hz: rows a second; None = as fast as the model answers.
    """
    import numpy as np  # noqa: PLC0415 - every command of `edgeops` would pay for it

    with np.load(io.BytesIO(site.client.dataset_rows(digits.NAME))) as file:
        values, ids = file["X"], file["id"]
    shares: dict[str, tuple[str, ...]] = {}
    started = []
    for place, agent in enumerate(site.agents):
        every = slice(place, None, len(site.agents))
        shares[agent.device_id] = tuple(str(one) for one in ids[every])
        path = agent.state / f"{deployment}.npz"
        np.savez(path, X=values[every], id=ids[every])
        rate = "max" if rate_hz is None else str(rate_hz)
        arguments = ("replay", path, "--deployment", deployment, "--once", "--rate", rate, "--predictions", "all")
        command = processes.python("device_agent.cli", "--state", agent.state, *arguments)
        started.append(processes.start(f"{agent.name}.replay", command, logs=site.logs))
    for child in started:
        processes.wait_until_done(child, timeout_s=_REPLAY_TIMEOUT_S)
    for agent in site.agents:
        processes.wait_until_ready(
            agent.child,
            partial(_has_deployment, site.client, agent, deployment),
            timeout_s=_REPLAY_TIMEOUT_S,
            meanwhile=site.require_server,
        )
    return Replay(deployment, shares)


def roll_out(site: Site, version: Version, deployment: str) -> Rollout:
    """Bring the quantized model to all devices, a canary first.

    Raises:
        ServerError: it ended badly.
        WaitTimeoutError: it did not end in time.
    """
    rollout = site.client.create_rollout(
        version.model, version.version, variant=VARIANT, deployment=deployment, to="all", waves=WAVES
    )

    def has_ended() -> bool:
        nonlocal rollout
        rollout = site.client.rollout(rollout.id)
        return rollout.state != "running"

    if not _wait(site, has_ended, timeout_s=_ROLLOUT_TIMEOUT_S):
        raise WaitTimeoutError(f"the rollout still runs after {_ROLLOUT_TIMEOUT_S:g} s")
    if rollout.state != "finished":
        raise ServerError(f"the rollout is {rollout.state}, not finished: {rollout.reason or 'no reason given'}")
    return rollout


def wait_for_answers(site: Site, replayed: Replay, digest: str, *, timeout_s: float = _ANSWERS_TIMEOUT_S) -> bool:
    """Wait until the server holds an answer to each row, and a window that counts it; False = not in time."""
    waiting = set(replayed.shares)

    def are_complete() -> bool:
        waiting.difference_update([device for device in waiting if _is_complete(site.client, replayed, device, digest)])
        return not waiting

    return _wait(site, are_complete, timeout_s=timeout_s)


def judge(client: Client, replayed: Replay, rollout: Rollout) -> dict[str, Score]:
    """Each device's published answers against the labels, joined by (device, committed digest, input id)."""
    truth = _read_labels(client.dataset_labels(digits.NAME))
    committed = {one.device_id: one.digest for one in client.installations(rollout.id) if one.state == "committed"}
    return {
        device: score_device(
            device, share, truth, committed=committed.get(device), answers=_answers(client, device, replayed.deployment)
        )
        for device, share in replayed.shares.items()
    }


def _finish(site: Site, job: Job) -> Job:
    def has_ended() -> bool:
        nonlocal job
        job = site.client.job(job.id)
        return job.ended

    if not _wait(site, has_ended, timeout_s=_JOB_TIMEOUT_S):
        raise WaitTimeoutError(f"job {job.id} ({job.kind}) is still {job.state} after {_JOB_TIMEOUT_S:g} s")
    if job.state is JobState.FAILED:
        raise ServerError(f"job {job.id} ({job.kind}) failed: {job.error or 'no reason given'}")
    return job


def _wait(site: Site, done: Callable[[], bool], *, timeout_s: float) -> bool:
    """False = not in time; a process of the server that ended is named at once."""
    deadline = time.monotonic() + timeout_s
    while True:
        site.require_server()
        if done():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def _has_deployment(client: Client, agent: Agent, deployment: str) -> bool:
    return any(one.deployment == deployment for one in client.device(agent.device_id).deployments)


def _is_complete(client: Client, replayed: Replay, device: str, digest: str) -> bool:
    share = replayed.shares[device]
    if sum(one.source_rows for one in client.telemetry(device, deployment=replayed.deployment)) < len(share):
        return False
    answered = {one.input_id for one in client.predictions(device, replayed.deployment, digest)}
    return answered.issuperset(share)


def _answers(client: Client, device: str, deployment: str) -> Iterator[Answer]:
    for one in client.predictions(device, deployment):
        yield Answer(device=device, digest=one.digest, input_id=one.input_id, label=one.label or "")


def _read_labels(data: bytes) -> dict[str, str]:
    return {row["id"]: row["label"] for row in csv.DictReader(io.StringIO(data.decode()))}


def _device_figures(client: Client, agent: Agent, score: Score, version: Version) -> DeviceFigures:
    windows = list(client.telemetry(agent.device_id, deployment=digits.NAME))
    return DeviceFigures(
        device=agent.device_id,
        pid=agent.child.pid,
        rows=score.rows,
        joined=score.joined,
        accuracy=score.accuracy,
        windows=len(windows),
        window_rows=sum(one.source_rows for one in windows),
        telemetry_bytes=sum(one.record_bytes for one in windows),
        update_bytes=next(one.size_bytes for one in version.artifacts if one.variant == VARIANT),
    )
