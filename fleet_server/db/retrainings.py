"""The store of retrainings: a row for every firing of a trigger, also of those that came to nothing.

Every change says so in `events`, in the same transaction. It keeps what `edgeops.learning` decided and
decides nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, or_, select, update

from edgeops.learning.retraining import OPEN, RetrainingState
from edgeops.learning.triggers import Answer, Cause, Past, RetrainPolicy, TriggerKind
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.tables import retrainings


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a firing stands on."""

    #: In words.
    why: str
    #: Of drift.
    finding: str | None = None
    kinds: tuple[str, ...] = ()
    #: The one device that differs from its siblings; empty = the fleet.
    device_id: str = ""
    #: Windows that closed from then on show the world that the model shall be healed on; None = all there are.
    since: datetime | None = None
    #: Of labels: how many came by themselves.
    labels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One firing, and how far it came."""

    id: str
    model: str
    deployment: str
    #: The artifact that is to be healed.
    digest: str
    trigger: TriggerKind
    evidence: Evidence
    decision: Answer
    cause: Cause = Cause.NONE
    reason: str
    #: As it was when the trigger fired, or a person approved.
    policy: RetrainPolicy
    without_devices: tuple[str, ...] = ()
    state: RetrainingState
    #: Since when it stands in this state.
    entered_at: datetime
    #: How it stands, or how it ended, in words.
    detail: str = ""
    labels_wanted: int = 0
    job_id: str | None = None
    snapshot: str | None = None
    version: int | None = None
    rollout_id: str | None = None
    created_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None


def add(connection: Connection, retraining: Retraining) -> None:
    """Add a row."""
    connection.execute(retrainings.insert().values({name: getattr(retraining, name) for name in retraining.__slots__}))
    _announce(connection, retraining, retraining.created_at)


def save(connection: Connection, before: Retraining, now: datetime, **changes: Any) -> Retraining:
    """Keep what changed; nothing happens when nothing did."""
    after = replace(before, **changes)
    if after == before:
        return before
    after = replace(
        after,
        updated_at=now,
        entered_at=before.entered_at if after.state is before.state else now,
        finished_at=None if after.state in OPEN else (before.finished_at or now),
    )
    values = {name: getattr(after, name) for name in (*changes, "updated_at", "entered_at", "finished_at")}
    connection.execute(update(retrainings).where(retrainings.c.id == after.id).values(values))
    _announce(connection, after, now)
    return after


def get(connection: Connection, retraining_id: str) -> Retraining | None:
    """One retraining, or None."""
    row = connection.execute(select(retrainings).where(retrainings.c.id == retraining_id)).one_or_none()
    return None if row is None else _retraining(row)


def page(
    connection: Connection, *, model: str | None = None, after: str | None = None, limit: int
) -> tuple[Retraining, ...]:
    """Retrainings, newest first; `after` is the last id of the page before."""
    query = select(retrainings).order_by(retrainings.c.id.desc()).limit(limit)
    if model is not None:
        query = query.where(retrainings.c.model == model)
    if after is not None:
        query = query.where(retrainings.c.id < after)
    return tuple(_retraining(row) for row in connection.execute(query))


def open_ids(connection: Connection) -> tuple[str, ...]:
    """The retrainings that have not ended, oldest first."""
    query = select(retrainings.c.id).where(retrainings.c.state.in_(list(OPEN))).order_by(retrainings.c.id)
    return tuple(connection.execute(query).scalars())


def open_of(connection: Connection, model: str) -> Retraining | None:
    """The retraining of a model that has not ended; there is at most one."""
    query = select(retrainings).where(retrainings.c.model == model, retrainings.c.state.in_(list(OPEN)))
    row = connection.execute(query.order_by(retrainings.c.id).limit(1)).one_or_none()
    return None if row is None else _retraining(row)


def newest_job(connection: Connection, model: str) -> str | None:
    """The job that trained a model on labels last, or does; None when none ever did."""
    query = select(retrainings.c.job_id).where(retrainings.c.model == model, retrainings.c.job_id.is_not(None))
    return connection.execute(query.order_by(retrainings.c.id.desc()).limit(1)).scalar()


def history(connection: Connection, model: str, *, since: datetime) -> tuple[Past, ...]:
    """The firings of a model since then, and those that have not ended, oldest first."""
    query = select(retrainings).where(
        retrainings.c.model == model, or_(retrainings.c.created_at >= since, retrainings.c.state.in_(list(OPEN)))
    )
    rows = (_retraining(row) for row in connection.execute(query.order_by(retrainings.c.id)))
    return tuple(
        Past(
            id=one.id,
            kind=one.trigger,
            digest=one.digest,
            deployment=one.deployment,
            finding=one.evidence.finding,
            device_id=one.evidence.device_id,
            answer=one.decision,
            cause=one.cause,
            state=one.state,
            labels=one.labels_wanted,
            created_at=one.created_at,
            finished_at=one.finished_at,
        )
        for one in rows
    )


def _announce(connection: Connection, one: Retraining, now: datetime) -> None:
    data = {
        "model": one.model,
        "trigger": one.trigger,
        "decision": one.decision,
        "state": one.state,
        "detail": one.detail or one.reason,
    }
    events.append(connection, EventKind.RETRAINING_CHANGED, one.id, data, now)


def _retraining(row: Row[Any]) -> Retraining:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    values["trigger"] = TriggerKind(row.trigger)
    values["evidence"] = msgspec.convert(row.evidence, Evidence)
    values["decision"] = Answer(row.decision)
    values["cause"] = Cause(row.cause)
    values["policy"] = msgspec.convert(row.policy, RetrainPolicy)
    values["without_devices"] = tuple(row.without_devices)
    values["state"] = RetrainingState(row.state)
    return Retraining(**values)
