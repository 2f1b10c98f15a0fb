"""Which devices that are about to be asked may not run the model any more, by what they reported last.

A rollout is planned with those that it fits, and begins when their classes have blessed the model; until their turn
comes, days may pass. What fits is decided in `edgeops.artifact.compatibility`.
"""

from collections.abc import Sequence

from edgeops.artifact.compatibility import incompatibilities
from fleet_server.blessings import unblessed
from fleet_server.db import devices, models
from fleet_server.db.database import Connection
from fleet_server.db.rollouts import Rollout


def misfits(connection: Connection, rollout: Rollout, device_ids: Sequence[str]) -> dict[str, str]:
    """Those of the devices that the rollout's model does not fit, or is not blessed for, and why, for people."""
    if not device_ids:
        return {}
    artifact = models.artifact_by_digest(connection, rollout.digest)
    assert artifact is not None, "a rollout's artifact stays known"
    descriptor = artifact.describe()
    found = {
        device.id: "; ".join(incompatibilities(descriptor, device.reported.facts, deployment=rollout.deployment))
        for device in devices.some(connection, device_ids)
        if device.reported is not None
    }
    return unblessed(connection, rollout, device_ids) | {device_id: why for device_id, why in found.items() if why}
