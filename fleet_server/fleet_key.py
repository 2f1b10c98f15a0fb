"""The fleet key, which signs what devices are told: making the next one, and speaking with the one that is listed.

Which key counts is said by the TUF target `fleet/keys.json`, which targets keys sign; this server follows it. A key
that is no longer listed is deleted. How the link takes a new one up is `fleet_server.link.voice`'s.
"""

from datetime import datetime
from pathlib import Path

from edgeops.errors import ConflictError, TrustError
from edgeops.protocol.keys import PublicKey, SigningKey, read_private_key, write_private_key
from edgeops.trust.change import Change
from edgeops.trust.keyring import FLEET_KEYS_TARGET, FleetKeys, decode_fleet_keys
from edgeops.trust.repository import Repository
from fleet_server.config import ServerConfig
from fleet_server.db import audit, devices, settings
from fleet_server.db.database import Database


def prepare(config: ServerConfig, database: Database) -> tuple[int, PublicKey]:
    """Make the key of the next epoch; it speaks once it is listed. One that was made before is forgotten."""
    with database.read() as connection:
        epoch = settings.fleet_epoch(connection) + 1
    key = SigningKey.generate()
    write_private_key(config.fleet_key(epoch), key)
    return epoch, key.public


def require_own(config: ServerConfig, change: Change) -> None:
    """A list that names another key than this server's would leave it without a voice.

    Raises:
        ConflictError: it does.
        TrustError: the change lists something else as fleet keys.
    """
    content = change.files.get(FLEET_KEYS_TARGET)
    if content is None:
        return
    keys = decode_fleet_keys(content)
    newest = _newest(keys)
    path = config.fleet_key(keys.epoch)
    if not path.exists() or read_private_key(path).public != newest:
        raise ConflictError(
            f"the fleet key of epoch {keys.epoch} in this change is not the one that this server made last; make the "
            "change again: edgeops key rotate fleet"
        )


def follow(config: ServerConfig, database: Database, repository: Repository, now: datetime) -> bool:
    """Speak with the key that is listed, if it is newer than the one that spoke until now; whether it is.

    Raises:
        TrustError: what is listed is no list of fleet keys.
    """
    content = repository.read(FLEET_KEYS_TARGET)
    if content is None:
        return False
    keys = decode_fleet_keys(content)
    with database.read() as connection:
        before = settings.fleet_epoch(connection)
    if keys.epoch <= before:
        return False
    path = config.fleet_key(keys.epoch)
    if not path.exists() or read_private_key(path).public != _newest(keys):
        raise TrustError(
            f"{FLEET_KEYS_TARGET} lists another key than {path}; rotate it again: edgeops key rotate fleet"
        )
    with database.write() as connection:
        settings.write(connection, settings.FLEET_EPOCH, str(keys.epoch))
        devices.begin_epoch(connection, keys.epoch, now)
        audit.append(
            connection, audit.REPOSITORY, "key.fleet-epoch", str(keys.epoch), {"public": _newest(keys).hex}, now
        )
    for old in _keys_before(config, keys.epoch):
        old.unlink(missing_ok=True)
    return True


def _newest(keys: FleetKeys) -> PublicKey:
    return PublicKey.from_hex(next(key.public_hex for key in keys.keys if key.epoch == keys.epoch))


def _keys_before(config: ServerConfig, epoch: int) -> list[Path]:
    numbers = {path: path.stem.removeprefix("fleet-") for path in config.keys.glob("fleet-*.pem")}
    return [path for path, number in numbers.items() if number.isdecimal() and int(number) < epoch]
