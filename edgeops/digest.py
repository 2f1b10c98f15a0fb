"""Content digests (`sha256:<hex>`) and the one atomic write.

This module decides how bytes are named, how a file appears whole or not at all, and which errors are the disk's. It
does not know what the bytes mean.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edgeops.errors import MessageError

#: How a digest looks everywhere: on the wire, on disk, in tables and URLs.
DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")

_READ_BYTES = 1 << 20

#: No space, a quota or limit reached, read-only, or the medium fails (errno(3)).
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def digest_bytes(data: bytes) -> str:
    """Name `data` by its content."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_chunks(chunks: Iterable[bytes]) -> str:
    """Name the concatenation of `chunks` by its content."""
    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return "sha256:" + state.hexdigest()


def digest_file(path: Path) -> str:
    """Name a file by its content, reading it in pieces."""
    with path.open("rb") as file:
        return digest_chunks(iter(lambda: file.read(_READ_BYTES), b""))


def digest_hex(digest: str) -> str:
    """The 64 hex characters of `digest`, for file names and topics.

    Raises:
        MessageError: the text is no digest.
    """
    if DIGEST_PATTERN.fullmatch(digest) is None:
        raise MessageError(f"not a digest: {digest[:80]!r}; expected sha256: and 64 lower-case hex characters")
    return digest[len("sha256:") :]


def digest_raw(digest: str) -> bytes:
    """The 32 raw bytes of `digest`, for records where every byte counts."""
    return bytes.fromhex(digest_hex(digest))


def digest_from_raw(raw: bytes) -> str:
    """The text form of 32 raw bytes."""
    return "sha256:" + raw.hex()


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Make `path` hold `data`, whole or not at all, also across a power cut.

    Temporary name in the same folder, fsync, rename, fsync of the folder (POSIX rename(2)).
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what writes of these files left that a power cut interrupted; nobody may be writing them now."""
    for name in names:
        for left in folder.glob(f".{name}.*"):
            with suppress(OSError):
                left.unlink()


def is_of_the_disk(error: BaseException) -> bool:
    """Whether the disk is why something could not be written, and not what was to be written."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def sync_folder(folder: Path) -> None:
    """Make a rename or removal inside `folder` durable."""
    _sync(folder, os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Make durable what others wrote below `folder`: every file, then the names of them."""
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            sync_tree(path)
        else:
            _sync(path, os.O_NOFOLLOW)
    sync_folder(folder)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
