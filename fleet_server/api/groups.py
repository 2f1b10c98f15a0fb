"""Groups: devices under a name, by a selector or as a list."""

from collections.abc import Callable

from fastapi import APIRouter, Response

from edgeops.api.shapes import Group, GroupRequest, Page
from fleet_server import targets
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.editions import EditionsOf
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import groups
from fleet_server.db.database import Connection

router = APIRouter(prefix="/groups", tags=["devices"])


@router.get("", dependencies=[VIEWER])
def list_groups(server: ServerOf, paging: PagingOf) -> Page[Group]:
    """All groups, by name."""
    with server.database.read() as connection:
        rows = groups.page(connection, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.name, shape=_group)


@router.get("/{name}", dependencies=[VIEWER])
def read_group(server: ServerOf, editions: EditionsOf, name: str) -> Group:
    """One group with the devices that are in it now."""
    with server.database.read() as connection:
        group = targets.known_group(connection, name)
        members = targets.members(connection, group)
    editions.show(group.revision)
    return _group(group).model_copy(update={"members": members})


@router.put("/{name}")
def write_group(server: ServerOf, caller: Operator, editions: EditionsOf, name: str, wanted: GroupRequest) -> Group:
    """Make a group, or make one of this name another; harmless to repeat."""
    unchanged = editions.unchanged(server.database, _revision_of(name), puts=True)
    with unchanged, server.database.write() as connection:
        group = targets.set_group(
            connection,
            name,
            selector=wanted.selector,
            device_ids=wanted.device_ids or (),
            set_by=caller.name,
            now=server.now(),
        )
    editions.show(group.revision)
    return _group(group)


@router.delete("/{name}", status_code=204)
def remove_group(server: ServerOf, caller: Operator, editions: EditionsOf, name: str) -> Response:
    """Take a group away that no open rollout or retraining names, and no retraining policy."""
    with editions.unchanged(server.database, _revision_of(name)), server.database.write() as connection:
        targets.remove_group(connection, name, removed_by=caller.name, now=server.now())
    return Response(status_code=204)


def _revision_of(name: str) -> Callable[[Connection], int | None]:
    def revision(connection: Connection) -> int | None:
        group = groups.get(connection, name)
        return None if group is None else group.revision

    return revision


def _group(group: groups.Group) -> Group:
    return Group(
        name=group.name,
        selector=group.selector or None,
        device_ids=group.device_ids,
        revision=group.revision,
        updated_by=group.updated_by,
        updated_at=group.updated_at,
    )
