"""The health of what a rollout brought: reads what devices have shown and has it judged.

The engine asks after every device of a wave has ended and the bake is over, again and again until the answer is not
`Undecided` or waiting ends; it acts on the answer and asks nothing else. So far only proof of trials is looked at.
"""

from datetime import datetime

from edgeops.rollout.verdict import Health, Healthy, Undecided
from fleet_server.db.database import Connection
from fleet_server.db.rollouts import Installation, Rollout, Wave


def health_of(connection: Connection, rollout: Rollout, wave: Wave, now: datetime) -> Health:
    """Whether the devices of a wave that bakes are as well as before; `now` is the clock of this machine."""
    del connection, rollout, now  # what devices showed while baking is not gathered yet
    if wave.committed == 0:
        return Undecided("no device of the wave has committed")
    devices = "1 device" if wave.committed == 1 else f"{wave.committed} devices"
    return Healthy(f"weak evidence: {devices} answered without error in trial")


def health_of_one(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> Health:
    """The same for a device that committed alone: one that came late, or joined a rollout that is live."""
    del connection, rollout, installation, now
    return Healthy("weak evidence: it answered without error in trial")
