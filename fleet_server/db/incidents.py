"""Incidents: what devices run that they should not, each once from its beginning to its end.

One lasts while a device says the same; what it runs meanwhile is written over. A person may close it before, and is not
bothered again until it is over. What an incident is, is decided by `edgeops.rollout.deviation`.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Row, select, tuple_, update

from edgeops.rollout.deviation import Cause, Deviation, words
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import incidents


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One of them."""

    id: str
    device_id: str
    deployment: str
    cause: Cause
    should: str | None
    runs: str | None
    #: By what the device had come to run what it should; None = by none, or its report has not come yet.
    installation_id: str | None
    detail: str
    opened_at: datetime
    last_at: datetime
    asked: int
    asked_at: datetime | None
    closed_at: datetime | None
    closed_by: str
    remark: str
    ended_at: datetime | None

    @property
    def key(self) -> tuple[datetime, str]:
        """Its place in a page."""
        return self.opened_at, self.id


def running(connection: Connection, device_id: str) -> tuple[Incident, ...]:
    """Those of a device that are not over, also such as a person closed."""
    query = select(incidents).where(incidents.c.device_id == device_id, incidents.c.ended_at.is_(None))
    return tuple(_incident(row) for row in connection.execute(query.order_by(incidents.c.opened_at, incidents.c.id)))


def begin(connection: Connection, device_id: str, deployment: str, found: Deviation, *, now: datetime) -> Incident:
    """Open one, and say so in `events`."""
    incident = Incident(
        id=new_id("incident", now),
        device_id=device_id,
        deployment=deployment,
        cause=found.cause,
        should=found.should,
        runs=found.runs,
        installation_id=None,
        detail=words(found),
        opened_at=now,
        last_at=now,
        asked=0,
        asked_at=None,
        closed_at=None,
        closed_by="",
        remark="",
        ended_at=None,
    )
    connection.execute(incidents.insert().values({name: getattr(incident, name) for name in incident.__slots__}))
    _tell(connection, EventKind.INCIDENT_OPENED, incident, now)
    return incident


def go_on(connection: Connection, incident: Incident, found: Deviation, *, now: datetime) -> Incident:
    """It lasts; what the device says now is what is kept."""
    fresh = {"runs": found.runs, "detail": words(found), "last_at": now}
    connection.execute(update(incidents).where(incidents.c.id == incident.id).values(fresh))
    return replace(incident, runs=found.runs, detail=words(found), last_at=now)


def attribute(connection: Connection, incident: Incident, installation_id: str) -> None:
    """The installation that had brought what should answer is known."""
    mine = incidents.c.id == incident.id
    connection.execute(update(incidents).where(mine).values(installation_id=installation_id))


def ask_again(connection: Connection, incident: Incident, *, now: datetime) -> None:
    """What the device shall run was sent once more."""
    values = {"asked": incident.asked + 1, "asked_at": now}
    connection.execute(update(incidents).where(incidents.c.id == incident.id).values(values))


def end(connection: Connection, incident: Incident, *, now: datetime) -> None:
    """It is over; it closes by itself unless a person closed it."""
    values = {"ended_at": now, "closed_at": incident.closed_at or now}
    connection.execute(update(incidents).where(incidents.c.id == incident.id).values(values))
    if incident.closed_at is None:
        _tell(connection, EventKind.INCIDENT_CLOSED, incident, now)


def close(connection: Connection, incident_id: str, *, closed_by: str, remark: str, now: datetime) -> bool:
    """A person looked; False when it is closed already."""
    mine = (incidents.c.id == incident_id) & incidents.c.closed_at.is_(None)
    values = {"closed_at": now, "closed_by": closed_by, "remark": remark}
    if connection.execute(update(incidents).where(mine).values(values)).rowcount == 0:
        return False
    incident = get(connection, incident_id)
    assert incident is not None
    _tell(connection, EventKind.INCIDENT_CLOSED, incident, now)
    return True


def get(connection: Connection, incident_id: str) -> Incident | None:
    """The incident of this id."""
    row = connection.execute(select(incidents).where(incidents.c.id == incident_id)).one_or_none()
    return None if row is None else _incident(row)


def page(
    connection: Connection,
    *,
    is_open: bool | None = None,
    device_id: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> tuple[Incident, ...]:
    """Incidents, the latest first: all, those that are open, or those that are not."""
    query = select(incidents)
    if is_open is not None:
        query = query.where(incidents.c.closed_at.is_(None) if is_open else incidents.c.closed_at.is_not(None))
    if device_id is not None:
        query = query.where(incidents.c.device_id == device_id)
    if after is not None:
        query = query.where(tuple_(incidents.c.opened_at, incidents.c.id) < after)
    query = query.order_by(incidents.c.opened_at.desc(), incidents.c.id.desc()).limit(limit)
    return tuple(_incident(row) for row in connection.execute(query))


def _tell(connection: Connection, kind: EventKind, incident: Incident, now: datetime) -> None:
    data = {
        "device": incident.device_id,
        "deployment": incident.deployment,
        "cause": incident.cause,
        "should": incident.should,
        "runs": incident.runs,
        "detail": incident.detail,
        "closed_by": incident.closed_by,
    }
    events.append(connection, kind, incident.id, data, now)


def _incident(row: Row[tuple[object, ...]]) -> Incident:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    values["cause"] = Cause(row.cause)
    return Incident(**values)
