"""Reads what choosing devices for a rollout needs of the whole fleet, in a few queries however large it is."""

from sqlalchemy import Connection, select

from edgeops.protocol.messages import Presence
from edgeops.rollout import installation as machine
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.pins import Pin
from fleet_server.db import devices, pins
from fleet_server.db.devices import Device
from fleet_server.db.rollouts import by_age
from fleet_server.db.tables import desired, installations, rollouts

_PAGE = 1_000


def of_fleet(connection: Connection, deployment: str) -> tuple[Candidate, ...]:
    """Every device that was not removed, as far as `deployment` of it is concerned, by id."""
    pinned = pins.every(connection)
    taken = _taken(connection, deployment)
    wanted = _wanted(connection, deployment)
    found: list[Candidate] = []
    after: str | None = None
    while page := devices.page(connection, after=after, limit=_PAGE):
        after = page[-1].id
        found += [
            candidate_of(one, pins=pinned.get(one.id, ()), taken_by=taken.get(one.id), desired=wanted.get(one.id))
            for one in page
        ]
    return tuple(found)


def candidate_of(
    device: Device, *, pins: tuple[Pin, ...] = (), taken_by: str | None = None, desired: str | None = None
) -> Candidate:
    """One device as a candidate."""
    reported = device.reported
    return Candidate(
        id=device.id,
        name=device.name,
        online=device.presence is Presence.ONLINE,
        labels=device.labels,
        deployments={} if reported is None else {one.deployment: one.active for one in reported.deployments},
        facts=None if reported is None else reported.facts,
        agent_version=device.agent_version,
        quarantined=device.quarantined,
        pins=pins,
        taken_by=taken_by,
        desired=desired,
    )


def _taken(connection: Connection, deployment: str) -> dict[str, str]:
    """The newest rollout that has begun and is not done with each device."""
    query = (
        select(installations.c.device_id, installations.c.rollout_id)
        .join(rollouts, rollouts.c.id == installations.c.rollout_id)
        .where(
            rollouts.c.began_at.is_not(None),
            installations.c.deployment == deployment,
            installations.c.state.in_([InstallationState.PENDING, *machine.OPEN]),
        )
        .order_by(*by_age(), installations.c.id)
    )
    return {device_id: rollout_id for device_id, rollout_id in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy


def _wanted(connection: Connection, deployment: str) -> dict[str, str | None]:
    query = select(desired.c.device_id, desired.c.digest).where(desired.c.deployment == deployment)
    return {device_id: digest for device_id, digest in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy
