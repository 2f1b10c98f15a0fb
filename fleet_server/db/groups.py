"""The store of groups: devices under a name, by a selector or as a list. It does not judge what a selector says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from edgeops.rollout.conditions import Condition, Operator
from edgeops.rollout.selector import Selector, parse_selector
from fleet_server.db.tables import device_groups
from fleet_server.db.upsert import insert


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Devices under a name."""

    name: str
    #: Empty = the devices that are listed.
    selector: str
    device_ids: tuple[str, ...]
    revision: int = 0
    updated_by: str
    updated_at: datetime

    def means(self) -> Selector:
        """Who is in it."""
        return meant(self.selector, self.device_ids)


def meant(selector: str, device_ids: tuple[str, ...]) -> Selector:
    """Who is in a group of these.

    Raises:
        InputError: it is not a selector.
    """
    return parse_selector(selector) if selector else Condition("id", Operator.EQUAL, device_ids)


def get(connection: Connection, name: str) -> Group | None:
    """The group of this name, or None."""
    row = connection.execute(select(device_groups).where(device_groups.c.name == name)).one_or_none()
    return None if row is None else _group(row)


def page(connection: Connection, *, after: str | None = None, limit: int) -> tuple[Group, ...]:
    """Groups by name, those after `after`."""
    query = select(device_groups).where(device_groups.c.name > (after or "")).order_by(device_groups.c.name)
    return tuple(_group(row) for row in connection.execute(query.limit(limit)))


def selectors(connection: Connection) -> dict[str, Selector]:
    """What each group means."""
    return {row.name: _group(row).means() for row in connection.execute(select(device_groups))}


def count(connection: Connection) -> int:
    """How many groups there are."""
    return connection.execute(select(func.count()).select_from(device_groups)).scalar_one()


def put(connection: Connection, group: Group) -> Group:
    """Add a group, or replace the one of this name; its revision goes up."""
    before = get(connection, group.name)
    kept = replace(group, revision=1 if before is None else before.revision + 1)
    values = {field: getattr(kept, field) for field in kept.__slots__}
    statement = insert(connection, device_groups).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
    return kept


def remove(connection: Connection, name: str) -> bool:
    """Take a group away; False when there is none."""
    return connection.execute(delete(device_groups).where(device_groups.c.name == name)).rowcount > 0


def names(connection: Connection, *, limit: int) -> Sequence[str]:
    """The first names, for errors."""
    return [one.name for one in page(connection, limit=limit)]


def _group(row: object) -> Group:
    values = dict(row._mapping)  # type: ignore[attr-defined]  # noqa: SLF001 - SQLAlchemy's public name
    return Group(**(values | {"device_ids": tuple(values["device_ids"])}))
