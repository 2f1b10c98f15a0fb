"""Reads the newest part that each deployment of a device has in a rollout."""

from sqlalchemy import Connection, func, select

from fleet_server.db.installations import Installation, get
from fleet_server.db.tables import installations


def newest_of(connection: Connection, device_id: str) -> dict[str, Installation]:
    """By deployment, what a rollout wanted of it last."""
    newest = (
        select(func.max(installations.c.id))
        .where(installations.c.device_id == device_id)
        .group_by(installations.c.deployment)
    )
    found = [get(connection, name) for name in connection.execute(newest).scalars()]
    return {one.deployment: one for one in found if one is not None}
