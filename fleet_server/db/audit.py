"""The audit trail: decisions of people and policies, append-only, each entry chained to the one before.

How the chain holds, and who sees a cut-off tail, is in `edgeops.trust.trail`. Device transitions are ordinary events
and not here.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from edgeops.trust.trail import GENESIS, Anchor, Broken, Contradicted, Entry, Intact, check_trail, hash_of
from fleet_server.db.tables import audit

__all__ = ["GENESIS", "Broken", "Contradicted", "Entry", "Intact"]

#: Who decides where no person does.
POLICY = "policy"
#: Who decided what was done on the machine itself.
OWNER = "edgeops-server"
#: Somebody with a key beside the server: what the repository lists was signed there, or a delegation in it ended.
REPOSITORY = "repository"
#: Whoever made the model that the server comes with.
STARTER = "edgeops"
#: None of them is a person, so no token is called so.
RESERVED = frozenset({POLICY, OWNER, REPOSITORY, STARTER})


def append(  # noqa: PLR0917 - in the order of a sentence: who did what to what, and when
    connection: Connection,
    actor: str,
    action: str,
    subject: str,
    data: dict[str, Any],
    now: datetime,
    *,
    remark: str = "",
) -> None:
    """Write down who decided what, in the transaction that carries it out."""
    previous = head(connection)
    connection.execute(
        audit.insert().values(
            at=now,
            actor=actor,
            action=action,
            subject=subject,
            remark=remark,
            data=data,
            previous_hash=previous,
            hash=hash_of(previous, now, actor, action, subject, remark, data),
        )
    )


def head(connection: Connection) -> str:
    """The hash of the newest entry."""
    return connection.execute(select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar() or GENESIS


def page(connection: Connection, *, after: int | None = None, limit: int) -> tuple[Entry, ...]:
    """Entries, newest first; `after` is the last id of the page before."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(audit.c.id < after)
    return tuple(Entry(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


def following(connection: Connection, after: int, *, limit: int) -> tuple[Entry, ...]:
    """The next entries behind the id `after`, oldest first."""
    query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
    return tuple(Entry(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


def about(connection: Connection, action: str, subject: str) -> tuple[Entry, ...]:
    """Entries of one action on one subject, newest first."""
    query = select(audit).where(audit.c.action == action, audit.c.subject == subject).order_by(audit.c.id.desc())
    return tuple(Entry(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


def oldest_first(connection: Connection, *, skip: int = 0) -> Iterator[Entry]:
    """The whole trail but the first `skip`, one entry at a time."""
    for row in connection.execute(select(audit).order_by(audit.c.id).offset(skip)):
        yield Entry(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def anchor(connection: Connection) -> Anchor:
    """Where the trail stands now."""
    return Anchor(entries=_count(connection), head=head(connection))


def verify_end(connection: Connection, anchored: Anchor | None) -> Intact | Broken | Contradicted:
    """Whether the entry that was signed is in its place and leads to the head; what is before is not looked at."""
    before = 0 if anchored is None else max(0, min(anchored.entries - 1, _count(connection)))
    return check_trail(oldest_first(connection, skip=before), anchored, before=before)


def verify(connection: Connection, anchored: Anchor | None = None) -> Intact | Broken | Contradicted:
    """Recompute the whole chain, and hold it against what was signed of it."""
    return check_trail(oldest_first(connection), anchored)


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(audit)).scalar_one()
