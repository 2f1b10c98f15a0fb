"""Makes the tables of a backup those of a server that begins: what was under way is over, and nothing is wanted.

A restore changes no model on any device. What the lost server asked for after the backup is unknown, and what it had
asked for before may have ended since without this one having heard of it: the reports were acknowledged, and devices
do not keep what was. So every rollout that had not ended ends, and a person rolls out again.
"""

from collections.abc import Mapping
from datetime import datetime

from edgeops.rollout.installation import InstallationEvent
from edgeops.rollout.rollout import OPEN, RolloutEvent, RolloutState
from fleet_server.db import audit, backups, devices, events, installations, rollouts, settings
from fleet_server.db.backups import Restoration
from fleet_server.db.database import Connection
from fleet_server.db.events import Event, EventKind
from fleet_server.rollout_steps import advance, take

_PAGE = 500


def settle(connection: Connection, restoration: Restoration, *, epoch: int, signed: Mapping[str, int | str]) -> None:
    """Change the tables of a restored `control`.

    `epoch` is that of the fleet key that signs from now on, `signed` where the audit trail stood by the last timestamp
    of the backup, which may be ahead of the tables.
    """
    now = restoration.restored_at
    reason = f"the server was restored from a backup of {restoration.taken_at:%Y-%m-%d %H:%M} UTC; roll out again"
    _end_rollouts(connection, reason, now)
    backups.forget_what_was_wanted(connection, epoch=epoch, revision=int(now.timestamp()))
    backups.end_enrolment_tokens(connection, now=now)
    backups.remember(connection, restoration)
    settings.write(connection, settings.FLEET_EPOCH, str(epoch))
    data = {"taken_at": restoration.taken_at.isoformat(), **signed}
    audit.append(connection, audit.OWNER, EventKind.SERVER_RESTORED, restoration.backup, data, now)
    # Far above what the lost server told: whoever keeps the id of the last event he heard, and receivers of webhooks,
    # which know a message by its event's id, would take news for what they have.
    number = int(now.timestamp() * 1000)
    events.append_above(connection, Event(number, now, EventKind.SERVER_RESTORED, restoration.backup, dict(data)))


def _end_rollouts(connection: Connection, reason: str, now: datetime) -> None:
    """Also those that had finished and would still ask devices that were offline."""
    after: str | None = None
    while page := devices.page(connection, after=after, limit=_PAGE):
        after = page[-1].id
        for installation in installations.unfinished_on(connection, [device.id for device in page]):
            take(connection, installation, InstallationEvent.WITHDRAW, detail=reason, now=now)
    last: str | None = None
    while some := rollouts.page(connection, after=last, limit=_PAGE):
        last = some[-1].id
        for rollout in some:
            if rollout.state is RolloutState.ROLLING_BACK:
                advance(connection, rollout, RolloutEvent.EXPIRE, reason=reason, now=now)
            elif rollout.state in OPEN:
                advance(connection, rollout, RolloutEvent.ABORT, reason=reason, now=now)
