"""Makes a data folder out of a backup: every file is verified, and the folder appears whole or not at all.

A server that begins again must be believed by devices that have seen newer metadata, newer revisions and newer
sessions than the backup holds: `edgeops.trust.reissue` sees to the metadata, `fleet_server.backup.settling` to the
revisions, and sessions count the time. It starts nothing. Tables that were in PostgreSQL go into an empty database
there, last of all: it is the one thing that does not vanish with a restore that fails.
"""

import shutil
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgeops.digest import sync_folder
from edgeops.errors import ConfigError, ConflictError, InputError, NotFoundError, PlatformError
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities
from edgeops.trust.issuing import key_file, new_issuer, write_issuer
from edgeops.trust.keyring import FLEET_KEYS_TARGET, decode_fleet_keys, encode_fleet_keys, fleet_keys_of
from edgeops.trust.reissue import Reissue
from edgeops.trust.repository import Repository
from fleet_server import trail
from fleet_server.backup import places, private_keys
from fleet_server.backup.manifest import DUMP_FILE, KEYS_FOLDER, RECIPES_FOLDER, Manifest, id_of, read_manifest
from fleet_server.backup.places import Made
from fleet_server.backup.settling import settle
from fleet_server.config import ServerConfig
from fleet_server.db.backups import Restoration
from fleet_server.db.copying import known_schemas
from fleet_server.db.database import Database
from fleet_server.db.dumping import load, require_empty
from fleet_server.db.migrate import upgrade

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """A data folder that was made."""

    backup_id: str
    manifest: Manifest
    #: Whether snapshot, timestamp and fleet key are new, signed by the offline keys.
    new_keys: bool
    #: Whether the certificate authority is new, too.
    new_authority: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to restore, and where."""

    #: A folder of backups, or a `.tar` file.
    place: Path
    #: The data folder to make.
    target: Path
    #: Which backup of a folder; None = the newest.
    backup_id: str | None = None
    #: Folders with root and targets keys, of one person each; read, not kept.
    offline_keys: tuple[Path, ...] = ()
    #: The highest version of the root that a device has; 0 = none above the backup's.
    root_version: int = 0
    #: An empty PostgreSQL database, for the backup of a server whose tables were in one.
    database: str | None = None


def restore(order: Order, now: datetime, *, say: Say) -> Restored:
    """Make a data folder out of a backup.

    Raises:
        NotFoundError: no such backup.
        InputError: it is half, changed, or of a newer version.
        ConflictError: the target or the database holds something, or is being restored already.
        ConfigError: the server would have no keys to speak with; a database is missing, or one too many.
        PlatformError: the disk cannot hold it.
    """
    target = order.target.absolute()
    if not order.place.exists():
        raise NotFoundError(f"{order.place} is not there; name the folder or file that `edgeops backup` wrote")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConflictError(f"{target} is not empty; restore into a folder of its own with --data DIR")
    under_way = target.parent / f".{target.name}.restoring"
    try:
        under_way.mkdir(mode=0o700, parents=True, exist_ok=True)
        with places.alone(under_way, "restore"):
            _empty(under_way)
            try:
                restored = _build(order, ServerConfig(under_way, database=order.database), now, say)
                under_way.rename(target)
            finally:
                shutil.rmtree(under_way, ignore_errors=True)
        sync_folder(target.parent)
    except OSError as error:
        raise PlatformError(f"cannot restore into {target}: {error}; nothing is kept of it") from error
    return restored


def _build(order: Order, config: ServerConfig, now: datetime, say: Say) -> Restored:
    with places.made(order.place, order.backup_id) as made:
        manifest = read_manifest(made.manifest, expected=made.id, known=known_schemas())
        found = id_of(manifest.taken_at, made.manifest)
        _require_room(manifest, config.data)
        _require_place_for_tables(manifest, config)
        if not manifest.online_keys and not order.offline_keys:
            raise ConfigError(
                f"backup {found} is without online keys, so the server would have none to speak with; name the folder "
                "with root.pem and targets.pem, which sign new ones: --keys DIR"
            )
        _copy(made, manifest, config, say)
    say("signing")
    epoch, new_keys = _sign_again(config, order, now)
    # With new keys comes a new CA, where there is one.
    new_authority = new_keys and bool(private_keys.authorities(config.repository))
    if config.database is not None:
        say("loading the tables into PostgreSQL")
        load(config.database, config.data / DUMP_FILE)
        (config.data / DUMP_FILE).unlink()
    say("settling what was under way")
    database = Database.of(config)
    try:
        upgrade(database)
        with database.write() as connection:
            restoration = Restoration(backup=found, taken_at=manifest.taken_at, restored_at=now)
            settle(connection, restoration, epoch=epoch, signed=trail.last_signed(config))
        trail.sign_anew(Repository.open(config.repository, config.keys), database, now)
    finally:
        database.close()
    places.sync_tree(config.data)
    return Restored(found, manifest, new_keys, new_authority)


def _copy(made: Made, manifest: Manifest, config: ServerConfig, say: Say) -> None:
    config.db.mkdir(mode=0o700)
    config.keys.mkdir(mode=0o700)
    done_bytes, told = 0, 0
    for path, entry in sorted(manifest.files.items()):
        try:
            with made.open(path) as source:
                found = places.copy_file(source, _place_of(config, path), mode=_mode(path))
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing in the backup; take another backup") from error
        if found != entry:
            raise InputError(
                f"{path} of the backup was changed or cut: {found.size_bytes} bytes {found.digest}, the manifest says "
                f"{entry.size_bytes} bytes {entry.digest}; take another backup"
            )
        done_bytes += entry.size_bytes
        tenths = 10 * done_bytes // max(1, manifest.size_bytes)
        if tenths > told:
            told = tenths
            say(f"verified {done_bytes} of {manifest.size_bytes} bytes")


def _place_of(config: ServerConfig, path: str) -> Path:
    first, _, rest = path.partition("/")
    places_by_folder = {KEYS_FOLDER: config.keys, RECIPES_FOLDER: config.restored_recipes}
    return places_by_folder.get(first, config.data / first) / rest


def _mode(path: str) -> int:
    return 0o600 if path.split("/", maxsplit=1)[0] in (KEYS_FOLDER, "db") else 0o644


def _sign_again(config: ServerConfig, order: Order, now: datetime) -> tuple[int, bool]:
    """Make devices take this repository for newer; the epoch of the fleet key, and whether there are new keys."""
    listed = Repository.open(config.repository, config.keys).read(FLEET_KEYS_TARGET)
    if listed is None:
        raise InputError(f"the backup's repository lists no {FLEET_KEYS_TARGET}; take another backup")
    fleet = decode_fleet_keys(listed)
    reissue = Reissue(config.repository, config.keys, offline=order.offline_keys)
    if reissue.can_replace_keys:
        # Above whatever the lost server began: a device listens to no epoch before the last one that spoke.
        key, epoch = SigningKey.generate(), max(fleet.epoch + 1, int(now.timestamp()))
        write_private_key(config.fleet_key(epoch), key)
        alongside = {FLEET_KEYS_TARGET: encode_fleet_keys(fleet_keys_of(key.public, epoch=epoch))}
        authorities = private_keys.authorities(config.repository)
        if authorities:
            # Also where the backup holds the old one's key: whoever has the old server has it as well.
            issuer = new_issuer(now)
            write_issuer(config.keys, issuer)
            alongside[AUTHORITIES_TARGET] = encode_authorities([issuer.authority])
        reissue.replace_keys(alongside, now, above=order.root_version)
        for old in (config.fleet_key(key.epoch) for key in fleet.keys):
            old.unlink(missing_ok=True)
        for old in (key_file(config.keys, one) for one in authorities):
            old.unlink(missing_ok=True)
        return epoch, True
    if order.offline_keys and reissue.missing(("targets",)):
        places = " and ".join(map(str, order.offline_keys))
        raise ConfigError(f"{places} holds too few targets keys of this fleet; name the folder with targets.pem")
    online = reissue.missing(("snapshot", "timestamp"))
    if online or not config.fleet_key(fleet.epoch).is_file():
        raise ConfigError(
            f"the backup lacks the key of {' and '.join(online) or 'the fleet'}; for new ones the "
            f"{' and '.join(reissue.missing(('root', 'targets')))} key is needed: name its folder with --keys DIR"
        )
    reissue.count_higher(now)
    return fleet.epoch, False


def _require_room(manifest: Manifest, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < manifest.size_bytes:
        raise ConfigError(f"{folder} has {free} bytes left, the backup has {manifest.size_bytes}; make room")


def _require_place_for_tables(manifest: Manifest, config: ServerConfig) -> None:
    if manifest.is_of_postgresql and config.database is None:
        raise ConfigError(
            "the tables of this backup were in PostgreSQL; name an empty database for them: --database URL or "
            "EDGEOPS_DATABASE"
        )
    if config.database is None:
        return
    if not manifest.is_of_postgresql:
        raise ConfigError(
            "the tables of this backup are files, which stay files; leave out --database and EDGEOPS_DATABASE"
        )
    with closing(Database.at(config.database)) as database:
        require_empty(database.control)


def _empty(folder: Path) -> None:
    """Remove what a restore left that was killed."""
    entries: Iterable[Path] = folder.iterdir()
    for entry in entries:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
