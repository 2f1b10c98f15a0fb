"""What somebody ordered for the whole fleet, until somebody takes it back: a setting with who gave it, when and why.

It knows no order; each has a module of its own that says what it is for and writes it into the audit trail.
"""

from datetime import datetime

import msgspec

from edgeops.limits import MAX_DETAIL_LENGTH
from fleet_server.db import settings
from fleet_server.db.database import Connection


class StandingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants it, since when and why."""

    by: str
    at: datetime
    remark: str = ""

    def is_of(self, by: str, remark: str) -> bool:
        """Whether it is this order of this person: theirs again, because the answer to the first one was lost."""
        return (self.by, self.remark) == (by, remark[:MAX_DETAIL_LENGTH])


def standing(connection: Connection, key: str) -> StandingOrder | None:
    """The order that stands; None = none does."""
    text = settings.read(connection, key)
    return msgspec.json.decode(text, type=StandingOrder) if text else None


def give(connection: Connection, key: str, *, by: str, remark: str, now: datetime) -> StandingOrder:
    """Have it stand from now on, instead of one that did."""
    order = StandingOrder(by=by, at=now, remark=remark[:MAX_DETAIL_LENGTH])
    settings.write(connection, key, msgspec.json.encode(order).decode())
    return order


def take_back(connection: Connection, key: str) -> None:
    """Have none stand."""
    settings.write(connection, key, "")
