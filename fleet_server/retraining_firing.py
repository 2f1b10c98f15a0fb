"""What fires a retraining: drift that stands on a model that devices run, and labels that came by themselves.

It looks at what is true now, not at what was news, so that drift fires again when a cooldown is over and nothing
is missed while this process was down. What a firing comes to is decided in `edgeops.learning.triggers`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edgeops.drift.finding import Kind
from edgeops.learning import retraining as machine
from edgeops.learning.retraining import RetrainingEvent
from edgeops.learning.triggers import (
    LABELS_PERIOD,
    Answer,
    Decision,
    Past,
    RetrainPolicy,
    Trigger,
    TriggerKind,
    decide,
    is_news,
)
from fleet_server.db import aliases, audit, drifting, jobs, labels, models, policies, retrainings
from fleet_server.db.aliases import Alias
from fleet_server.db.database import Connection
from fleet_server.db.drifting import Drifting
from fleet_server.db.findings import Stream
from fleet_server.db.identifiers import new_id
from fleet_server.db.retrainings import Evidence, Retraining
from fleet_server.monitoring import running_streams
from fleet_server.retraining_steps import carry_out, who_runs


@dataclass(frozen=True, slots=True)
class Firing:
    """A trigger of one model, with what it stands on."""

    model: str
    trigger: Trigger
    evidence: Evidence
    #: Since when the evidence is known to hold.
    last_at: datetime


def is_due(connection: Connection, now: datetime) -> bool:
    """Whether `fire` would write a row."""
    return next(_undecided(connection, now), None) is not None


def fire(connection: Connection, now: datetime) -> int:
    """Write a row for everything that fires and is news; how many there were."""
    count = 0
    while (found := next(_undecided(connection, now), None)) is not None:
        firing, decision, policy = found
        # Ids sort by time, and these share one: each gets a microsecond of its own.
        begin(connection, firing, decision, policy, created_by=audit.POLICY, now=now + timedelta(microseconds=count))
        count += 1
    return count


def begin(
    connection: Connection,
    firing: Firing,
    decision: Decision,
    policy: RetrainPolicy,
    *,
    created_by: str,
    now: datetime,
    without_devices: tuple[str, ...] = (),
    remark: str = "",
) -> Retraining:
    """Write down a firing with its decision, and begin if that says so."""
    labels_wanted = policy.labels if firing.trigger.kind is not TriggerKind.LABELS else 0
    event = {
        Answer.RUN: machine.beginning(labels_wanted),
        Answer.PROPOSE: RetrainingEvent.PROPOSE,
        Answer.SUPPRESSED: RetrainingEvent.SUPPRESS,
    }[decision.answer]
    state, command = machine.step(None, event)
    retraining = Retraining(
        id=new_id("retrain", now),
        model=firing.model,
        deployment=firing.trigger.deployment,
        digest=firing.trigger.digest,
        trigger=firing.trigger.kind,
        evidence=firing.evidence,
        decision=decision.answer,
        cause=decision.cause,
        reason=decision.reason,
        policy=policy,
        without_devices=without_devices,
        state=state,
        entered_at=now,
        labels_wanted=labels_wanted,
        created_by=created_by,
        created_at=now,
        updated_at=now,
        finished_at=None if state in machine.OPEN else now,
    )
    retrainings.add(connection, retraining)
    if decision.answer is not Answer.SUPPRESSED:
        data = {"model": firing.model, "digest": retraining.digest, "why": decision.reason}
        action = f"retraining.{decision.answer}"
        audit.append(connection, created_by, action, retraining.id, data, now, remark=remark)
    return carry_out(connection, retraining, command, now)


def what_to_heal(connection: Connection, model: str, deployment: str | None = None) -> Stream | None:
    """The champion where it runs, else the newest version that does; None when no device runs any."""
    running = {
        stream: devices
        for stream, devices in running_streams(connection).items()
        if stream.model == model and deployment in (None, stream.deployment)
    }
    champion = aliases.holders(connection, [model]).get(model, {}).get(Alias.CHAMPION)
    return max(
        running,
        key=lambda stream: (stream.version == champion, stream.version, len(running[stream]), stream.deployment),
        default=None,
    )


def of_drift(one: Drifting) -> Firing:
    """Drift as a firing."""
    kinds = " and ".join(sorted(one.kinds))
    trigger = Trigger(
        kind=TriggerKind.DRIFT,
        digest=one.stream.digest,
        deployment=one.stream.deployment,
        why=f"{kinds} drift on {one.stream.deployment}",
        finding=one.finding,
        device_id=one.device_id,
        bad_quality=Kind.QUALITY in one.kinds,
        class_mix_only=one.class_mix_only,
    )
    evidence = Evidence(
        why=one.reason,
        finding=one.finding,
        kinds=tuple(sorted(one.kinds)),
        device_id=one.device_id,
        since=one.stable_until,
    )
    return Firing(one.stream.model, trigger, evidence, one.last_at)


def history_of(connection: Connection, model: str, now: datetime) -> tuple[Past, ...]:
    """The earlier firings of a model that count."""
    return retrainings.history(connection, model, since=now - LABELS_PERIOD)


def _undecided(connection: Connection, now: datetime) -> Iterator[tuple[Firing, Decision, RetrainPolicy]]:
    """What fires and is news; one after the other, as each decision counts for the next."""
    for found in _firings(connection, now):
        firing = _of_its_task(connection, found)
        policy = policies.get(connection, firing.model)
        history = history_of(connection, firing.model, now)
        decision = decide(firing.trigger, policy, history, now)
        if not is_news(firing.trigger, decision, history) or _is_old(firing, history):
            continue
        if who_runs(connection, firing.trigger.digest, firing.trigger.deployment):
            yield firing, decision, policy


def _of_its_task(connection: Connection, firing: Firing) -> Firing:
    model = models.get(connection, firing.model)
    return firing if model is None else replace(firing, trigger=replace(firing.trigger, task=model.task))


def _firings(connection: Connection, now: datetime) -> Iterator[Firing]:
    yield from (of_drift(one) for one in drifting.standing(connection))
    for model, policy in policies.every(connection):
        if policy.new_labels is not None:
            yield from _labels_that_came(connection, model, policy.new_labels, now)


def _labels_that_came(connection: Connection, model: str, enough: int, now: datetime) -> Iterator[Firing]:
    """Enough samples labelled since a model was trained on labels last."""
    last_job = retrainings.newest_job(connection, model)
    job = None if last_job is None else jobs.get(connection, last_job)
    count = labels.samples_labelled_since(connection, model, None if job is None else job.created_at)
    stream = what_to_heal(connection, model) if count >= enough else None
    if stream is not None and retrainings.open_of(connection, model) is None:
        why = f"{count} samples were labelled since the last training"
        trigger = Trigger(kind=TriggerKind.LABELS, digest=stream.digest, deployment=stream.deployment, why=why)
        yield Firing(model, trigger, Evidence(why=why, labels=count), now)


def _is_old(firing: Firing, history: tuple[Past, ...]) -> bool:
    """Whether the model was dealt with after the evidence came: what stands is only what was left of it."""
    return any(
        one.finished_at is not None and one.finished_at >= firing.last_at
        for one in history
        if one.answer is not Answer.SUPPRESSED and one.digest == firing.trigger.digest
    )
