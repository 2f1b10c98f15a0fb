"""Devices that join the fleet while a continuous rollout goes on: those that match are added to it.

The newest one that matches gets the device. Whom a selector names is decided in `edgeops.rollout.targeting`.
"""

from datetime import datetime

from edgeops.errors import InputError
from edgeops.protocol.messages import Presence
from edgeops.rollout.rollout import RolloutState
from edgeops.rollout.targeting import Candidate, choose, parse_selector
from fleet_server.db import rollouts
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.rollouts import Rollout

_GOING = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.LIVE)


def join_live(connection: Connection, device: Device, now: datetime) -> None:
    """Add a device that told its state to the continuous rollouts that concern it."""
    if device.quarantined or device.reported is None:
        return
    going = [one for one in rollouts.in_states(connection, _GOING) if one.continuous]
    served: set[str] = set()
    for rollout in reversed(going):
        if rollout.deployment in served or not matches(rollout, device):
            continue
        served.add(rollout.deployment)
        if rollouts.newest_of(connection, device.id, rollout.deployment) < rollout.id:
            last = rollouts.wave_count(connection, rollout.id) - 1
            rollouts.join(connection, rollout, device.id, wave=last, now=now)


def matches(rollout: Rollout, device: Device) -> bool:
    """Whether the rollout's selector names the device."""
    try:
        return bool(choose(parse_selector(rollout.selector), rollout.deployment, [candidate(device)]))
    except InputError:
        return False


def candidate(device: Device) -> Candidate:
    """A device as far as choosing needs it."""
    deployments = device.reported.deployments if device.reported else ()
    return Candidate(
        id=device.id,
        name=device.name,
        online=device.presence is Presence.ONLINE,
        labels=device.labels,
        deployments=frozenset(one.deployment for one in deployments),
    )
