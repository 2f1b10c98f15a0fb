"""The fleet-wide freeze: while it lasts no device is asked for anything new; what is taken back is taken back.

A setting of the server, with who set it, when and why.
"""

from datetime import datetime

from edgeops.errors import ConflictError
from edgeops.limits import MAX_DETAIL_LENGTH
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import audit, rollouts
from fleet_server.db.database import Connection, Database
from fleet_server.service_clock import service_time
from fleet_server.standing_order import StandingOrder, give, standing, take_back

_KEY = "rollouts.frozen"


def frozen(connection: Connection) -> StandingOrder | None:
    """The freeze that lasts; None = devices are asked."""
    return standing(connection, _KEY)


def freeze(database: Database, *, by: str, remark: str, now: datetime) -> StandingOrder:
    """Ask no device from now on; the same once more changes nothing.

    Raises:
        ConflictError: somebody froze it already, or for another reason.
    """
    with database.write() as connection:
        present = frozen(connection)
        if present is not None and present.is_of(by, remark):
            return present
        if present is not None:
            raise ConflictError(f"the fleet is frozen already, by {present.by}; end that with: edgeops rollout thaw")
        wanted = give(connection, _KEY, by=by, remark=remark, now=now)
        audit.append(connection, by, "fleet.frozen", "fleet", {}, now, remark=wanted.remark)
    return wanted


def thaw(database: Database, *, by: str, remark: str, now: datetime) -> None:
    """Ask devices again, and give each present wave its whole time to be asked; harmless to repeat."""
    with database.write() as connection:
        if frozen(connection) is None:
            return
        take_back(connection, _KEY)
        for rollout in rollouts.in_states(connection, [RolloutState.RUNNING]):
            rollouts.put_off(connection, rollout, service_time(connection, now) + rollout.policy.wave_timeout)
        audit.append(connection, by, "fleet.thawed", "fleet", {}, now, remark=remark[:MAX_DETAIL_LENGTH])
