"""Where backups lie: a folder that holds many and each blob once, or one `.tar` file that holds one.

A backup appears whole or not at all: it is made under another name, synced, and renamed. What is in it, and in which
order it is read, is decided in `fleet_server.backup.taking`.
"""

import fcntl
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from edgeops.digest import digest_file, sweep, sync_folder
from edgeops.errors import ConflictError, InputError, NotFoundError
from fleet_server.backup.manifest import MANIFEST_FILE, Entry, blob_digest

TAR = ".tar"
_READ_BYTES = 1 << 20
_BACKUPS = "backups"
_UNDER_WAY = ".under-way"
_SCRATCH = ".scratch"


class Making(Protocol):
    """A backup that is being made."""

    #: On the same disk, for what has to be a file before it can be put; gone in the end.
    scratch: Path

    def put(self, path: str, source: Path, *, mode: int = 0o600) -> Entry:
        """Keep a file; a blob that is there already is not copied again."""

    def finish(self, backup_id: str, manifest: bytes) -> None:
        """Make it a backup; without this nothing is left of it."""


class Made(Protocol):
    """A backup that is there."""

    id: str | None
    manifest: bytes

    def open(self, path: str) -> BinaryIO:
        """One of its files.

        Raises:
            FileNotFoundError: it is not there.
        """


def copied(source: BinaryIO, write: Callable[[bytes], object]) -> Entry:
    """Write all that `source` holds, and what that was."""
    state = hashlib.sha256()
    size_bytes = 0
    while data := source.read(_READ_BYTES):
        state.update(data)
        size_bytes += len(data)
        write(data)
    return Entry(size_bytes=size_bytes, digest="sha256:" + state.hexdigest())


def copy_file(source: BinaryIO, target: Path, *, mode: int) -> Entry:
    """Write `target` durably, and say what it holds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(handle, "wb") as file:
        entry = copied(source, file.write)
        file.flush()
        os.fsync(file.fileno())
    return entry


def sync_tree(folder: Path) -> None:
    """Make the names of all files below a folder durable, if it is there."""
    for one, _, _ in os.walk(folder):
        sync_folder(Path(one))


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Be the only one at work in a folder; the lock goes with the process.

    Raises:
        ConflictError: somebody else is.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"another {what} is under way in {folder}; wait for its end") from None
        yield
    finally:
        os.close(handle)


# -- a folder ---------------------------------------------------------------------------


@contextmanager
def making(place: Path) -> Iterator[Making]:
    """Begin a backup at `place`, which names a folder, or a `.tar` file that is not there yet.

    Raises:
        ConflictError: the file is there already, or another backup is under way in the folder.
    """
    if place.suffix != TAR:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(place, "backup"):
            yield from _making_folder(place)
        return
    if place.exists():
        raise ConflictError(f"{place} is there already; name another file")
    place.parent.mkdir(parents=True, exist_ok=True)
    sweep(place.parent, (place.name,))
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
            _scratch(place.parent / f".{place.name}-scratch") as scratch,
        ):
            yield _TarMaking(tar, file, scratch, lambda: Path(name).replace(place))
        sync_folder(place.parent)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder; what a backup left in it that was killed goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _making_folder(place: Path) -> Iterator[Making]:
    backups = place / _BACKUPS
    backups.mkdir(mode=0o700, exist_ok=True)
    with _scratch(backups / _UNDER_WAY) as under_way, _scratch(place / _SCRATCH) as scratch:
        yield _FolderMaking(place, under_way, scratch)


class _FolderMaking:
    def __init__(self, place: Path, under_way: Path, scratch: Path) -> None:
        self.scratch = scratch
        self._place = place
        self._under_way = under_way

    def put(self, path: str, source: Path, *, mode: int = 0o600) -> Entry:
        digest = blob_digest(path)
        if digest is None:
            with source.open("rb") as file:
                return copy_file(file, self._under_way / path, mode=mode)
        target = self._place / path
        # It is read again: a medium may have spoilt what an earlier backup put there.
        if target.is_file() and digest_file(target) == digest:
            return Entry(size_bytes=target.stat().st_size, digest=digest)
        under_way = self.scratch / "blob"
        try:
            with source.open("rb") as file:
                entry = copy_file(file, under_way, mode=mode)
            if entry.digest == digest:
                target.parent.mkdir(parents=True, exist_ok=True)
                under_way.replace(target)
                sync_folder(target.parent)
            return entry
        finally:
            under_way.unlink(missing_ok=True)

    def finish(self, backup_id: str, manifest: bytes) -> None:
        copy_file(io.BytesIO(manifest), self._under_way / MANIFEST_FILE, mode=0o600)
        for part in (self._place / "blobs", self._under_way):
            sync_tree(part)
        sync_folder(self._place)
        self._under_way.rename(self._under_way.parent / backup_id)
        sync_folder(self._under_way.parent)


class _TarMaking:
    def __init__(self, tar: tarfile.TarFile, file: BinaryIO, scratch: Path, arrive: Callable[[], object]) -> None:
        self.scratch = scratch
        self._tar = tar
        self._file = file
        self._arrive = arrive

    def put(self, path: str, source: Path, *, mode: int = 0o600) -> Entry:
        with source.open("rb") as file:
            entry = Entry(size_bytes=os.fstat(file.fileno()).st_size, digest=digest_file(source))
            if blob_digest(path) in (None, entry.digest):
                self._add(path, entry.size_bytes, file, mode)
        return entry

    def finish(self, backup_id: str, manifest: bytes) -> None:
        del backup_id  # the manifest says it
        self._add(MANIFEST_FILE, len(manifest), io.BytesIO(manifest), 0o600)
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._arrive()

    def _add(self, path: str, size_bytes: int, content: BinaryIO, mode: int) -> None:
        member = tarfile.TarInfo(path)
        member.size, member.mode = size_bytes, mode
        self._tar.addfile(member, content)


# -- reading ------------------------------------------------------------------------------


def backups_in(place: Path) -> list[str]:
    """The ids of the backups in a folder, oldest first."""
    backups = place / _BACKUPS
    if not backups.is_dir():
        return []
    return sorted(entry.name for entry in backups.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def manifest_of(place: Path, backup_id: str) -> bytes:
    """The manifest of one backup in a folder.

    Raises:
        InputError: it has none.
    """
    file = place / _BACKUPS / backup_id / MANIFEST_FILE
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}; this is half a backup") from error


@contextmanager
def made(place: Path, backup_id: str | None) -> Iterator[Made]:
    """Open a backup; of a folder the newest one, or `backup_id`.

    Raises:
        NotFoundError: there is none.
        InputError: it is damaged.
    """
    if place.is_file():
        try:
            with tarfile.open(place, "r:") as tar:
                yield _TarMade(place, tar)
        except tarfile.TarError as error:
            raise InputError(f"{place} is no whole .tar file: {error}; take another backup") from error
        return
    known = backups_in(place)
    if not known:
        raise NotFoundError(f"no backup in {place}; make one with: edgeops backup {place}")
    if backup_id is not None and backup_id not in known:
        raise NotFoundError(f"no backup {backup_id!r} in {place}; there are: {', '.join(known)}")
    yield _FolderMade(place, backup_id or known[-1])


class _FolderMade:
    def __init__(self, place: Path, backup_id: str) -> None:
        self.id: str | None = backup_id
        self._place = place
        self._folder = place / _BACKUPS / backup_id
        self.manifest = manifest_of(place, backup_id)

    def open(self, path: str) -> BinaryIO:
        return ((self._folder if blob_digest(path) is None else self._place) / path).open("rb")


class _TarMade:
    def __init__(self, place: Path, tar: tarfile.TarFile) -> None:
        self.id: str | None = None
        self._tar = tar
        try:
            with self.open(MANIFEST_FILE) as file:
                self.manifest = file.read()
        except FileNotFoundError as error:
            raise InputError(f"{place} has no manifest: it is half a backup, or none; take another one") from error

    def open(self, path: str) -> BinaryIO:
        try:
            content = self._tar.extractfile(path)
        except KeyError:
            content = None
        if content is None:
            raise FileNotFoundError(path)
        return content  # type: ignore[return-value]  # a reader of bytes all the same


def prune(place: Path, *, keep: int, blobs_of: Callable[[bytes], set[str]]) -> list[str]:
    """Remove all backups of a folder but the newest `keep`, then the blobs that none of these names."""
    with alone(place, "backup"):
        known = backups_in(place)
        gone = known[: max(0, len(known) - keep)]
        kept = {path for one in known[len(gone) :] for path in blobs_of(manifest_of(place, one))}
        for one in gone:
            shutil.rmtree(place / _BACKUPS / one)
        for file in (place / "blobs").glob("??/*"):
            if str(file.relative_to(place)) not in kept:
                file.unlink()
    return gone
