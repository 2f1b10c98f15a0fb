"""What people ask of retrainings: begin one, approve a proposal, end one.

Each is one transaction, with an entry in the audit trail. What may follow is decided in `edgeops.learning`.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from edgeops.artifact.manifest import Task
from edgeops.errors import ConflictError, NotFoundError
from edgeops.learning import retraining as machine
from edgeops.learning.retraining import Happened, RetrainingEvent, RetrainingState
from edgeops.learning.triggers import Answer, RetrainPolicy, Trigger, TriggerKind, decide
from fleet_server.db import audit, devices, drifting, labels, models, policies, retrainings
from fleet_server.db.database import Connection, Database
from fleet_server.db.retrainings import Evidence, Retraining
from fleet_server.retraining_firing import Firing, begin, history_of, of_drift, what_to_heal
from fleet_server.retraining_steps import advance, who_runs


def start_retraining(
    database: Database,
    model: str,
    *,
    started_by: str,
    now: datetime,
    labels_wanted: int | None = None,
    random_share: float | None = None,
    without_devices: Sequence[str] = (),
    deployment: str | None = None,
    remark: str = "",
) -> str:
    """Retrain a model, or approve what is proposed; the retraining's id.

    Args:
        database: the server's.
        model: its name.
        started_by: who asks.
        now: the present moment.
        labels_wanted: how many are bought; None = as the policy says, 0 = learn from those that are there.
        random_share: of the labels, drawn at random; None = as the policy says.
        without_devices: whose samples and labels are left out, those that it has learnt from already included.
        deployment: where it shall be healed; None = where drift stands, else where the champion runs.
        remark: why, for the audit trail.

    Raises:
        NotFoundError: no such model or device.
        ConflictError: the model is no classifier, another retraining has not ended, no device runs the model, or
            nothing is there to learn.
    """
    with database.write() as connection:
        known = models.get(connection, model)
        if known is None:
            raise NotFoundError(f"no model {model[:80]!r}; list them with: edgeops model list")
        if known.task != Task.CLASSIFICATION:
            raise ConflictError(
                f"{model} does {known.task}, and only classifiers learn from bought labels; import newer rows and "
                f"train it again: edgeops train DATASET --model {model}"
            )
        for device_id in without_devices:
            if devices.get(connection, device_id) is None:
                raise NotFoundError(f"no device {device_id[:80]!r}; list them with: edgeops devices list")
        policy = _policy(policies.get(connection, model), labels_wanted, random_share)
        without = tuple(sorted(set(without_devices)))
        if policy.labels == 0 and not without and not labels.for_training(connection, model):
            raise ConflictError(f"no sample of {model} has a label yet, so there is nothing new to learn from")
        going = retrainings.open_of(connection, model)
        if going is not None and going.state is RetrainingState.PROPOSED:
            return _approve(connection, going, policy, without, approved_by=started_by, remark=remark, now=now)
        firing = _firing(connection, model, deployment, started_by, now)
        decision = decide(firing.trigger, policy, history_of(connection, model, now), now)
        if decision.answer is not Answer.RUN:
            raise ConflictError(f"{model} is being retrained: {decision.reason}; end it with: edgeops retrain cancel")
        begun = begin(
            connection, firing, decision, policy, created_by=started_by, now=now, without_devices=without, remark=remark
        )
        return begun.id


def cancel_retraining(
    database: Database, retraining_id: str, *, cancelled_by: str, now: datetime, remark: str = ""
) -> None:
    """End a retraining; the model that runs goes on.

    Raises:
        NotFoundError: no such retraining.
        ConflictError: it has ended, or its rollout is under way.
    """
    with database.write() as connection:
        retraining = retrainings.get(connection, retraining_id)
        if retraining is None:
            raise NotFoundError(f"no retraining {retraining_id[:80]!r}; list them with: edgeops retrain history")
        if retraining.state is RetrainingState.ROLLING_OUT:
            raise ConflictError(f"{retraining_id} is rolling out; end that with: edgeops rollout abort")
        if not machine.allows(retraining.state, RetrainingEvent.CANCEL):
            raise ConflictError(f"{retraining_id} is {retraining.state} already; nothing is left to cancel")
        reason = f"cancelled by {cancelled_by}" + (f": {remark}" if remark else "")
        advance(connection, retraining, Happened(RetrainingEvent.CANCEL, reason), now)
        audit.append(connection, cancelled_by, "retraining.cancelled", retraining_id, {}, now, remark=remark)


def _policy(policy: RetrainPolicy, labels_wanted: int | None, random_share: float | None) -> RetrainPolicy:
    wanted = policy.labels if labels_wanted is None else labels_wanted
    share = policy.random_share if random_share is None else random_share
    return msgspec.structs.replace(policy, labels=wanted, random_share=share)


def _approve(
    connection: Connection,
    proposed: Retraining,
    policy: RetrainPolicy,
    without_devices: tuple[str, ...],
    *,
    approved_by: str,
    remark: str,
    now: datetime,
) -> str:
    approved = retrainings.save(
        connection,
        proposed,
        now,
        decision=Answer.RUN,
        policy=policy,
        without_devices=without_devices,
        labels_wanted=policy.labels,
    )
    happened = Happened(machine.beginning(policy.labels), f"approved by {approved_by}")
    advance(connection, approved, happened, now)
    data = {"labels": policy.labels, "without_devices": without_devices}
    audit.append(connection, approved_by, "retraining.approved", proposed.id, data, now, remark=remark)
    return proposed.id


def _firing(connection: Connection, model: str, deployment: str | None, started_by: str, now: datetime) -> Firing:
    """What a person's wish stands on: drift where it stands, else the model as it is."""
    why = f"asked for by {started_by}"
    for one in drifting.standing(connection, model=model):
        stream = one.stream
        fits = not one.device_id and deployment in {None, stream.deployment}
        if fits and who_runs(connection, stream.digest, stream.deployment):
            trigger = Trigger(kind=TriggerKind.PERSON, digest=stream.digest, deployment=stream.deployment, why=why)
            return Firing(model, trigger, of_drift(one).evidence, now)
    found = what_to_heal(connection, model, deployment)
    if found is None:
        where = f" on a deployment {deployment}" if deployment else ""
        raise ConflictError(f"no device runs a published version of {model}{where}, so there is nothing to heal")
    trigger = Trigger(kind=TriggerKind.PERSON, digest=found.digest, deployment=found.deployment, why=why)
    return Firing(model, trigger, Evidence(why=why), now)
