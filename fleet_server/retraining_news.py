"""What happened to a retraining meanwhile, read from the rows of those who did it: devices, people, jobs, rollouts.

Each function reads one state's rows and asks a condition of `edgeops.learning.retraining`; None = go on waiting.
It changes nothing.
"""

from collections.abc import Callable
from datetime import datetime
from typing import assert_never

import msgspec

from edgeops.artifact.manifest import Promotion
from edgeops.learning import retraining as machine
from edgeops.learning.retraining import Happened, Labelling, Nominating, RetrainingEvent, RetrainingState
from edgeops.learning.triggers import Mode
from fleet_server.db import jobs, label_queue, models, nominations, policies, rollouts
from fleet_server.db.database import Connection
from fleet_server.db.jobs import JobState
from fleet_server.db.label_queue import ItemState
from fleet_server.db.nominations import Nomination
from fleet_server.db.retrainings import Retraining
from fleet_server.retraining_steps import who_runs, whom_to_ask


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What of a training's result decides how it goes on."""

    version: int
    snapshot: str | None = None
    promotion: Promotion
    signed: bool = False


def look(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:
    """What leads an open retraining on, if anything does."""
    read: dict[RetrainingState, Callable[[Connection, Retraining, datetime], Happened | None]] = {
        RetrainingState.PROPOSED: _proposed,
        RetrainingState.NOMINATING: _nominating,
        RetrainingState.LABELLING: _labelling,
        RetrainingState.TRAINING: _training,
        RetrainingState.AWAITING_SIGNATURE: _awaiting_signature,
        RetrainingState.ROLLING_OUT: _rolling_out,
    }
    return read[retraining.state](connection, retraining, now)


def result_of(connection: Connection, retraining: Retraining) -> Trained | None:
    """What the job made; None while it has not ended well, or if its result cannot be read."""
    job = None if retraining.job_id is None else jobs.get(connection, retraining.job_id)
    if job is None or job.state is not JobState.SUCCEEDED:
        return None
    try:
        return msgspec.convert(job.result, Trained)
    except msgspec.ValidationError:
        return None


def words(connection: Connection, retraining: Retraining, now: datetime) -> str:
    """How an open retraining stands, for people."""
    match retraining.state:
        case RetrainingState.NOMINATING:
            asked = nominations.of_asker(connection, retraining.id)
            if asked:
                return f"{sum(one.answered_at is not None for one in asked)} of {len(asked)} devices answered"
            running = whom_to_ask(connection, retraining, now).running
            until = retraining.entered_at + retraining.policy.label_timeout
            who = f"none of the {running} devices that run it is online" if running else "no device runs it"
            return f"{who}, so nobody can nominate; waiting until {until:%Y-%m-%d %H:%M} UTC"
        case RetrainingState.LABELLING:
            counts = label_queue.counts(connection, retraining.id)
            return f"{counts[ItemState.LABELLED]} of {counts.total()} samples are labelled"
        case RetrainingState.ROLLING_OUT if retraining.rollout_id is not None:
            rollout = rollouts.get(connection, retraining.rollout_id)
            assert rollout is not None, "rollouts are never deleted"
            return f"{rollout.id} is {rollout.state}" + (f": {rollout.reason}" if rollout.reason else "")
        case _:
            return retraining.detail


def silence_of(asked: tuple[Nomination, ...]) -> str:
    """What devices said of why they nominated fewer than asked."""
    told = [f"{one.device_id}: {one.detail}" for one in asked if one.detail]
    return "; ".join(told[:3])


def _proposed(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:  # noqa: ARG001 - one signature
    policy = policies.get(connection, retraining.model)
    if policy.mode is Mode.AUTO:
        return Happened(machine.beginning(policy.labels), "the policy lets it run by itself now")
    if who_runs(connection, retraining.digest, retraining.deployment):
        return None
    return Happened(RetrainingEvent.OVERTAKEN, "no device runs that model any more")


def _nominating(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:
    asked = nominations.of_asker(connection, retraining.id)
    seen = Nominating(
        since=retraining.entered_at,
        asked_at=min((one.asked_at for one in asked), default=None),
        asked=len(asked),
        answered=sum(one.answered_at is not None for one in asked),
        samples=sum(one.samples for one in asked),
        detail=silence_of(asked),
    )
    wanted, timeout = retraining.labels_wanted, retraining.policy.label_timeout
    return machine.nominated(seen, wanted=wanted, label_timeout=timeout, now=now)


def _labelling(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:
    counts = label_queue.counts(connection, retraining.id)
    seen = Labelling(
        since=retraining.entered_at,
        open=counts[ItemState.OPEN],
        labelled=counts[ItemState.LABELLED],
        disputed=counts[ItemState.DISPUTED],
    )
    policy = retraining.policy
    return machine.labelled(seen, min_labels=policy.min_labels, label_timeout=policy.label_timeout, now=now)


def _training(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:  # noqa: ARG001 - one signature
    job = None if retraining.job_id is None else jobs.get(connection, retraining.job_id)
    if job is None:
        return None
    match job.state:
        case JobState.QUEUED | JobState.RUNNING:
            return None
        case JobState.FAILED:
            return Happened(RetrainingEvent.TRAINING_FAILED, f"{job.id} failed: {job.error}")
        case JobState.SUCCEEDED:
            result = result_of(connection, retraining)
            if result is None:
                return Happened(RetrainingEvent.TRAINING_FAILED, f"the result of {job.id} cannot be read")
            gate = result.promotion
            reason = gate.failures or "; ".join(rule.reason for rule in gate.rules)
            return machine.trained(passed=gate.passed, signed=result.signed, reason=reason)
        case _:
            assert_never(job.state)


def _awaiting_signature(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:  # noqa: ARG001 - one signature
    healed = models.artifact_by_digest(connection, retraining.digest)
    assert healed is not None, "a retraining begins with an artifact that is known here"
    assert retraining.version is not None, "it was trained"
    new = models.get_artifact(connection, retraining.model, retraining.version, healed.variant)
    return Happened(RetrainingEvent.SIGNED) if new is not None and new.is_published else None


def _rolling_out(connection: Connection, retraining: Retraining, now: datetime) -> Happened | None:  # noqa: ARG001 - one signature
    rollout = None if retraining.rollout_id is None else rollouts.get(connection, retraining.rollout_id)
    return None if rollout is None else machine.rolled_out(rollout.state, rollout.reason)
