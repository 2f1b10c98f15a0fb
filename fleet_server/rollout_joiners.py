"""Devices that join the fleet while a continuous rollout goes on: those that match and may be asked are added to it.

So is one that left it because the model did not fit, once it fits. The newest one that means a device gets it. Whom a
selector means is decided in `edgeops.rollout.selector`.
"""

from datetime import datetime

from edgeops.errors import InputError
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from edgeops.rollout.selector import matches, parse_selector, resolve
from edgeops.rollout.targeting import Offer, Placement, place
from fleet_server.blessings import ask_joiner, unblessed
from fleet_server.db import groups, models, parts, pins, rollouts
from fleet_server.db.candidates import candidate_of
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout

_GOING = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.LIVE)


def join_live(connection: Connection, device: Device, now: datetime) -> None:
    """Add a device that told its state to the continuous rollouts that concern it."""
    going = [one for one in rollouts.in_states(connection, _GOING) if one.continuous]
    if not going:
        return
    newest = parts.newest_of(connection, device.id)
    served: set[str] = set()
    for rollout in sorted(going, key=lambda one: one.age, reverse=True):
        part = newest.get(rollout.deployment)
        if rollout.deployment in served or (part is not None and _belongs(connection, rollout, part)):
            continue
        placed = placement(connection, rollout, device, now)
        if placed is not None and placed.is_in and not _lacks_blessing(connection, rollout, device, now):
            served.add(rollout.deployment)
            last = rollouts.wave_count(connection, rollout.id) - 1
            rollouts.join(connection, rollout, device.id, wave=last, now=now)


def _lacks_blessing(connection: Connection, rollout: Rollout, device: Device, now: datetime) -> bool:
    """Whether no device of its class has blessed the model; the server has this one try it where it is to ask."""
    if not unblessed(connection, rollout, [device.id]):
        return False
    ask_joiner(connection, rollout, device.id, now)
    return True


def _belongs(connection: Connection, rollout: Rollout, part: Installation) -> bool:
    """Whether a device with this newest part is in the rollout and did not leave it unasked, or is in a newer one."""
    if part.rollout_id == rollout.id:
        return part.state is not InstallationState.SUPERSEDED or part.offered_at is not None
    other = rollouts.get(connection, part.rollout_id)
    assert other is not None
    return other.age > rollout.age


def placement(connection: Connection, rollout: Rollout, device: Device, now: datetime) -> Placement | None:
    """How a device that a rollout has no part for stands to it now; None = its selector does not mean the device."""
    one = candidate_of(device, pins=pins.of(connection, device.id))
    try:
        selector = resolve(parse_selector(rollout.selector), groups.selectors(connection))
    except InputError:
        return None  # a group that it names is gone
    artifact = models.artifact_by_digest(connection, rollout.digest)
    assert artifact is not None, "a rollout's artifact stays known"
    offer = Offer(rollout.deployment, rollout.digest, artifact.describe())
    return place(one, offer, now) if matches(selector, one) else None
