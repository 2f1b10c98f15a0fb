"""The store of pins: who keeps which device on which artifact; `edgeops.rollout.pins` decides what a pin forbids."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, or_, select

from edgeops.rollout.pins import Pin
from fleet_server.db.tables import devices, installations, pins
from fleet_server.db.upsert import insert

#: How "every deployment" is stored: part of a primary key is never null.
_EVERY = ""


def put(connection: Connection, pin: Pin) -> None:
    """Add a pin, or replace the one of this device and deployment."""
    values = {
        "device_id": pin.device_id,
        "deployment": pin.deployment or _EVERY,
        "digest": pin.digest,
        "reason": pin.reason,
        "pinned_by": pin.pinned_by,
        "pinned_at": pin.pinned_at,
        "until": pin.until,
    }
    statement = insert(connection, pins).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["device_id", "deployment"], set_=values))


def remove(connection: Connection, device_id: str, deployment: str | None) -> Pin | None:
    """Take a pin away, and return it; None when there is none."""
    key = (pins.c.device_id == device_id) & (pins.c.deployment == (deployment or _EVERY))
    row = connection.execute(select(pins).where(key)).one_or_none()
    if row is None:
        return None
    connection.execute(delete(pins).where(key))
    return _pin(row)


def of(connection: Connection, device_id: str) -> tuple[Pin, ...]:
    """The pins of one device, those of every deployment first; also those that have ended."""
    query = select(pins).where(pins.c.device_id == device_id).order_by(pins.c.deployment)
    return tuple(_pin(row) for row in connection.execute(query))


def every(connection: Connection) -> dict[str, tuple[Pin, ...]]:
    """All pins of the fleet by device."""
    found: dict[str, list[Pin]] = defaultdict(list)
    for row in connection.execute(select(pins).order_by(pins.c.device_id, pins.c.deployment)):
        found[row.device_id].append(_pin(row))
    return {device_id: tuple(some) for device_id, some in found.items()}


def page(connection: Connection, *, after: tuple[str, str] | None = None, limit: int) -> tuple[Pin, ...]:
    """Pins of devices in the fleet, by device and deployment."""
    query = select(pins).join(devices, devices.c.id == pins.c.device_id).where(devices.c.removed_at.is_(None))
    if after is not None:
        device_id, deployment = after
        later = (pins.c.device_id == device_id) & (pins.c.deployment > deployment)
        query = query.where(or_(pins.c.device_id > device_id, later))
    query = query.order_by(pins.c.device_id, pins.c.deployment).limit(limit)
    return tuple(_pin(row) for row in connection.execute(query))


def forbid(now: datetime) -> ColumnElement[bool]:
    """In a query over installations: whether a pin forbids to offer this one, as `edgeops.rollout.pins.Pin.forbids`."""
    return _one_is(pins.c.digest != installations.c.digest, now)


def keep(now: datetime) -> ColumnElement[bool]:
    """The same: whether a pin forbids to take this one back, as `edgeops.rollout.pins.Pin.keeps`."""
    return _one_is(pins.c.digest == installations.c.digest, now)


def _one_is(to: ColumnElement[bool], now: datetime) -> ColumnElement[bool]:
    """Whether one that concerns the installation is like that, or to what runs."""
    return (
        select(pins.c.device_id)
        .where(
            pins.c.device_id == installations.c.device_id,
            pins.c.deployment.in_([_EVERY, installations.c.deployment]),
            or_(pins.c.until.is_(None), pins.c.until > now),
            or_(pins.c.digest.is_(None), to),
        )
        .exists()
    )


def _pin(row: Row[Any]) -> Pin:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return Pin(**(values | {"deployment": row.deployment or None}))
