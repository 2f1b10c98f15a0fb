"""Signs where the audit trail stands, and never over a trail that lost what was signed of it.

The last signed head is in the TUF timestamp, out of reach of whoever can only write the tables. A trail that does not
hold it, or does not lead from it to its end, is told once and not signed: the last head stays until a person of this
machine accepts the trail as it is, which becomes an entry of it.
"""

import logging
from datetime import datetime

from edgeops.errors import ConflictError
from edgeops.trust.repository import Repository
from edgeops.trust.trail import Anchor, Broken, Contradicted, Intact
from fleet_server.config import ServerConfig
from fleet_server.db import audit, events, settings
from fleet_server.db.database import Database
from fleet_server.db.events import EventKind

_TOLD = "audit.contradicted"
_log = logging.getLogger(__name__)


class Trail:
    """Of one server, looked at again and again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: The signed head that this process said is missing.
        self._told: str | None = None

    def look(self, repository: Repository, now: datetime) -> None:
        """Sign the head if it leads on from what was signed last, else tell.

        Raises:
            ConfigError: too few timestamp keys are on this machine.
        """
        anchored = repository.anchored()
        with self._database.read() as connection:
            found = audit.verify_end(connection, anchored)
        if isinstance(found, Intact):
            repository.anchor(Anchor(entries=found.entries, head=found.head), now)
        else:
            self._tell(found, anchored, now)

    def _tell(self, found: Broken | Contradicted, anchored: Anchor | None, now: datetime) -> None:
        head = audit.GENESIS if anchored is None else anchored.head
        if self._told == head:
            return
        with self._database.write() as connection:
            if settings.read(connection, _TOLD) != head:
                settings.write(connection, _TOLD, head)
                data = {"detail": found.reason, **_signed(anchored)}
                events.append(connection, EventKind.AUDIT_CONTRADICTED, "audit", data, now)
        _log.error("audit.contradicted: %s; nothing is signed over it: edgeops audit verify", found.reason)
        self._told = head


def accept(config: ServerConfig, database: Database, *, remark: str, now: datetime) -> str:
    """Sign the trail as it is, and write down in it what is missing; returns that in words.

    Raises:
        ConflictError: it holds what was signed of it.
        ConfigError: too few timestamp keys are on this machine.
    """
    repository = Repository.open(config.repository, config.keys)
    anchored = repository.anchored()
    with database.write() as connection:
        found = audit.verify_end(connection, anchored)
        if isinstance(found, Intact):
            raise ConflictError("the audit trail holds what was signed of it; there is nothing to accept")
        data = {"detail": found.reason, **_signed(anchored)}
        audit.append(connection, audit.OWNER, "audit.accepted", "audit", data, now, remark=remark)
    sign_anew(repository, database, now)
    return found.reason


def sign_anew(repository: Repository, database: Database, now: datetime) -> None:
    """Sign where the trail stands, whatever was signed before: only where an entry of it says why."""
    with database.read() as connection:
        stands = audit.anchor(connection)
    repository.anchor(stands, now)


def last_signed(config: ServerConfig) -> dict[str, int | str]:
    """What the timestamp of today says of the trail, for an entry of it."""
    return _signed(Repository.open(config.repository, config.keys).anchored())


def _signed(anchored: Anchor | None) -> dict[str, int | str]:
    return {} if anchored is None else {"signed_entries": anchored.entries, "signed_head": anchored.head}
