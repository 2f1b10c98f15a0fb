"""Prepares a data folder: tables, keys, the TUF repository, broker files, the first admin token.

Everything is made where it is missing and left alone where it is there, so repeating it is harmless and
finishes what a crash interrupted. It starts nothing.
"""

from datetime import datetime
from pathlib import Path

from edgeops.api.roles import Role
from edgeops.digest import write_atomically
from edgeops.protocol.keys import SigningKey, read_private_key, write_private_key
from edgeops.trust.authorities import AUTHORITIES_TARGET, Authority, encode_authorities
from edgeops.trust.issuing import issuers_in, new_issuer, write_issuer
from edgeops.trust.keyring import FLEET_KEYS_TARGET, encode_fleet_keys, fleet_keys_of
from edgeops.trust.repository import Repository
from fleet_server import broker
from fleet_server.access import Access
from fleet_server.accounts import publish_accounts
from fleet_server.certificates import Certificates
from fleet_server.config import ServerConfig
from fleet_server.db import audit, belonging, devices, settings
from fleet_server.db.database import Database
from fleet_server.db.migrate import upgrade
from fleet_server.starter import install

_ADMIN_NAME = "admin"


def init(config: ServerConfig, *, now: datetime, starter: bool = False) -> None:
    """Make the data folder of `config` complete; `starter` adds the model that comes with the package.

    Raises:
        ConfigError: the database belongs to another data folder.
    """
    _make_folders(config)
    database = Database.of(config)
    try:
        upgrade(database)
        _make_trust(config, database, now)
        Certificates(config).keep_fresh(now)
        _make_broker(config, database, now)
        _make_admin_token(config, database, now)
        if starter:
            install(config, database, now=now)
    finally:
        database.close()


def _make_folders(config: ServerConfig) -> None:
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for private in (config.keys, config.broker, config.db):
        private.mkdir(mode=0o700, exist_ok=True)
        private.chmod(0o700)
    for folder in (config.blobs, config.devices, config.run, config.logs):
        folder.mkdir(exist_ok=True)


def _make_trust(config: ServerConfig, database: Database, now: datetime) -> None:
    repository = _repository(config, now)
    if database.is_shared:
        with database.write() as connection:
            belonging.claim(connection, config)
    with database.read() as connection:
        epoch = settings.fleet_epoch(connection)
    path = config.fleet_key(epoch)
    if not path.exists():
        write_private_key(path, SigningKey.generate())
        with database.write() as connection:
            settings.write(connection, settings.FLEET_EPOCH, str(epoch))
    wanted = {}
    listed = repository.listed()
    if FLEET_KEYS_TARGET not in listed:
        wanted[FLEET_KEYS_TARGET] = encode_fleet_keys(fleet_keys_of(read_private_key(path).public, epoch=epoch))
    # Made also where nothing speaks TLS yet: later the targets key, which signs the list, may be elsewhere.
    if AUTHORITIES_TARGET not in listed and repository.can_sign(AUTHORITIES_TARGET, now):
        wanted[AUTHORITIES_TARGET] = encode_authorities(_authorities(config, now))
    if wanted:
        repository.publish(wanted, now)


def _authorities(config: ServerConfig, now: datetime) -> list[Authority]:
    if not issuers_in(config.keys):
        write_issuer(config.keys, new_issuer(now))
    return [one.authority for one in issuers_in(config.keys)]


def _repository(config: ServerConfig, now: datetime) -> Repository:
    """Keys that were moved away must not be made anew, so an existing repository is only opened."""
    if (config.metadata / "timestamp.json").exists():
        return Repository.open(config.repository, config.keys)
    return Repository.create(config.repository, config.keys, now)


def _make_broker(config: ServerConfig, database: Database, now: datetime) -> None:
    password = _text(config.server_password)
    if password is None:
        password = broker.new_password()
        write_atomically(config.server_password, password.encode() + b"\n", mode=0o600)
    with database.write() as connection:
        known = devices.broker_account_hashes(connection, now=now).get(config.broker_user)
        if known is None or not broker.password_matches(known, password):
            password_hash = broker.hash_password(password)
            devices.set_broker_account(connection, config.broker_user, password_hash=password_hash, now=now)
    broker.write_configuration(config)
    publish_accounts(config, database)


def _make_admin_token(config: ServerConfig, database: Database, now: datetime) -> None:
    access = Access(database)
    token = _text(config.admin_token)
    if token is None or access.identify(token, now=now) is None:
        made = access.create_token(_ADMIN_NAME, Role.ADMIN, created_by=audit.OWNER, now=now)
        write_atomically(config.admin_token, made.text.encode() + b"\n", mode=0o600)


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
