"""What a backup needs of the tables, and what changes in them when they come out of one.

What the server that was lost did after the backup is in no table: what it asked of devices, whom it enrolled, which
tokens it gave and took. These functions make the tables say nothing about that which is not true. What is done about
rollouts is decided in `fleet_server.backup.settling`.
"""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, case, delete, func, select, update

from edgeops.protocol.messages import Presence
from fleet_server.db import reach, settings
from fleet_server.db.tables import artifacts, desired, devices, enrolment_tokens, outbox, snapshots

_RESTORED = "backup.restored"


class Restoration(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that this server came out of a backup."""

    backup: str
    taken_at: datetime
    restored_at: datetime


def needed_blobs(connection: Connection) -> frozenset[str]:
    """The digests of what models and snapshots are made of, without those that were erased."""
    queries = select(artifacts.c.digest), select(snapshots.c.digest).where(snapshots.c.erased_at.is_(None))
    return frozenset(digest for query in queries for digest in connection.execute(query).scalars())


def device_count(connection: Connection) -> int:
    """Devices that were not removed."""
    query = select(func.count()).select_from(devices).where(devices.c.removed_at.is_(None))
    return connection.execute(query).scalar_one()


def forget_what_was_wanted(connection: Connection, *, epoch: int, revision: int) -> None:
    """Want nothing of any device until somebody does, under revisions that no device has seen.

    A device ignores a revision that is not above its last one. What it saw last is known when it reports, and may
    equal what would be next, so the next one is far above: at least `revision`, in the `epoch` of the fleet key.
    """
    connection.execute(delete(desired))
    connection.execute(delete(outbox))
    higher = case((devices.c.desired_revision < revision, revision), else_=devices.c.desired_revision + 1)
    later = case((devices.c.desired_epoch < epoch, epoch), else_=devices.c.desired_epoch)
    values = {"desired_epoch": later, "desired_revision": higher, "presence": Presence.OFFLINE}
    connection.execute(update(devices).values(values))
    reach.follow_all(connection)


def end_enrolment_tokens(connection: Connection, *, now: datetime) -> None:
    """Nobody knows which were used since."""
    unused = enrolment_tokens.c.used_at.is_(None) & (enrolment_tokens.c.expires_at > now)
    connection.execute(update(enrolment_tokens).where(unused).values(expires_at=now))


def remember(connection: Connection, restoration: Restoration) -> None:
    """Keep that this server came out of a backup."""
    settings.write(connection, _RESTORED, msgspec.json.encode(restoration).decode())


def last_restoration(connection: Connection) -> Restoration | None:
    """The last time that it did; None = never."""
    text = settings.read(connection, _RESTORED)
    return None if text is None else msgspec.json.decode(text, type=Restoration)


def is_older_than_this_server(connection: Connection, moment: datetime | None) -> bool:
    """Whether something happened before this server came out of a backup, so that more may have happened since."""
    last = last_restoration(connection)
    return last is not None and moment is not None and moment <= last.restored_at


def unheard_since(connection: Connection, moment: datetime) -> int:
    """Devices that belong to the fleet and said nothing since."""
    silent = devices.c.last_seen_at.is_(None) | (devices.c.last_seen_at < moment)
    query = select(func.count()).select_from(devices).where(devices.c.removed_at.is_(None), silent)
    return connection.execute(query).scalar_one()
