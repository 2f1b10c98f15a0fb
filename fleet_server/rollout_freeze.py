"""The fleet-wide freeze: while it lasts no device is asked for anything new; what is taken back is taken back.

A setting of the server, with who set it, when and why.
"""

from datetime import datetime

import msgspec

from edgeops.errors import ConflictError
from edgeops.limits import MAX_DETAIL_LENGTH
from fleet_server.db import audit, settings
from fleet_server.db.database import Connection, Database

_KEY = "rollouts.frozen"


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants no device asked, since when and why."""

    by: str
    at: datetime
    remark: str = ""


def frozen(connection: Connection) -> Freeze | None:
    """The freeze that lasts; None = devices are asked."""
    text = settings.read(connection, _KEY)
    return msgspec.json.decode(text, type=Freeze) if text else None


def freeze(database: Database, *, by: str, remark: str, now: datetime) -> Freeze:
    """Ask no device from now on.

    Raises:
        ConflictError: it is frozen already.
    """
    with database.write() as connection:
        present = frozen(connection)
        if present is not None:
            raise ConflictError(f"the fleet is frozen already, by {present.by}; end that with: edgeops rollout thaw")
        wanted = Freeze(by=by, at=now, remark=remark[:MAX_DETAIL_LENGTH])
        settings.write(connection, _KEY, msgspec.json.encode(wanted).decode())
        audit.append(connection, by, "fleet.frozen", "fleet", {}, now, remark=wanted.remark)
    return wanted


def thaw(database: Database, *, by: str, remark: str, now: datetime) -> None:
    """Ask devices again.

    Raises:
        ConflictError: it is not frozen.
    """
    with database.write() as connection:
        if frozen(connection) is None:
            raise ConflictError("the fleet is not frozen; devices are asked")
        settings.write(connection, _KEY, "")
        audit.append(connection, by, "fleet.thawed", "fleet", {}, now, remark=remark[:MAX_DETAIL_LENGTH])
