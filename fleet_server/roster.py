"""Who belongs to the fleet: people take a device out of it, or believe one again that was in quarantine.

How a device gets in is `fleet_server.enrolment`. What it said and ran stays: history is never rewritten.
"""

from datetime import datetime

from edgeops.errors import ConflictError, NotFoundError
from fleet_server import reconciliation
from fleet_server.accounts import publish_accounts
from fleet_server.config import ServerConfig
from fleet_server.db import audit, devices
from fleet_server.db.database import Connection, Database
from fleet_server.rollout_news import device_left


def known(connection: Connection, device_id: str) -> devices.Device:
    """A device of the fleet.

    Raises:
        NotFoundError: it never was one, or was removed.
    """
    device = devices.get(connection, device_id)
    if device is None:
        raise NotFoundError(f"no device {device_id[:80]!r}; list them with: edgeops devices list")
    if device.removed_at is not None:
        raise NotFoundError(
            f"device {device_id} was removed at {device.removed_at.isoformat(timespec='seconds')};"
            " it comes back with a new enrolment token only: edgeops devices token"
        )
    return device


def remove(config: ServerConfig, database: Database, device_id: str, *, removed_by: str, now: datetime) -> None:
    """Take a device out of the fleet for good: nothing of it is believed, nothing is wanted of it any more.

    The link believes it for KEYS_REFRESH_INTERVAL at most; the broker cuts it off at once.

    Raises:
        NotFoundError: it is not in the fleet.
    """
    with database.write() as connection:
        known(connection, device_id)
        # In one transaction: a report that the engine takes in later finds nothing left to restore.
        device_left(connection, device_id, now)
        reconciliation.device_left(connection, device_id, now)
        devices.remove(connection, device_id, now=now)
        audit.append(connection, removed_by, "device.removed", device_id, {}, now)
    publish_accounts(config, database)


def release(database: Database, device_id: str, *, released_by: str, now: datetime) -> None:
    """Believe a device again, from what it says next.

    Raises:
        NotFoundError: it is not in the fleet.
        ConflictError: it is not in quarantine.
    """
    with database.write() as connection:
        known(connection, device_id)
        if not devices.release(connection, device_id, now=now):
            raise ConflictError(f"device {device_id} is not in quarantine; it is believed already")
        audit.append(connection, released_by, "device.released", device_id, {}, now)
