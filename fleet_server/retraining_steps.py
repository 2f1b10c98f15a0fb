"""Carries out what the retraining machine commands, inside the caller's transaction.

State, nominations, queue, job, rollout, outbox and events change together or not at all, and each command may be
carried out again, so a step that was interrupted never happened. It decides nothing: `edgeops.learning` does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from edgeops import limits
from edgeops.errors import EdgeOpsError
from edgeops.learning import retraining as machine
from edgeops.learning.retraining import Happened, RetrainingCommand, RetrainingEvent
from edgeops.learning.triggers import Mode
from edgeops.protocol.messages import Command, Intent, Nominate, Presence, encode
from edgeops.protocol.topics import DownKind
from fleet_server.db import devices, jobs, label_queue, models, nominations, outbox, retrainings
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.label_queue import Item
from fleet_server.db.nominations import Nomination
from fleet_server.db.retrainings import Retraining
from fleet_server.db.samples import Sample
from fleet_server.engine import begin_rollout
from fleet_server.rollout_plans import Order


def advance(
    connection: Connection, before: Retraining, happened: Happened, now: datetime, *, chosen: Sequence[Sample] = ()
) -> Retraining:
    """One step of a retraining, and its command; `chosen` are the samples to be labelled, if it asks for labels."""
    state, command = machine.step(before.state, happened.event)
    detail = happened.reason[: limits.MAX_DETAIL_LENGTH]
    after = retrainings.save(connection, before, now, state=state, detail=detail)
    return carry_out(connection, after, command, now, chosen=chosen)


def carry_out(
    connection: Connection,
    retraining: Retraining,
    command: RetrainingCommand,
    now: datetime,
    *,
    chosen: Sequence[Sample] = (),
) -> Retraining:
    """What a command asks for, unless it was done."""
    match command:
        case RetrainingCommand.NONE:
            return retraining
        case RetrainingCommand.ASK_DEVICES:
            _ask_devices(connection, retraining, now)
            return retraining
        case RetrainingCommand.REQUEST_LABELS:
            label_queue.add(connection, [_item(retraining, *place, now) for place in enumerate(chosen)])
            return retraining
        case RetrainingCommand.QUEUE_JOB:
            return _queue_job(connection, retraining, now)
        case RetrainingCommand.START_ROLLOUT:
            return _start_rollout(connection, retraining, now)
        case RetrainingCommand.DROP_QUEUE:
            label_queue.drop(connection, retraining.id, now)
            return retraining
        case _:
            assert_never(command)


# -- nominations ----------------------------------------------------------------------------


def is_done(connection: Connection, retraining: Retraining, command: RetrainingCommand, now: datetime) -> bool:
    """Whether carrying out a command that is repeated while a state lasts would change nothing."""
    match command:
        case RetrainingCommand.ASK_DEVICES:
            asking = whom_to_ask(connection, retraining, now)
            return not (asking.fresh or asking.again)
        case RetrainingCommand.QUEUE_JOB:
            return retraining.job_id is not None
        case RetrainingCommand.START_ROLLOUT:
            return retraining.rollout_id is not None
        case _:
            return True


def who_runs(connection: Connection, digest: str, deployment: str) -> tuple[Device, ...]:
    """The believed devices that answer with an artifact, and of which no other one is wanted."""
    found: list[Device] = []
    after: str | None = None
    while page := devices.page(connection, after=after, limit=1_000):
        after = page[-1].id
        wanted = devices.wanted_by_device(connection, [device.id for device in page])
        for device in page:
            reported = () if device.reported is None or device.quarantined else device.reported.deployments
            runs = any(one.deployment == deployment and one.active == digest for one in reported)
            others = any(one.deployment == deployment and one.digest != digest for one in wanted[device.id])
            if runs and not others:
                found.append(device)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask for samples now."""

    #: Devices that run the model and count, online or not; of them those that were never asked and can be.
    running: int
    fresh: tuple[str, ...]
    #: Asked, silent for a while, and online.
    again: tuple[Nomination, ...]
    #: How many samples each is asked for.
    share: int


def whom_to_ask(connection: Connection, retraining: Retraining, now: datetime) -> Asking:
    """Who runs the model, is online and was not asked; and who was and does not answer."""
    running = [
        device
        for device in who_runs(connection, retraining.digest, retraining.deployment)
        if device.id not in retraining.without_devices
    ]
    online = {device.id for device in running if device.presence is Presence.ONLINE}
    asked = {one.device_id for one in nominations.of_asker(connection, retraining.id)}
    silent = nominations.unanswered(connection, retraining.id, asked_before=now - limits.NOMINATION_RETRY_AFTER)
    wanted = max(retraining.labels_wanted * limits.NOMINATION_SURPLUS, limits.LEAST_NOMINEES)
    share = math.ceil(wanted / max(1, len(online | asked)))
    return Asking(
        running=len(running),
        fresh=tuple(sorted(online - asked)),
        again=tuple(one for one in silent if one.device_id in online),
        share=min(share, limits.MAX_NOMINEES),
    )


def _ask_devices(connection: Connection, retraining: Retraining, now: datetime) -> None:
    asking = whom_to_ask(connection, retraining, now)
    for number, device_id in enumerate(asking.fresh):
        # Ids sort by time, and many share this one: each gets a microsecond of its own.
        at = now + timedelta(microseconds=number)
        one = nominations.add(
            connection,
            asker=retraining.id,
            device_id=device_id,
            deployment=retraining.deployment,
            digest=retraining.digest,
            count=asking.share,
            now=at,
        )
        _post(connection, retraining, one, now)
    for one in asking.again:
        _post(connection, retraining, one, now)
    if asking.again:
        nominations.mark_repeated(connection, [one.id for one in asking.again], now)


def _post(connection: Connection, retraining: Retraining, nomination: Nomination, now: datetime) -> None:
    since = retraining.evidence.since
    request = Nominate(
        deployment=retraining.deployment,
        digest=retraining.digest,
        count=nomination.count,
        random_share=retraining.policy.random_share,
        seed=retraining.policy.seed,
        within_ms=None if since is None else max(now - since, timedelta(0)) // timedelta(milliseconds=1),
    )
    body = encode(Command(command=nomination.id, request=request))
    outbox.post(connection, nomination.device_id, DownKind.COMMAND, body=body, now=now)


def _item(retraining: Retraining, position: int, sample: Sample, now: datetime) -> Item:
    return Item(
        sample_id=sample.id,
        model=retraining.model,
        asker=retraining.id,
        device_id=sample.device_id,
        deployment=sample.deployment,
        input_id=sample.input_id,
        position=position,
        by_chance=sample.by_chance,
        requested_at=now,
    )


# -- job and rollout --------------------------------------------------------------------------


def _queue_job(connection: Connection, retraining: Retraining, now: datetime) -> Retraining:
    if retraining.job_id is not None:
        return retraining
    label_queue.drop(connection, retraining.id, now)
    request = jobs.Retrain(
        retraining=retraining.id,
        model=retraining.model,
        digest=retraining.digest,
        deployment=retraining.deployment,
        since=retraining.evidence.since,
        without_devices=retraining.without_devices,
        seed=retraining.policy.seed,
        label_weight=retraining.policy.label_weight,
        sign=retraining.policy.mode is Mode.AUTO,
    )
    job = jobs.queue(connection, request, created_by=retraining.created_by, now=now)
    return retrainings.save(connection, retraining, now, job_id=job.id)


def _start_rollout(connection: Connection, retraining: Retraining, now: datetime) -> Retraining:
    if retraining.rollout_id is not None:
        return retraining
    healed = models.artifact_by_digest(connection, retraining.digest)
    assert healed is not None, "a retraining begins with an artifact that is known here"
    assert retraining.version is not None, "only a version that was trained is rolled out"
    order = Order(
        model=retraining.model,
        version=retraining.version,
        variant=healed.variant,
        deployment=retraining.policy.deployment or retraining.deployment,
        selector=retraining.policy.selector,
        waves=retraining.policy.waves,
        intent=Intent.HEAL,
        created_by=retraining.created_by,
        policy=retraining.policy.rollout_policy,
    )
    try:
        with connection.begin_nested():
            rollout_id = begin_rollout(connection, order, now)
    except EdgeOpsError as error:
        why = Happened(RetrainingEvent.ROLLOUT_FAILED, f"the rollout could not begin: {error}")
        return advance(connection, retraining, why, now)
    return retrainings.save(connection, retraining, now, rollout_id=rollout_id)
