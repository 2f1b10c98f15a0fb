"""A folder of files, on disk or as a zip: what is in it, in the order of the paths, and each file read whole.

Nothing is unpacked to disk, and sizes are checked before anything is read. Hidden files are passed over. What is in the
files is not known here.
"""

import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from edgeops import limits
from edgeops.digest import digest_chunks
from edgeops.errors import DatasetError
from edgeops.npz import DAMAGED
from edgeops.protocol.messages import Digest

#: What macOS puts beside the files of a zip.
_RESOURCES = "__MACOSX"
#: The oldest date a zip can hold: the same files give the same bytes.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_PIECE_BYTES = 1 << 18


class Folder(Protocol):
    """Files by their paths below a folder; a context manager."""

    #: With `/` between the parts, sorted.
    paths: tuple[str, ...]
    #: Folders without a file, sorted.
    empty: tuple[str, ...]
    #: Of all files.
    size_bytes: int

    def read(self, path: str) -> bytes:
        """One file.

        Raises:
            DatasetError: it cannot be read.
        """
        ...

    def __enter__(self) -> Self:
        """Open for reading."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing more is read."""
        ...


def open_folder(path: Path, *, file_name: str | None = None) -> Folder:
    """A folder, or a zip of one.

    Args:
        path: where it lies now.
        file_name: how its owner calls it; None = as it is called where it lies.

    Raises:
        DatasetError: neither, damaged, larger than allowed, or with a path that leads elsewhere.
    """
    name = file_name or path.resolve().name
    return FolderOnDisk(path, name=name) if path.is_dir() else ZippedFolder(path, name=name)


class FolderOnDisk:
    """A folder of this machine."""

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._name = name
        try:
            found = _listed(name, _walk(path, ""))
        except OSError as error:
            raise DatasetError(f"cannot read {error.filename}: {error.strerror}") from error
        self.paths, self.empty, self.size_bytes = found.paths, found.empty, found.size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept open."""

    def read(self, path: str) -> bytes:
        """One file.

        Raises:
            DatasetError: it cannot be read.
        """
        try:
            return (self._path / path).read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot be read: {error.strerror}") from error


class ZippedFolder:
    """A folder that was zipped; a top folder that is called as the zip is no part of its paths."""

    def __init__(self, path: Path, *, name: str) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except DAMAGED as error:
            raise DatasetError(f"{name} is no zip of a folder, or damaged: {error}") from error
        try:
            members = {_path_in(name, one): one for one in _plain(name, self._archive.infolist())}
            # Of a zip that was made beside the folder, as every desktop does.
            top = f"{PurePosixPath(name).stem}/"
            self._members = (
                {path.removeprefix(top): one for path, one in members.items() if path != top}
                if all(path.startswith(top) for path in members)
                else members
            )
            found = _listed(name, ((path, one.file_size) for path, one in self._members.items()))
        except DatasetError:
            self._archive.close()
            raise
        self.paths, self.empty, self.size_bytes = found.paths, found.empty, found.size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, path: str) -> bytes:
        """One file; no more of it is unpacked than the zip says that there is.

        Raises:
            DatasetError: it is damaged.
        """
        try:
            return self._archive.read(self._members[path])
        except DAMAGED as error:
            raise DatasetError(f"damaged in the zip: {error}") from error


def digest_folder(path: Path) -> Digest:
    """Of the zip that a folder is sent as.

    Raises:
        DatasetError: a file cannot be read, or there are more than may be.
    """
    with open_folder(path) as folder:
        stream = FolderStream(folder)
        return digest_chunks(iter(lambda: stream.read(_PIECE_BYTES), b""))


class FolderStream:
    """The zip of a folder as a file to be read once, from its start: stored, the same files always the same bytes."""

    def __init__(self, folder: Folder, *, report: Callable[[float], None] = lambda _share: None) -> None:
        """`report` is told the share of the files' bytes that was read."""
        self._folder = folder
        self._report = report
        self._pieces = self._zipped()
        self._rest = b""

    def seek(self, position: int) -> None:
        """Begin again; nothing else is possible."""
        assert position == 0, f"the stream of a folder begins again at 0, not at {position}"
        self._pieces = self._zipped()
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            DatasetError: a file cannot be read any more.
        """
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def _zipped(self) -> Iterator[bytes]:
        sink, read_bytes = _Sink(), 0
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # it only writes
            for path in self._folder.empty:
                archive.writestr(zipfile.ZipInfo(f"{path}/", _ZIP_DATE), b"")
            for path in self._folder.paths:
                content = self._read(path)
                archive.writestr(zipfile.ZipInfo(path, _ZIP_DATE), content)
                read_bytes += len(content)
                if sink.size_bytes >= _PIECE_BYTES:
                    self._report(read_bytes / max(1, self._folder.size_bytes))
                    yield sink.taken()
        self._report(1.0)
        yield sink.taken()

    def _read(self, path: str) -> bytes:
        try:
            return self._folder.read(path)
        except DatasetError as error:
            raise DatasetError(f"{path} {error}") from error


class _Sink:
    """What a zip is written into piece by piece; nobody goes back in it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.size_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def taken(self) -> bytes:
        """All that was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size_bytes = 0
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    paths: tuple[str, ...]
    empty: tuple[str, ...]
    size_bytes: int


def _listed(name: str, found: Iterable[tuple[str, int]]) -> _Listing:
    """Files and folders (their paths end in `/`) with their sizes, within the limits."""
    files, folders = dict[str, int](), set[str]()
    for path, size_bytes in found:
        if len(path) > limits.MAX_FOLDER_PATH_LENGTH or not path.isprintable():
            raise DatasetError(
                f"{name}: the path {path[:80]!r} has more than {limits.MAX_FOLDER_PATH_LENGTH} characters, or some "
                "that cannot be shown; rename it"
            )
        if path.endswith("/"):
            folders.add(path)
            continue
        if size_bytes > limits.MAX_FOLDER_FILE_BYTES:
            raise DatasetError(
                f"{name}: {path} has {size_bytes} bytes, the most is {limits.MAX_FOLDER_FILE_BYTES}; leave it out"
            )
        files[path] = size_bytes
        if len(files) > limits.MAX_FOLDER_FILES:
            raise DatasetError(f"{name}: more than {limits.MAX_FOLDER_FILES} files; import fewer")
    if not files:
        raise DatasetError(f"{name}: there is no file in it")
    size_bytes = sum(files.values())
    if size_bytes > limits.MAX_FOLDER_BYTES:
        raise DatasetError(f"{name}: {size_bytes} bytes in all, the most is {limits.MAX_FOLDER_BYTES}; import fewer")
    filled = {f"{parent}/" for path in files for parent in PurePosixPath(path).parents}
    empty = tuple(path.rstrip("/") for path in sorted(folders - filled))
    return _Listing(paths=tuple(sorted(files)), empty=empty, size_bytes=size_bytes)


def _walk(folder: Path, before: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder / before) as entries:
        for entry in entries:
            path = before + entry.name
            if _is_hidden(path):
                continue
            if entry.is_symlink():
                raise DatasetError(f"{folder / path} is a link; put what it points to in its place")
            if entry.is_dir():
                yield f"{path}/", 0
                yield from _walk(folder, f"{path}/")
            elif entry.is_file():
                yield path, entry.stat().st_size
            else:
                raise DatasetError(f"{folder / path} is no file; leave it out")


def _plain(name: str, members: list[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """Files and folders that can be read, each once; hidden ones are left out."""
    met = set[str]()
    for one in members:
        if _is_hidden(one.filename):
            continue
        if stat.S_ISLNK(one.external_attr >> 16):
            raise DatasetError(f"{name}: {one.filename[:80]!r} is a link; zip what it points to")
        if one.flag_bits & 1:
            raise DatasetError(f"{name}: {one.filename[:80]!r} is encrypted; zip it without a password")
        if one.filename in met:
            raise DatasetError(f"{name}: {one.filename[:80]!r} is in it twice; zip the folder again")
        met.add(one.filename)
        yield one


def _is_hidden(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return any(part == _RESOURCES or (part.startswith(".") and part != "..") for part in parts)


def _path_in(name: str, member: zipfile.ZipInfo) -> str:
    """The path of a member; one that leads out of the folder, or that has two spellings, is refused."""
    path = member.filename
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts or "\\" in path or str(plain) != path.removesuffix("/"):
        raise DatasetError(f"{name}: the path {path[:80]!r} leads out of the folder, or is none; zip the folder itself")
    return path
