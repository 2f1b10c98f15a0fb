"""The broker's accounts as the table has them: all, without those that are cut off for a while.

Writes the broker's files and has it read them again. Who gets an account is decided in `fleet_server.enrolment`, who is
cut off in `fleet_server.link.floods`.
"""

from fleet_server import broker
from fleet_server.config import ServerConfig
from fleet_server.db import devices
from fleet_server.db.database import Database
from fleet_server.wall_clock import utc_now


def publish_accounts(config: ServerConfig, database: Database) -> None:
    """Make the broker know exactly the accounts of the table; it ends the connections of all others."""
    database.when_committed(lambda: _write(config, database))


def _write(config: ServerConfig, database: Database) -> None:
    with broker.exclusive_accounts(config):
        with database.read() as connection:
            accounts = devices.broker_account_hashes(connection, now=utc_now())
        broker.write_accounts(config, accounts)
        broker.reload(config)
