"""What no person decided of a rollout, as entries of the audit trail: verdicts that were acted upon, and what ran out.

An entry names its verdict by digest, so that the stored one, a row like any other, cannot be changed unseen. It decides
nothing; what one device goes through is an ordinary event and not here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from edgeops.digest import digest_bytes
from edgeops.rollout.rollout import RolloutEvent
from fleet_server.db import audit
from fleet_server.db.database import Connection
from fleet_server.db.rollouts import Rollout

_SAYS = {"pass": "passed", "fail": "failed", "wait": "undecided"}


def note_verdict(
    connection: Connection,
    rollout: Rollout,
    event: RolloutEvent,
    verdict: Mapping[str, Any],
    *,
    position: int,
    now: datetime,
) -> None:
    """The health gate spoke of a wave, in the shape in which a wave keeps it, and `event` is what came of that."""
    data = {
        "wave": position,
        "leads_to": event,
        "reason": verdict["reason"],
        "verdict": digest_bytes(msgspec.json.encode(verdict, order="sorted")),
    }
    audit.append(connection, audit.POLICY, f"wave.{_SAYS[verdict['verdict']]}", rollout.id, data, now)


def note_expiry(connection: Connection, rollout: Rollout, *, reason: str, now: datetime) -> None:
    """The deadline of its state has passed."""
    data = {"state": rollout.state, "reason": reason}
    audit.append(connection, audit.POLICY, "rollout.expired", rollout.id, data, now)
