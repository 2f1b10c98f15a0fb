"""Aliases of a model's versions: who is champion, who is challenger, and how that came."""

from fastapi import APIRouter

from edgeops.api.shapes import Alias, AliasChange, AliasRequest, Page, shape_of
from edgeops.errors import NotFoundError
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import aliases, audit, models

router = APIRouter(prefix="/models/{name}/aliases", tags=["models"], route_class=Act)


@router.get("", dependencies=[VIEWER])
def list_aliases(server: ServerOf, paging: PagingOf, name: str) -> Page[AliasChange]:
    """How the aliases of a model went from version to version, newest first."""
    with server.database.read() as connection:
        if models.get(connection, name) is None:
            raise _unknown(name)
        rows = aliases.page(connection, name, paging.after(int), paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(AliasChange, row))


@router.put("/{alias}")
def set_alias(server: ServerOf, caller: Operator, name: str, alias: Alias, wanted: AliasRequest) -> AliasChange:
    """Give an alias to a version, or to none; harmless to repeat. It sends nothing to any device: a rollout does."""
    now = server.now()
    with server.database.write() as connection:
        if models.get(connection, name) is None:
            raise _unknown(name)
        if wanted.version is not None and models.get_version(connection, name, wanted.version) is None:
            raise NotFoundError(
                f"no version {wanted.version} of a model {name[:80]!r}; list them with: edgeops model show {name}"
            )
        kind = aliases.Alias(alias)
        is_new = aliases.assign(
            connection, name, kind, wanted.version, now, actor=caller.name, reason=wanted.remark or "by hand"
        )
        if is_new:
            data = {"alias": kind, "version": wanted.version}
            audit.append(connection, caller.name, "alias.changed", name, data, now, remark=wanted.remark)
        newest = aliases.newest(connection, name, kind)
    if newest is None:
        raise NotFoundError(f"no version of {name[:80]!r} ever was {alias}; name one")
    return shape_of(AliasChange, newest)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
