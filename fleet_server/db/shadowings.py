"""The store of who is told to shadow or to close windows early: rows of `desired`, and what they belong to.

Whether one is still needed is not decided here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, select

from edgeops.protocol.messages import DesiredDeployment
from edgeops.rollout.installation import InstallationState
from fleet_server.db.devices import desired_deployment
from fleet_server.db.tables import desired, devices, installations, rollouts, waves


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """A deployment that is told to show itself."""

    device_id: str
    wanted: DesiredDeployment
    told_at: datetime
    #: Of the installation that brought what it runs: where it stands; None = no rollout did.
    state: str | None
    rollout_state: str | None
    #: Its wave has not been judged.
    wave_is_open: bool
    #: It came late and is judged by itself.
    is_judged_alone: bool


def told(connection: Connection) -> tuple[Shadowed, ...]:
    """Every deployment that is told to."""
    wave = and_(waves.c.rollout_id == installations.c.rollout_id, waves.c.position == installations.c.wave)
    query = (
        select(
            desired,
            installations.c.state,
            installations.c.deadline_at,
            rollouts.c.state.label("rollout_state"),
            waves.c.finished_at.label("judged_at"),
            waves.c.position,
        )
        .outerjoin(installations, installations.c.id == desired.c.installation_id)
        .outerjoin(rollouts, rollouts.c.id == installations.c.rollout_id)
        .outerjoin(waves, wave)
        .where(desired.c.shadowing.is_not(None))
        .order_by(desired.c.device_id, desired.c.deployment)
    )
    return tuple(_shadowed(row) for row in connection.execute(query))


def held_back(
    connection: Connection, rollout_id: str, positions: Collection[int]
) -> dict[tuple[str, str], DesiredDeployment]:
    """By (device, deployment) what those devices of some waves shall run that were not asked, and run something."""
    own = and_(desired.c.device_id == installations.c.device_id, desired.c.deployment == installations.c.deployment)
    query = (
        select(desired)
        .join(installations, own)
        .join(devices, devices.c.id == desired.c.device_id)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.wave.in_(positions),
            installations.c.state == InstallationState.PENDING,
            desired.c.digest.is_not(None),
            devices.c.removed_at.is_(None),
        )
        .order_by(desired.c.device_id)
    )
    return {(row.device_id, row.deployment): desired_deployment(row) for row in connection.execute(query)}


def _shadowed(row: Row[Any]) -> Shadowed:
    return Shadowed(
        device_id=row.device_id,
        wanted=desired_deployment(row),
        told_at=row.updated_at,
        state=row.state,
        rollout_state=row.rollout_state,
        wave_is_open=row.position is not None and row.judged_at is None,
        is_judged_alone=row.deadline_at is not None,
    )
