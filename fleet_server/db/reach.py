"""Whether the device of an installation can be asked: kept with it, so that finding some costs as much as it finds.

What a device is lies in `devices`; the transaction that changes it there calls `follow`. Only installations that may
still be asked, or whose silence counts, are kept up.
"""

from collections.abc import Collection
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, case, select, update

from edgeops.protocol.messages import Presence
from edgeops.rollout import installation as machine
from edgeops.rollout.installation import InstallationState
from fleet_server.db.many import portions
from fleet_server.db.tables import devices, installations


class Reach(StrEnum):
    """What may be hoped of the device of an installation now."""

    #: It is online and believed.
    READY = "ready"
    #: It is in the fleet and offline.
    AWAY = "away"
    #: It was removed, or is online and not believed.
    OUT = "out"


#: Later states ask nothing more of the device.
FOLLOWED = (InstallationState.PENDING, *machine.OPEN, InstallationState.COMMITTED)


def follow(connection: Connection, device_ids: Collection[str]) -> None:
    """These devices have changed, or their installations are new."""
    for ids in portions(device_ids):
        _follow(connection, installations.c.device_id.in_(ids))


def follow_rollout(connection: Connection, rollout_id: str) -> None:
    """All installations of a rollout are new."""
    _follow(connection, installations.c.rollout_id == rollout_id)


def follow_all(connection: Connection) -> None:
    """Every device has changed."""
    _follow(connection, installations.c.device_id.is_not(None))


def _follow(connection: Connection, whose: ColumnElement[bool]) -> None:
    here = devices.c.removed_at.is_(None)
    online = devices.c.presence == Presence.ONLINE
    reach = case(
        (and_(here, online, devices.c.quarantined.is_(False)), Reach.READY), (and_(here, ~online), Reach.AWAY),
        else_=Reach.OUT,
    )  # fmt: skip
    of_device = select(reach).where(devices.c.id == installations.c.device_id).scalar_subquery()
    followed = whose & installations.c.state.in_(FOLLOWED)
    connection.execute(update(installations).where(followed).values(reach=of_device))
