"""Reads the newest part that each deployment of a device has in a rollout, and how crowded that rollout is."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from edgeops.rollout.installation import InstallationState
from fleet_server.db import rollouts
from fleet_server.db.rollouts import Installation
from fleet_server.db.tables import installations


def newest_of(connection: Connection, device_id: str) -> dict[str, Installation]:
    """By deployment, what a rollout wanted of it last."""
    newest = (
        select(func.max(installations.c.id))
        .where(installations.c.device_id == device_id)
        .group_by(installations.c.deployment)
    )
    found = [rollouts.get_installation(connection, name) for name in connection.execute(newest).scalars()]
    return {one.deployment: one for one in found if one is not None}


def in_flight(connection: Connection, rollout_id: str) -> int:
    """Devices that were asked and are at it."""
    at_it = installations.c.state.in_([InstallationState.OFFERED, InstallationState.INSTALLING])
    query = select(func.count()).select_from(installations).where(installations.c.rollout_id == rollout_id, at_it)
    return connection.execute(query).scalar_one()


def asked_since(connection: Connection, rollout_id: str, moment: datetime) -> int:
    """Devices that were asked after a moment."""
    query = (
        select(func.count())
        .select_from(installations)
        .where(installations.c.rollout_id == rollout_id, installations.c.offered_at > moment)
    )
    return connection.execute(query).scalar_one()
