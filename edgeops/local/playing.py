"""Rows for the agents of a site to answer, as sensors would bring them, and what the server then holds of it.

Rows are dealt out one by one, given to each agent's own command line, and read back over REST. What an answer is
worth is found in `score`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from edgeops.api.client import Client
from edgeops.local import processes
from edgeops.local.scenarios.scenario import Rows
from edgeops.local.score import Answer
from edgeops.local.up import Agent, Site

_START_TIMEOUT_S = 30.0
_ANSWERS_TIMEOUT_S = 60.0
_POLL_S = 0.1
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Replay:
    """Which device answers which rows."""

    deployment: str
    #: Device id -> input ids.
    shares: Mapping[str, tuple[str, ...]]
    #: When it began, by this machine's clock, which is the server's.
    since: datetime


def play(
    site: Site,
    rows: Rows,
    *,
    deployment: str,
    loop: bool = False,
    rate_hz: float | None = None,
    predictions: str = "all",
) -> Replay:
    """Give each agent its share; one without a model keeps the rows waiting.

    Args:
        site: its agents take part.
        rows: dealt out one by one.
        deployment: what the agents call it; a source it had is replaced.
        loop: begin again after the last row, for ever.
        rate_hz: rows a second; None = as fast as the model answers.
        predictions: which answers are published: all, latest or off.

    Raises:
        PlatformError: an agent did not take its rows.
    """
    since = datetime.now(UTC)
    number = next(_NUMBERS)
    shares: dict[str, tuple[str, ...]] = {}
    started = []
    for place, agent in enumerate(site.agents):
        share = rows.part(slice(place, None, len(site.agents)))
        shares[agent.device_id] = share.ids
        path = agent.state / f"{deployment}-{number}.npz"
        write_rows(path, share)
        rate = "max" if rate_hz is None else f"{rate_hz:g}"
        arguments: list[str | Path] = [
            "replay",
            path,
            "--deployment",
            deployment,
            "--rate",
            rate,
            "--predictions",
            predictions,
        ]
        command = processes.python(
            "device_agent.cli", "--state", agent.state, *arguments, *([] if loop else ["--once"])
        )
        started.append(processes.start(f"{agent.name}.replay", command, logs=site.logs))
    for child in started:
        processes.wait_until_done(child, timeout_s=_START_TIMEOUT_S)
    for agent in site.agents:
        processes.wait_until_ready(
            agent.child,
            partial(_has_deployment, site.client, agent, deployment),
            timeout_s=_START_TIMEOUT_S,
            meanwhile=site.require_server,
        )
    return Replay(deployment, shares, since)


def stop(site: Site, deployment: str, agents: Sequence[Agent]) -> None:
    """Take the source away from these agents; what they took in is counted."""
    started = [
        processes.start(
            f"{agent.name}.stop",
            processes.python("device_agent.cli", "--state", agent.state, "stop", "--deployment", deployment),
            logs=site.logs,
        )
        for agent in agents
    ]
    for child in started:
        processes.wait_until_done(child, timeout_s=_START_TIMEOUT_S)


def write_rows(path: Path, rows: Rows) -> None:
    """A file that `edgeops-agent replay` and `batch` take; without labels."""
    np.savez(path, X=rows.values, id=np.array(rows.ids, dtype=np.str_))


def wait_for_answers(site: Site, replay: Replay, digest: str, *, timeout_s: float = _ANSWERS_TIMEOUT_S) -> bool:
    """Wait until the server holds this model's answer to each row, and windows that count them; False = not in time."""
    waiting = set(replay.shares)

    def are_complete() -> bool:
        waiting.difference_update([device for device in waiting if _is_complete(site.client, replay, device, digest)])
        return not waiting

    return wait(site, are_complete, timeout_s=timeout_s)


def wait_for_windows(site: Site, replay: Replay, *, timeout_s: float = _ANSWERS_TIMEOUT_S) -> bool:
    """Wait until the server holds windows that count every row; False = not in time."""

    def are_counted() -> bool:
        return all(_counted(site.client, replay, device) >= len(share) for device, share in replay.shares.items())

    return wait(site, are_counted, timeout_s=timeout_s)


def wait(site: Site, done: Callable[[], bool], *, timeout_s: float) -> bool:
    """False = not in time; a process of the server that ended is named at once."""
    deadline = time.monotonic() + timeout_s
    while True:
        site.require_server()
        if done():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def published(client: Client, device: str, deployment: str) -> Iterator[Answer]:
    """All answers that a device published for a deployment."""
    for one in client.predictions(device, deployment):
        yield Answer(device=device, digest=one.digest, input_id=one.input_id, label=one.label or "")


def _has_deployment(client: Client, agent: Agent, deployment: str) -> bool:
    return any(one.deployment == deployment for one in client.device(agent.device_id).deployments)


def _is_complete(client: Client, replay: Replay, device: str, digest: str) -> bool:
    share = replay.shares[device]
    if _counted(client, replay, device) < len(share):
        return False
    answered = {one.input_id for one in client.predictions(device, replay.deployment, digest)}
    return answered.issuperset(share)


def _counted(client: Client, replay: Replay, device: str) -> int:
    """Source rows in windows that closed since the replay began."""
    windows = client.telemetry(device, deployment=replay.deployment, since=replay.since)
    return sum(one.source_rows for one in windows)
