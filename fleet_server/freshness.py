"""Keeps what this server signs fresh, and follows what people signed beside it.

Snapshot and timestamp are signed again at half of their lives, so that a server which sleeps for two weeks is not
noticed, and one that was off for months is back with its first look. The timestamp is signed too when the audit trail
has grown, because it names its head (`fleet_server.trail`). What ends although only people can sign it is told. When
all that must happen is asked by a thread of `fleet_server.jobs`.
"""

from datetime import datetime

from edgeops.trust.repository import Repository
from fleet_server import fleet_key
from fleet_server.certificates import newest_authority
from fleet_server.config import ServerConfig
from fleet_server.db.database import Database
from fleet_server.key_alerts import KeyAlerts
from fleet_server.trail import Trail


class Freshness:
    """Of one server's repository."""

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self._alerts = KeyAlerts(database)
        self._trail = Trail(database)

    def keep(self, now: datetime) -> None:
        """Look once; cheap where nothing is to be done.

        Raises:
            TrustError: the repository is damaged, or lists a fleet key that is not here.
            ConfigError: a key of snapshot or timestamp is not on this machine.
        """
        # Opened each time: a key that was moved off this machine must not live on in this process.
        repository = Repository.open(self._config.repository, self._config.keys)
        repository.refresh(now)
        self._trail.look(repository, now)
        self._alerts.look((*repository.role_keys(), *newest_authority(self._config)), now)
        fleet_key.follow(self._config, self._database, repository, now)
