"""Takes a backup of a data folder while its server runs.

The order is what makes the parts fit without stopping anybody:

1. blobs, for the first time: most of the bytes, and what a job deletes a moment later;
2. telemetry before control: ingestion commits control first, so nothing counts as received in the copy whose effect
   is not in it, as after a crash between the two commits; of PostgreSQL one dump, which is of one moment;
3. the repository after control: what the tables call published is listed;
4. blobs again: they are written before the row that names them, so every blob that a row names is there now.

Private keys stay behind, unless a person asks for those that the server itself needs; root and targets keys always do.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import edgeops
from edgeops import limits
from edgeops.errors import ConfigError, PlatformError
from edgeops.trust.storage import Storage
from fleet_server.backup import places, private_keys
from fleet_server.backup.manifest import (
    DUMP_FILE,
    FORMAT,
    KEYS_FOLDER,
    RECIPES_FOLDER,
    Entry,
    Manifest,
    blob_file,
    encode_manifest,
    id_of,
    read_manifest,
)
from fleet_server.backup.places import Making
from fleet_server.config import ServerConfig
from fleet_server.db import backups
from fleet_server.db.copying import CHAINS, copy_online, known_schemas, schemas_of
from fleet_server.db.database import Database
from fleet_server.db.dumping import dump
from fleet_server.ml.recipes.folder import recipe_files

Say = Callable[[str], None]

_HEX = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was taken."""

    id: str
    manifest: Manifest
    #: Whether root or targets lie with the server, so that its disk is their only place.
    offline_keys_here: bool


def take(config: ServerConfig, place: Path, *, with_online_keys: bool, now: datetime, say: Say) -> Taken:
    """Put a backup of `config.data` at `place`: a folder of backups, or a `.tar` file.

    Raises:
        ConfigError: `place` is inside the data folder, or too small.
        ConflictError: another backup is under way there, or the file is there already.
        PlatformError: something of the server is missing or damaged; nothing is kept.
    """
    if place.resolve().is_relative_to(config.data.resolve()):
        raise ConfigError(f"{place} is inside the data folder {config.data}, and would be lost with it; name another")
    try:
        with places.making(place) as making:
            _require_room(config, making.scratch)
            files = _Files(making)
            rows = _copy(config, files, making.scratch, with_online_keys=with_online_keys, say=say)
            manifest = Manifest(
                format=FORMAT,
                edgeops=edgeops.__version__,
                taken_at=now,
                schema=rows.schema,
                devices=rows.devices,
                online_keys=with_online_keys,
                files=files.entries,
            )
            content = encode_manifest(manifest)
            backup_id = id_of(now, content)
            making.finish(backup_id, content)
    except OSError as error:
        raise PlatformError(f"cannot take a backup to {place}: {error}; nothing is kept of it") from error
    return Taken(backup_id, manifest, private_keys.lie_here(config.repository, config.keys))


def prune(place: Path, *, keep: int) -> list[str]:
    """Remove all backups of a folder but the newest `keep`; the ids of those that went."""
    known = known_schemas()

    def blobs_of(content: bytes) -> set[str]:
        return set(read_manifest(content, expected=None, known=known).files)

    return places.prune(place, keep=keep, blobs_of=blobs_of)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the copied tables say."""

    schema: dict[str, str]
    devices: int
    #: Digests of the blobs that a model or a snapshot is.
    needed: frozenset[str]


class _Files:
    """What is in the backup so far."""

    def __init__(self, making: Making) -> None:
        self.entries: dict[str, Entry] = {}
        self._making = making

    def put(self, path: str, source: Path, *, mode: int = 0o600) -> Entry:
        entry = self._making.put(path, source, mode=mode)
        self.entries[path] = entry
        return entry


def _copy(config: ServerConfig, files: _Files, scratch: Path, *, with_online_keys: bool, say: Say) -> _Rows:
    _copy_blobs(config, files, say=say)
    rows = _copy_tables(config, files, scratch, say=say)
    storage = Storage(config.repository)
    with storage.alone():
        if storage.remembered() is not None:
            raise PlatformError(
                "a change of keys is published by half, by a process that ended; the running server ends it within "
                "moments: take the backup again"
            )
        for file in sorted(config.repository.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                files.put(str(Path("repository") / file.relative_to(config.repository)), file)
    if with_online_keys:
        for file in private_keys.online_keys(config.repository, config.keys):
            files.put(f"{KEYS_FOLDER}/{file.name}", file)
    for file in recipe_files(config.recipes):
        files.put(f"{RECIPES_FOLDER}/{file.name}", file)
    _copy_blobs(config, files, say=say)
    lost = sorted(digest for digest in rows.needed if blob_file(digest) not in files.entries)
    if lost:
        raise PlatformError(
            f"{len(lost)} blobs that models or datasets are made of are missing or damaged in {config.blobs}, the "
            f"first is {lost[0]}; nothing is kept of this backup"
        )
    return rows


def _copy_tables(config: ServerConfig, files: _Files, scratch: Path, *, say: Say) -> _Rows:
    if config.database is not None:
        say("dumping the tables")
        dump(config.database, scratch / "dump")
        files.put(DUMP_FILE, scratch / "dump")
        # Later than the dump, so what it names is among them.
        return _rows(Database.of(config))
    for chain in reversed(CHAINS):
        say(f"copying {chain}.db")
        copy_online(config.db / f"{chain}.db", scratch / f"{chain}.db")
    for chain in CHAINS:
        files.put(f"db/{chain}.db", scratch / f"{chain}.db")
    return _rows(Database.in_folder(scratch))


def _copy_blobs(config: ServerConfig, files: _Files, *, say: Say) -> None:
    """Those that the backup does not hold yet; damaged ones stay out."""
    news = [(digest, file) for digest, file in _blobs(config) if blob_file(digest) not in files.entries]
    for number, (digest, file) in enumerate(news, start=1):
        try:
            entry = files.put(blob_file(digest), file)
        except FileNotFoundError:
            continue  # deleted since: an upload whose import ended
        if entry.digest != digest:
            del files.entries[blob_file(digest)]
            say(f"blob {digest} is damaged: it holds {entry.digest}")
        if number % limits.BACKUP_NEWS_EVERY == 0 or number == len(news):
            say(f"blobs: {number} of {len(news)}")


def _blobs(config: ServerConfig) -> Iterator[tuple[str, Path]]:
    for file in sorted(config.blobs.glob("??/*")):
        name = file.parent.name + file.name
        if len(name) == 64 and not set(name) - set(_HEX):  # not what is being written
            yield f"sha256:{name}", file


def _rows(database: Database) -> _Rows:
    try:
        schemas = schemas_of(database)
        with database.read() as connection:
            return _Rows(schemas, backups.device_count(connection), backups.needed_blobs(connection))
    finally:
        database.close()


def _require_room(config: ServerConfig, scratch: Path) -> None:
    """Told before the disk is full: the databases are copied twice, once to be put in their place."""
    wanted = 2 * sum(file.stat().st_size for file in config.db.glob("*.db"))
    free = shutil.disk_usage(scratch).free
    if free < wanted:
        raise ConfigError(
            f"{scratch.parent} has {free} bytes left, the databases alone take {wanted} for a while; make room"
        )
