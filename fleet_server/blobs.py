"""Files named by their content: artifacts, snapshots, uploads.

A blob appears whole or not at all and never changes. What it means, and whether anybody still needs
it, is not decided here.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from edgeops.digest import digest_bytes, digest_file, sync_folder, write_atomically
from edgeops.errors import InputError, NotFoundError
from fleet_server.config import ServerConfig

_READ_BYTES = 1 << 20
#: Of files on their way in.
_INCOMING = ".incoming."


class Blobs:
    """The content-addressed store below `config.blobs`."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def put(self, data: bytes) -> str:
        """Keep `data`; the answer is its digest. Harmless to repeat."""
        digest = digest_bytes(data)
        path = self._config.blob_path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        return digest

    def put_file(self, source: BinaryIO, *, max_bytes: int) -> tuple[str, int]:
        """Keep everything that `source` still holds, read in pieces; digest and size.

        Raises:
            InputError: more than `max_bytes`; nothing is kept.
        """
        return self.put_chunks(iter(lambda: source.read(_READ_BYTES), b""), max_bytes=max_bytes)

    def put_chunks(self, chunks: Iterable[bytes], *, max_bytes: int) -> tuple[str, int]:
        """Keep the concatenation of `chunks`; digest and size.

        Raises:
            InputError: more than `max_bytes`; nothing is kept.
        """
        self._config.blobs.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_INCOMING, dir=self._config.blobs)
        try:
            state = hashlib.sha256()
            size = 0
            with os.fdopen(handle, "wb") as file:
                for chunk in _bounded(chunks, max_bytes):
                    size += len(chunk)
                    state.update(chunk)
                    file.write(chunk)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
            digest = "sha256:" + state.hexdigest()
            path = self._config.blob_path(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        return digest, size

    def path(self, digest: str) -> Path:
        """Where a blob lies, for those who map or stream it.

        Raises:
            NotFoundError: no such blob.
            MessageError: the text is no digest.
        """
        path = self._config.blob_path(digest)
        if not path.is_file():
            raise NotFoundError(f"no blob {digest}")
        return path

    def open(self, digest: str) -> BinaryIO:
        """A blob as a binary file.

        Raises:
            NotFoundError: no such blob.
        """
        return self.path(digest).open("rb")

    def read(self, digest: str) -> bytes:
        """A whole blob.

        Raises:
            NotFoundError: no such blob.
        """
        return self.path(digest).read_bytes()

    def remove(self, digest: str) -> None:
        """Forget a blob that nobody needs any more; harmless to repeat."""
        self._config.blob_path(digest).unlink(missing_ok=True)

    def drop_incoming(self, *, before: datetime) -> None:
        """Delete what was on its way in before this and can never have arrived: its process was killed."""
        for left_behind in self._config.blobs.glob(f"{_INCOMING}*"):
            with suppress(FileNotFoundError):
                if left_behind.stat().st_mtime < before.timestamp():
                    left_behind.unlink()

    def exists(self, digest: str) -> bool:
        """Whether the store holds this blob."""
        return self._config.blob_path(digest).is_file()

    def verify(self, digest: str) -> bool:
        """Whether the blob is there and its bytes still match its name."""
        return self.exists(digest) and digest_file(self._config.blob_path(digest)) == digest


def _bounded(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """The same chunks, and an error as soon as they are too many bytes."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise InputError(f"more than {max_bytes} bytes; send less at a time")
        yield chunk
