"""Where private keys lie: their files, and moving root and targets off the server, so that who takes it signs no model.

One folder belongs to one person, or to the server, and holds one key per role: `root.pem`, `targets.pem`,
`auto-<model>.pem`. A key that shall replace it lies beside it as `root.next.pem` until the change that trusts it is
published.

Files only: copy, read back, compare, then remove, so that a power cut at any moment leaves each key in at least one
place and repeating the move ends it. What the keys may sign, and whether the server goes on without them, is
`edgeops.trust.repository`'s question. A removed file may still be readable on its disk: whoever fears that makes
new keys.
"""

from collections.abc import Sequence
from pathlib import Path

from edgeops.digest import sync_folder
from edgeops.errors import ConfigError, ConflictError
from edgeops.protocol.keys import read_private_key, write_private_key

#: What the server can do without.
OFFLINE = ("root", "targets")
#: The roles of TUF.
ROLES = (*OFFLINE, "snapshot", "timestamp")

_SUFFIX = ".pem"
_NEXT = ".next"


def key_file(folder: Path, role: str) -> Path:
    """Where the private key of a role lies in a folder of keys."""
    return folder / f"{role}{_SUFFIX}"


def next_key_file(folder: Path, role: str) -> Path:
    """Where the key lies that shall replace it."""
    return folder / f"{role}{_NEXT}{_SUFFIX}"


def next_keys(folder: Path) -> dict[str, Path]:
    """All keys that shall replace others, by role."""
    found = sorted(folder.glob(f"*{_NEXT}{_SUFFIX}"))
    return {path.name.removesuffix(_NEXT + _SUFFIX): path for path in found}


def key_files(folder: Path, roles: Sequence[str] = ROLES) -> tuple[Path, ...]:
    """The keys of these roles that lie in `folder`, also those that shall replace them."""
    places = [place for role in roles for place in (key_file(folder, role), next_key_file(folder, role))]
    return tuple(path for path in places if path.exists())


def lie_together(keys: Path) -> bool:
    """Whether a key that could be offline lies on the server."""
    return bool(key_files(keys, OFFLINE))


def move_offline(keys: Path, destination: Path) -> tuple[Path, ...]:
    """Move the root and targets keys from `keys` into `destination`, and return where they are; harmless to repeat.

    Raises:
        ConfigError: `destination` is within the server's folder or cannot be written, or a key is in neither place.
        ConflictError: `destination` holds another key under the same name.
    """
    _check_place(keys, destination)
    waiting = [next_key_file(keys, role) for role in OFFLINE if next_key_file(keys, role).exists()]
    sources = [*(key_file(keys, role) for role in OFFLINE), *waiting]
    moves = [(source, destination / source.name) for source in sources]
    _check_keys(moves)
    try:
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)
        for source, copy in moves:
            if source.exists():
                write_private_key(copy, read_private_key(source))
        for source, copy in moves:
            _check_same(source, copy)
            source.unlink(missing_ok=True)
        sync_folder(keys)
    except OSError as error:
        raise ConfigError(f"cannot move the keys to {destination}: {error.strerror or error}") from error
    return tuple(copy for _, copy in moves)


def _check_place(keys: Path, destination: Path) -> None:
    """What lies in the data folder is stolen, and backed up, with the server."""
    data = keys.resolve().parent
    if destination.resolve().is_relative_to(data):
        raise ConfigError(f"{destination} is within the server's own folder {data}; choose another disk or machine")


def _check_keys(moves: Sequence[tuple[Path, Path]]) -> None:
    for source, copy in moves:
        if source.exists() and copy.exists():
            _check_same(source, copy)
        elif not source.exists() and not copy.exists():
            raise ConfigError(
                f"{source.name} is neither in {source.parent} nor in {copy.parent}; where was it moved to?"
            )


def _check_same(source: Path, copy: Path) -> None:
    """The copy is read back from where it shall stay."""
    moved = read_private_key(copy).public
    if source.exists() and read_private_key(source).public != moved:
        raise ConflictError(f"{copy} is another key than {source}; move the keys into a folder of their own")
