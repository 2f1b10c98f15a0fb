"""The store of aliases: which version of a model is champion, and which has passed its promotion gate and waits.

Append-only: the newest row of a model and alias counts, and who gave it when and why stays readable. Who may
give one is decided by the API, when one is given by the engine and the training job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, select

from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.tables import aliases


class Alias(StrEnum):
    """A name that moves from version to version."""

    #: The version that was rolled out to the end last: what newer ones are compared with.
    CHAMPION = "champion"
    #: The newest version that passed its promotion gate and is not rolled out yet.
    CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One row of the history."""

    id: int
    at: datetime
    model: str
    alias: Alias
    #: None = nobody holds it from then on.
    version: int | None
    #: The name of a token, a job or a rollout.
    actor: str
    reason: str


def assign(
    connection: Connection,
    model: str,
    alias: Alias,
    version: int | None,
    now: datetime,
    *,
    actor: str,
    reason: str = "",
) -> bool:
    """Give an alias to a version, or to none; False when it holds it already, and nothing changes.

    Who becomes champion is challenger no longer.
    """
    held = newest(connection, model, alias)
    before = None if held is None else held.version
    if version == before:
        return False
    connection.execute(
        aliases.insert().values(at=now, model=model, alias=alias, version=version, actor=actor, reason=reason)
    )
    data = {"alias": alias, "version": version, "before": before, "actor": actor}
    events.append(connection, EventKind.ALIAS_CHANGED, model, data, now)
    challenger = newest(connection, model, Alias.CHALLENGER) if alias is Alias.CHAMPION else None
    if challenger is not None and challenger.version == version is not None:
        assign(connection, model, Alias.CHALLENGER, None, now, actor=actor, reason="it is champion now")
    return True


def newest(connection: Connection, model: str, alias: Alias) -> Assignment | None:
    """The assignment that counts; None = there never was one."""
    own = (aliases.c.model == model) & (aliases.c.alias == alias)
    row = connection.execute(select(aliases).where(own).order_by(aliases.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _assignment(row)


def holders(connection: Connection, models: Sequence[str]) -> dict[str, dict[Alias, int]]:
    """By model and alias the version that holds it; absent where nobody does."""
    last = select(func.max(aliases.c.id)).where(aliases.c.model.in_(models)).group_by(aliases.c.model, aliases.c.alias)
    found: dict[str, dict[Alias, int]] = {}
    for row in connection.execute(select(aliases).where(aliases.c.id.in_(last))):
        if row.version is not None:
            found.setdefault(row.model, {})[Alias(row.alias)] = row.version
    return found


def page(connection: Connection, model: str, after: int | None, limit: int) -> list[Assignment]:
    """The history of a model's aliases, newest first; `after` is the id of the last of the page before."""
    query = select(aliases).where(aliases.c.model == model).order_by(aliases.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(aliases.c.id < after)
    return [_assignment(row) for row in connection.execute(query)]


def _assignment(row: Row[Any]) -> Assignment:
    return Assignment(
        id=row.id,
        at=row.at,
        model=row.model,
        alias=Alias(row.alias),
        version=row.version,
        actor=row.actor,
        reason=row.reason,
    )
