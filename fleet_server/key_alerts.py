"""Tells in time, once per stage, that what a key signed is about to end: an event, and a line in the log.

When that is, `edgeops.trust.expiry` says. Nothing is signed here.
"""

import logging
from datetime import datetime

from edgeops import limits
from edgeops.trust.expiry import advice, alert_stage
from edgeops.trust.repository import RoleKey
from fleet_server.db import events, settings
from fleet_server.db.database import Database
from fleet_server.db.events import EventKind

_log = logging.getLogger(__name__)


class KeyAlerts:
    """Remembers in the database what was told, so that a restart repeats nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self, keys: tuple[RoleKey, ...], now: datetime) -> None:
        """Tell of every key that has come to a new stage."""
        for key in keys:
            stage = alert_stage(
                key.expires, life=limits.SIGNED_LIFE[key.role if key.model is None else "auto"], now=now
            )
            if stage is not None:
                self._tell(key, stage.days, now)

    def _tell(self, key: RoleKey, days: int, now: datetime) -> None:
        told = f"{key.expires.isoformat()} {days}"
        name = f"key-alert.{key.role}"
        with self._database.write() as connection:
            if settings.read(connection, name) == told:
                return
            settings.write(connection, name, told)
            data = {
                "role": key.role,
                "model": key.model,
                "key_id": key.key_id,
                "expires_at": key.expires.isoformat(),
                "within_days": days,
                "advice": advice(key.role, key.model),
            }
            events.append(connection, EventKind.KEY_EXPIRES, key.role, data, now)
        _log.warning(
            "key.expires role=%s at=%s within_days=%d: %s", key.role, key.expires.isoformat(), days, data["advice"]
        )
