"""What judgements of drift said: one row per spell, which begins when a judgement says something new.

A row holds the spell's latest judgement. What begins a spell is decided by `edgeops.drift.spells`; the beginning is
told in `events` by the transaction that writes it. Rows of a model file that runs nowhere any more stay as they are:
nobody judges it, so `last_at` stands still.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, select, tuple_, update

from edgeops import limits
from edgeops.drift import finding as judged
from edgeops.drift.spells import Spell, Step, next_step
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import findings

#: `device_id` of a finding about the whole group.
FLEET = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is judged: one model file in one deployment, over all devices that run it."""

    model: str
    version: int
    digest: str
    deployment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One spell."""

    id: str
    stream: Stream
    #: FLEET, or the one device that differs from its siblings.
    device_id: str
    #: The latest judgement of the spell.
    judgement: judged.Finding
    first_at: datetime
    last_at: datetime
    #: When the newest window closed that the latest judgement rests on.
    seen_until: datetime

    @property
    def spell(self) -> Spell:
        """What tells it from the next one."""
        return Spell.of(self.judgement, first_at=self.first_at, last_at=self.last_at)

    @property
    def key(self) -> tuple[datetime, str]:
        """Its place in a page."""
        return self.first_at, self.id


def record(
    connection: Connection,
    stream: Stream,
    device_id: str,
    judgement: judged.Finding,
    now: datetime,
    *,
    seen_until: datetime,
) -> Finding | None:
    """Take in a judgement: begin a spell, refresh the one that runs, or leave it; the finding if it began.

    `seen_until` is when the newest window closed that it rests on.
    """
    running = newest(connection, stream, device_id)
    spell = None if running is None else running.spell
    match next_step(spell, judgement, is_local=device_id != FLEET, now=now):
        case Step.BEGIN:
            # The newest spell is the one that runs, also when the clock was set back.
            first_at = now if running is None else max(now, running.first_at + timedelta(microseconds=1))
            return _begin(connection, stream, device_id, judgement, first_at, seen_until=seen_until)
        case Step.REFRESH:
            assert running is not None, "only a spell that runs is refreshed"
            fresh = {**_columns(judgement), "last_at": now, "seen_until": seen_until}
            connection.execute(update(findings).where(findings.c.id == running.id).values(fresh))
        case Step.LEAVE:
            pass
    return None


def newest(connection: Connection, stream: Stream, device_id: str = FLEET) -> Finding | None:
    """The spell that runs: of the fleet, or of one device."""
    own = _own(stream) & (findings.c.device_id == device_id)
    newest_first = (findings.c.first_at.desc(), findings.c.id.desc())
    row = connection.execute(select(findings).where(own).order_by(*newest_first).limit(1)).one_or_none()
    return None if row is None else _finding(row)


def newest_of_all(connection: Connection, stream: Stream) -> list[Finding]:
    """The spells that run: the fleet's first, then those of single devices, by device."""
    place = func.row_number().over(
        partition_by=findings.c.device_id, order_by=(findings.c.first_at.desc(), findings.c.id.desc())
    )
    ranked = select(findings.c.id, place.label("place")).where(_own(stream)).subquery()
    ids = select(ranked.c.id).where(ranked.c.place == 1)
    query = select(findings).where(findings.c.id.in_(ids)).order_by(findings.c.device_id)
    return [_finding(row) for row in connection.execute(query)]


def judged_streams(connection: Connection, model: str, version: int) -> list[Stream]:
    """Where a version was ever judged."""
    columns = (findings.c.model, findings.c.version, findings.c.digest, findings.c.deployment)
    query = select(*columns).where(findings.c.model == model, findings.c.version == version).distinct()
    return [Stream(*row) for row in connection.execute(query.order_by(findings.c.deployment, findings.c.digest))]


def page(
    connection: Connection,
    model: str,
    *,
    version: int | None = None,
    deployment: str | None = None,
    device_id: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Finding]:
    """Findings of a model, the latest spell first, those before the key `after`."""
    order = (findings.c.first_at, findings.c.id)
    query = select(findings).where(findings.c.model == model)
    for column, wanted in (
        (findings.c.version, version),
        (findings.c.deployment, deployment),
        (findings.c.device_id, device_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        query = query.where(tuple_(*order) < after)
    newest_first = query.order_by(*(column.desc() for column in order)).limit(limit)
    return [_finding(row) for row in connection.execute(newest_first)]


def _begin(
    connection: Connection,
    stream: Stream,
    device_id: str,
    judgement: judged.Finding,
    now: datetime,
    *,
    seen_until: datetime,
) -> Finding:
    began = Finding(
        id=new_id("finding", now),
        stream=stream,
        device_id=device_id,
        judgement=judgement,
        first_at=now,
        last_at=now,
        seen_until=seen_until,
    )
    place = {
        "model": stream.model,
        "version": stream.version,
        "digest": stream.digest,
        "deployment": stream.deployment,
        "device_id": device_id,
    }
    moments = {"first_at": now, "last_at": now, "seen_until": seen_until}
    values = {**place, **_columns(judgement), **moments, "id": began.id}
    connection.execute(findings.insert().values(values))
    _prune(connection, stream, device_id)
    data = {"finding": began.id, **place, "verdict": judgement.verdict, "kinds": list(judgement.kinds)}
    events.append(connection, EventKind.DRIFT_JUDGED, began.id, data, now)
    return began


def _prune(connection: Connection, stream: Stream, device_id: str) -> None:
    """Drop the oldest beyond FINDINGS_KEPT, so that a device that makes its verdict flap fills no disk."""
    own = _own(stream) & (findings.c.device_id == device_id)
    newest_first = select(findings.c.id).where(own).order_by(findings.c.first_at.desc(), findings.c.id.desc())
    beyond = connection.execute(newest_first.offset(limits.FINDINGS_KEPT).limit(limits.RETENTION_BATCH)).scalars()
    ids = list(beyond)
    if ids:
        connection.execute(delete(findings).where(findings.c.id.in_(ids)))


def _own(stream: Stream) -> ColumnElement[bool]:
    return (findings.c.digest == stream.digest) & (findings.c.deployment == stream.deployment)


def _columns(judgement: judged.Finding) -> dict[str, Any]:
    """What a judgement fills; columns repeat of the evidence what SQL selects by."""
    return {
        "verdict": judgement.verdict,
        "kinds": list(judgement.kinds),
        "class_mix_only": judgement.class_mix_only,
        "reason": judgement.reason,
        "evidence": msgspec.to_builtins(judgement),
        "windows": judgement.windows,
        "rows": judgement.rows,
    }


def _finding(row: Row[Any]) -> Finding:
    return Finding(
        id=row.id,
        stream=Stream(row.model, row.version, row.digest, row.deployment),
        device_id=row.device_id,
        judgement=msgspec.convert(row.evidence, judged.Finding),
        first_at=row.first_at,
        last_at=row.last_at,
        seen_until=row.seen_until,
    )
