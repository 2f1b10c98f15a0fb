"""One unfinished download on disk: its file, its block map, and what becomes of a block that arrives.

Whichever way a block came, it is judged and written here. Nothing is asked for here.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from device_agent.faultpoint import reach
from edgeops.artifact.blockplan import Acceptance, BlockMap
from edgeops.artifact.manifest import Descriptor
from edgeops.digest import digest_hex, write_atomically
from edgeops.errors import ArtifactError
from edgeops.update.faults import FailPoint

#: The block map is made durable after this many blocks; what was not is checked and fetched again.
_SAVE_EVERY = 16


@dataclass(frozen=True, slots=True)
class Download:
    """The two files of one unfinished download."""

    part: Path
    map: Path

    @classmethod
    def of(cls, folder: Path, digest: str) -> Self:
        """Below `folder`, named by the blob's digest."""
        return cls(folder / f"{digest_hex(digest)}.part", folder / f"{digest_hex(digest)}.map")

    def resume(self, descriptor: Descriptor) -> BlockMap | None:
        """The map of an earlier attempt, if it is this blob's and what it claims is on disk."""
        try:
            blocks = BlockMap.from_bytes(self.map.read_bytes())
            if (blocks.blocks_digest, blocks.size) != (descriptor.blocks_digest, descriptor.size_bytes):
                return None
            with self.part.open("rb") as file:
                handle = file.fileno()
                blocks.recheck(lambda offset, length: os.pread(handle, length, offset))
        except (OSError, ArtifactError):
            return None
        return blocks

    def claim(self, size_bytes: int) -> None:
        """Take the room on disk that it needs, before it begins.

        Raises:
            OSError: there is not so much, or a write error.
        """
        self.part.parent.mkdir(parents=True, exist_ok=True)
        with self.part.open("r+b" if self.part.exists() else "w+b") as file:
            _claim(file.fileno(), size_bytes)

    def forget(self) -> None:
        """Remove what is there of it."""
        self.part.unlink(missing_ok=True)
        self.map.unlink(missing_ok=True)


class Progress:
    """A download under way; one thread writes."""

    def __init__(
        self, digest: str, blocks: BlockMap, *, handle: int, map_file: Path, on_mismatch: Callable[[], None]
    ) -> None:
        """`on_mismatch` is told of every block that is not what the block list says."""
        self.digest = digest
        self.blocks = blocks
        self._on_mismatch = on_mismatch
        self._handle = handle
        self._map_file = map_file
        self._unsaved = 0

    @classmethod
    @contextmanager
    def on_disk(
        cls, download: Download, descriptor: Descriptor, blocks: BlockMap, *, on_mismatch: Callable[[], None]
    ) -> Iterator[Self]:
        """Open the file, and keep what arrived however this ends."""
        with download.part.open("r+b" if download.part.exists() else "w+b") as file:
            _claim(file.fileno(), descriptor.size_bytes)
            progress = cls(
                descriptor.digest, blocks, handle=file.fileno(), map_file=download.map, on_mismatch=on_mismatch
            )
            try:
                yield progress
            finally:
                progress.save()

    def take(self, index: int, data: bytes) -> Acceptance:
        """Judge, write and note one block.

        Raises:
            OSError: no space, or a write error.
        """
        acceptance = self.blocks.accept(index, data)
        if acceptance is Acceptance.MISMATCH:
            self._on_mismatch()
        if acceptance is not Acceptance.ACCEPTED:
            return acceptance
        _write_all(self._handle, data, self.blocks.offset(index))
        reach(FailPoint.BLOCK_WRITTEN)
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY or self.blocks.complete:
            self.save()
        return acceptance

    def save(self) -> None:
        """Make what arrived durable: the blocks, then the map that claims them."""
        if self._unsaved:
            os.fsync(self._handle)
            write_atomically(self._map_file, self.blocks.to_bytes())
            self._unsaved = 0


def _claim(handle: int, size_bytes: int) -> None:
    """Make it so large, on disk: that there is no space is found out before a byte is asked for."""
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:  # a file system that knows no claims
            raise
    os.ftruncate(handle, size_bytes)


def _write_all(handle: int, data: bytes, offset: int) -> None:
    """pwrite(2) may write less than asked."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
