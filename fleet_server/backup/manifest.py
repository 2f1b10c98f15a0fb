"""What one backup holds: every file with size and digest, and what is needed to read it.

The manifest's own digest is part of the backup's id, so that a changed manifest is no backup of that id any more. It
is not signed: who may write where backups lie can put a whole other one there. Decides whether this version can read a
backup; opens nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from edgeops.digest import DIGEST_PATTERN, digest_bytes, digest_hex
from edgeops.errors import InputError

#: Grows when an older version could not read it.
FORMAT = 1
MANIFEST_FILE = "manifest.json"
_ID_DIGITS = 12

#: Where the private keys lie that were asked for.
KEYS_FOLDER = "online-keys"
#: The tables of a server that keeps them in PostgreSQL.
DUMP_FILE = "db/postgresql.dump"
#: Recipes of the owner's own, which are code.
RECIPES_FOLDER = "recipes"
#: A path below one of the folders of a backup, without tricks.
_Path = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^(db|blobs|repository|{KEYS_FOLDER}|{RECIPES_FOLDER})(/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)+\Z",
        max_length=400,
    ),
]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    size_bytes: Annotated[int, msgspec.Meta(ge=0)]
    digest: Annotated[str, msgspec.Meta(pattern=rf"^{DIGEST_PATTERN.pattern}\Z")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One backup."""

    format: int
    #: The version that made it.
    edgeops: str
    taken_at: datetime
    #: By chain of migrations, how far the tables had come.
    schema: dict[str, str]
    #: Devices that belonged to the fleet.
    devices: int
    #: Whether snapshot, timestamp, fleet and delegated keys are in it.
    online_keys: bool
    #: By path inside the backup; blobs are `blobs/<2 hex>/<62 hex>`.
    files: dict[_Path, Entry]

    @property
    def is_of_postgresql(self) -> bool:
        """Whether the tables are those of a PostgreSQL database, and not two files of SQLite."""
        return DUMP_FILE in self.files

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(entry.size_bytes for entry in self.files.values())


class _Header(msgspec.Struct, frozen=True):
    """What every format has."""

    format: int
    edgeops: str = "an unknown version"


def blob_file(digest: str) -> str:
    """Where a blob lies in a backup."""
    name = digest_hex(digest)
    return f"blobs/{name[:2]}/{name[2:]}"


def blob_digest(path: str) -> str | None:
    """The digest that names a blob's file; None = it is another file."""
    if not path.startswith("blobs/"):
        return None
    digest = "sha256:" + path.removeprefix("blobs/").replace("/", "")
    return digest if DIGEST_PATTERN.fullmatch(digest) else None


def encode_manifest(manifest: Manifest) -> bytes:
    """As the file holds it."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted")) + b"\n"


def id_of(taken_at: datetime, content: bytes) -> str:
    """The id of the backup with this manifest; ids sort by time."""
    return f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest_hex(digest_bytes(content))[:_ID_DIGITS]}"


def read_manifest(content: bytes, *, expected: str | None, known: Mapping[str, frozenset[str]]) -> Manifest:
    """Read a manifest; `expected` is the id that it must have, `known` are the schema revisions of this version.

    Raises:
        InputError: it is damaged or changed, or a newer version made it.
    """
    try:
        header = msgspec.json.decode(content, type=_Header)
        if header.format > FORMAT:
            raise _newer(header.edgeops)
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the manifest of this backup is damaged: {error}; take another backup") from error
    backup_id = id_of(manifest.taken_at, content)
    if expected is not None and backup_id != expected:
        raise InputError(f"the manifest of backup {expected} was changed (it is {backup_id} now); take another backup")
    if any(revision not in known.get(chain, ()) for chain, revision in manifest.schema.items()):
        raise _newer(manifest.edgeops)
    for path, entry in manifest.files.items():
        if blob_digest(path) not in (None, entry.digest):
            raise InputError(f"the manifest names {path} {entry.digest}; it was changed; take another backup")
    return manifest


def _newer(version: str) -> InputError:
    return InputError(f"this backup was made by EdgeOps {version}, which is newer than this one; update EdgeOps first")
