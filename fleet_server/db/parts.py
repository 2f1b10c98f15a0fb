"""Reads which of its rollouts a device belongs to: the newest one, which is the one that began last.

One that never began, a draft say, takes nobody from another.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, Select, select

from edgeops.rollout.installation import OPEN, InstallationState
from edgeops.rollout.rollout import UNBEGUN
from fleet_server.db.installations import PROVEN, Installation, get
from fleet_server.db.many import portions
from fleet_server.db.rollouts import Rollout, by_age, is_newer
from fleet_server.db.tables import installations, rollouts


def newest_of(connection: Connection, device_id: str) -> dict[str, Installation]:
    """By deployment, its part in the rollout that began last."""
    return _newest(connection, device_id, rollouts.c.began_at.is_not(None))


def planned_for(connection: Connection, device_id: str) -> dict[str, Installation]:
    """By deployment, its part in the newest rollout that is still to begin."""
    return _newest(connection, device_id, rollouts.c.state.in_(list(UNBEGUN)))


def held(connection: Connection, deployment: str, device_ids: Sequence[str]) -> dict[str, str]:
    """By device, the digest of the model that it kept of the newest of its rollouts of which it kept one."""
    found: dict[str, str] = {}
    for ids in portions(device_ids):
        query = _of_devices(deployment, ids, PROVEN).order_by(*by_age(), installations.c.id)
        found |= {row.device_id: row.digest for row in connection.execute(query)}
    return found


def moved_on(connection: Connection, rollout: Rollout, device_ids: Sequence[str]) -> frozenset[str]:
    """Those of the devices that a newer rollout, with another model, waits for or brought it to."""
    found: set[str] = set()
    for ids in portions(device_ids):
        states = {InstallationState.PENDING, *OPEN, *PROVEN}
        query = _of_devices(rollout.deployment, ids, states).where(
            installations.c.digest != rollout.digest, rollouts.c.began_at.is_not(None), is_newer(rollout)
        )
        found |= {row.device_id for row in connection.execute(query)}
    return frozenset(found)


def _newest(connection: Connection, device_id: str, which: ColumnElement[bool]) -> dict[str, Installation]:
    query = (
        select(installations.c.deployment, installations.c.id)
        .join(rollouts, rollouts.c.id == installations.c.rollout_id)
        .where(installations.c.device_id == device_id, which)
        .order_by(*by_age(), installations.c.id)
    )
    newest = {row.deployment: row.id for row in connection.execute(query)}
    found = [get(connection, name) for name in newest.values()]
    return {one.deployment: one for one in found if one is not None}


def _of_devices(
    deployment: str, device_ids: Sequence[str], states: Collection[InstallationState]
) -> Select[tuple[str, str]]:
    return (
        select(installations.c.device_id, installations.c.digest)
        .join(rollouts, rollouts.c.id == installations.c.rollout_id)
        .where(
            installations.c.device_id.in_(device_ids),
            installations.c.deployment == deployment,
            installations.c.state.in_(list(states)),
        )
    )
