"""Which spells of drift stand now, without their evidence: what may fire a retraining is asked for all the time."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select

from edgeops.drift.finding import Kind, Verdict
from fleet_server.db.findings import Stream
from fleet_server.db.tables import findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifting:
    """A stream whose newest judgement says DRIFT."""

    finding: str
    stream: Stream
    #: The one device that differs from its siblings; empty = the fleet.
    device_id: str
    kinds: frozenset[Kind]
    #: Answers come in another mix, and that alone explains what moved.
    class_mix_only: bool
    #: In words: what, how sure, what to do.
    reason: str
    last_at: datetime
    #: When the newest window closed with which it was still found stable; None = it never was.
    stable_until: datetime | None


def standing(connection: Connection, *, model: str | None = None) -> tuple[Drifting, ...]:
    """What drifts now by the newest finding of each stream, the fleet's before single devices', oldest first."""
    newer = findings.alias("newer")
    own = (
        (newer.c.digest == findings.c.digest)
        & (newer.c.deployment == findings.c.deployment)
        & (newer.c.device_id == findings.c.device_id)
    )
    later = or_(
        newer.c.first_at > findings.c.first_at,
        and_(newer.c.first_at == findings.c.first_at, newer.c.id > findings.c.id),
    )
    was_stable = own & (newer.c.verdict == Verdict.STABLE)
    stable_until = select(func.max(newer.c.seen_until)).where(was_stable).scalar_subquery().label("stable_until")
    shown = (column for column in findings.c if column is not findings.c.evidence)
    query = select(*shown, stable_until).where(
        findings.c.verdict == Verdict.DRIFT, ~select(newer.c.id).where(own & later).exists()
    )
    if model is not None:
        query = query.where(findings.c.model == model)
    rows = connection.execute(query.order_by(findings.c.device_id, findings.c.id))
    return tuple(
        Drifting(
            finding=row.id,
            stream=Stream(row.model, row.version, row.digest, row.deployment),
            device_id=row.device_id,
            kinds=frozenset(Kind(kind) for kind in row.kinds),
            class_mix_only=row.class_mix_only,
            reason=row.reason,
            last_at=row.last_at,
            stable_until=row.stable_until,
        )
        for row in rows
    )
