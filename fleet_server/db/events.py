"""What happened, in order: an append-only list that processes and dashboards follow.

An event is appended by the transaction that makes it true. It is news, not evidence: the audit
trail is another table.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select

from fleet_server.db import settings
from fleet_server.db.tables import events


class EventKind(StrEnum):
    """What happened; the subject is the id of the thing it happened to."""

    #: A device got its id and key.
    DEVICE_ENROLLED = "device.enrolled"
    #: A device went online or offline, or began a new session.
    DEVICE_STATUS = "device.status"
    #: A device told what it really runs.
    DEVICE_REPORTED = "device.reported"
    #: Two live sessions under one id; nothing of it is believed until a person looked.
    DEVICE_QUARANTINED = "device.quarantined"
    #: A person looked.
    DEVICE_RELEASED = "device.released"
    #: A device lost its place in the fleet.
    DEVICE_REMOVED = "device.removed"
    #: Its labels changed; a person keeps it on one model, or no longer.
    DEVICE_LABELLED = "device.labelled"
    DEVICE_PINNED = "device.pinned"
    DEVICE_UNPINNED = "device.unpinned"
    #: Other devices are in a group, or it is gone.
    GROUP_CHANGED = "group.changed"
    #: A device said more than its share, and what was beyond was dropped.
    DEVICE_FLOODS = "device.floods"
    #: The broker refused what a device, or a stranger (subject `broker`), tried.
    CONNECTION_REFUSED = "connection.refused"
    #: A message was put aside.
    MESSAGE_QUARANTINED = "message.quarantined"
    #: A device told a step of an installation.
    REPORT_RECEIVED = "report.received"
    #: What a device shall run changed.
    DESIRED_CHANGED = "desired.changed"
    #: A rollout began, or took a step.
    ROLLOUT_CREATED = "rollout.created"
    ROLLOUT_CHANGED = "rollout.changed"
    #: One deployment's part in a rollout took a step.
    INSTALLATION_CHANGED = "installation.changed"
    #: A device runs something else than the installation had proved; the subject is the installation.
    INSTALLATION_REGRESSED = "installation.regressed"
    #: A device does not run what it shall; that is over, or a person closed it. The subject is the incident.
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CLOSED = "incident.closed"
    #: A job waits, or took a step.
    JOB_QUEUED = "job.queued"
    JOB_CHANGED = "job.changed"
    #: A model version is allowed to run, or no longer.
    MODEL_PUBLISHED = "model.published"
    MODEL_WITHDRAWN = "model.withdrawn"
    #: A version passed its promotion gate and waits for a person with the offline key.
    MODEL_AWAITS_SIGNATURE = "model.awaits-signature"
    #: What a role signed is about to end; the subject is the role.
    KEY_EXPIRES = "key.expires"
    #: The audit trail does not hold what was signed of it: a tail was cut off, or it was written anew.
    AUDIT_CONTRADICTED = "audit.contradicted"
    #: This machine's clock was set by much, while the link ran; devices are told the time anew.
    CLOCK_STEPPED = "clock.stepped"
    #: A version became champion or challenger.
    ALIAS_CHANGED = "alias.changed"
    #: A judgement of drift said something new; the subject is the finding.
    DRIFT_JUDGED = "drift.judged"
    #: A device's nominated samples of one nomination are all there; the subject is the device.
    NOMINATION_ANSWERED = "nomination.answered"
    #: A device has tried a model, or did not in time; the subject is the benchmark.
    BENCHMARK_ENDED = "benchmark.ended"
    #: Samples wait for a label; the subject is the retraining.
    LABELS_REQUESTED = "labels.requested"
    #: A sample got a label; the subject is the sample.
    LABEL_RECEIVED = "label.received"
    #: A trigger fired, or its retraining took a step.
    RETRAINING_CHANGED = "retraining.changed"
    #: The server came out of a backup; the subject is that. What happened after it was taken is not in this list.
    SERVER_RESTORED = "server.restored"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    id: int
    at: datetime
    kind: str
    subject: str
    data: dict[str, Any]


def append(connection: Connection, kind: str, subject: str, data: dict[str, Any], now: datetime) -> None:
    """Say that `kind` happened to `subject`; `data` is JSON."""
    connection.execute(events.insert(), {"at": now, "kind": kind, "subject": subject, "data": data})


def append_above(connection: Connection, event: Event) -> None:
    """Say it under an id of its own, or the next one if there is a higher one; ids go on from there."""
    number = max(event.id, last_id(connection) + 1)
    values = {"id": number, "at": event.at, "kind": event.kind, "subject": event.subject, "data": event.data}
    connection.execute(events.insert(), values)
    if connection.dialect.name == "postgresql":  # SQLite counts from the highest id by itself
        sequence = func.pg_get_serial_sequence(events.name, events.c.id.name)
        connection.execute(select(func.setval(sequence, number)))


def after(
    connection: Connection, last_id: int, kinds: Collection[str] | None = None, limit: int = 100
) -> tuple[Event, ...]:
    """The next events after `last_id`, oldest first; `kinds` None = all."""
    query = select(events).where(events.c.id > last_id).order_by(events.c.id).limit(limit)
    if kinds is not None:
        query = query.where(events.c.kind.in_(list(kinds)))
    return tuple(Event(row.id, row.at, row.kind, row.subject, row.data) for row in connection.execute(query))


def page(
    connection: Connection, *, kinds: Collection[str] = (), subject: str | None = None, after: int = 0, limit: int
) -> tuple[Event, ...]:
    """The next events after an id, oldest first, of the kinds that begin so (none = all) and of one subject."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    if kinds:
        query = query.where(or_(*(events.c.kind.startswith(kind, autoescape=True) for kind in kinds)))
    if subject is not None:
        query = query.where(events.c.subject == subject)
    return tuple(Event(row.id, row.at, row.kind, row.subject, row.data) for row in connection.execute(query))


def drop_through(connection: Connection, end: int, *, limit: int) -> int:
    """Drop the oldest events up to that one, at most `limit`; how many."""
    oldest = select(events.c.id).where(events.c.id <= end).order_by(events.c.id).limit(limit)
    ids = connection.execute(oldest).scalars().all()
    if ids:
        connection.execute(delete(events).where(events.c.id <= ids[-1]))
        settings.write(connection, settings.EVENTS_DROPPED, str(ids[-1]))
    return len(ids)


def last_dropped(connection: Connection) -> int:
    """The id of the newest event that was dropped; 0 when none was."""
    return int(settings.read(connection, settings.EVENTS_DROPPED) or 0)


def id_of_newest(connection: Connection, count: int) -> int:
    """The id behind which there are `count` events, the newest; 0 when there are not more. Ids have gaps."""
    newest = select(events.c.id).order_by(events.c.id.desc())
    return connection.execute(newest.offset(count).limit(1)).scalar() or 0


def last_id(connection: Connection) -> int:
    """The id of the newest event; 0 when nothing happened yet."""
    return connection.execute(select(func.max(events.c.id))).scalar_one() or 0
