"""Four eyes, fleet-wide: while they are demanded, every rollout awaits the approval of somebody who did not begin it.

Nor does anybody override a gate of what they began. A setting of the server, with who set it, when and why. Who may say
yes is decided in `edgeops.rollout.approval`.
"""

from datetime import datetime

from edgeops.errors import ConflictError
from edgeops.rollout.approval import awaits_approval, judge_approval
from fleet_server.db import audit
from fleet_server.db.database import Connection, Database
from fleet_server.db.rollouts import Rollout
from fleet_server.standing_order import StandingOrder, give, standing, take_back

_KEY = "rollouts.four-eyes"


def four_eyes(connection: Connection) -> StandingOrder | None:
    """The demand that holds; None = one person may begin and approve."""
    return standing(connection, _KEY)


def demand_four_eyes(database: Database, *, by: str, remark: str, now: datetime) -> StandingOrder:
    """Have nobody approve what they began, from now on; rollouts that exist but have not begun included.

    Those that wait for their time await an approval as soon as the engine looks at them.

    The same once more changes nothing.

    Raises:
        ConflictError: somebody demanded them already, or for another reason.
    """
    with database.write() as connection:
        present = four_eyes(connection)
        if present is not None and present.is_of(by, remark):
            return present
        if present is not None:
            raise ConflictError(f"four eyes are demanded already, by {present.by}; nothing is left to do")
        wanted = give(connection, _KEY, by=by, remark=remark, now=now)
        audit.append(connection, by, "fleet.four-eyes-demanded", "fleet", {}, now, remark=wanted.remark)
    return wanted


def waive_four_eyes(database: Database, *, by: str, now: datetime) -> None:
    """Let one person begin and approve; harmless to repeat."""
    with database.write() as connection:
        if four_eyes(connection) is None:
            return
        take_back(connection, _KEY)
        audit.append(connection, by, "fleet.four-eyes-waived", "fleet", {}, now)


def lacks_approval(connection: Connection, rollout: Rollout) -> bool:
    """Whether a rollout that was submitted may not begin yet: its order or four eyes demand a yes that it has not."""
    return awaits_approval(
        rollout.created_by,
        rollout.approved_by,
        demanded=rollout.needs_approval,
        four_eyes=four_eyes(connection) is not None,
    )


def require_four_eyes(connection: Connection, created_by: str, approved_by: str) -> None:
    """Refuse a yes of who began it, where four eyes are demanded.

    Raises:
        ConflictError: it is theirs.
    """
    refusal = judge_approval(created_by, approved_by, four_eyes=four_eyes(connection) is not None)
    if refusal is not None:
        raise ConflictError(refusal.reason)
