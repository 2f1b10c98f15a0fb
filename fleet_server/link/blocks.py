"""Reads blocks and block lists of artifacts that this server may hand out.

May = the artifact is in the database and was not withdrawn; nothing else below `blobs/` leaves through
here. When a block leaves is decided in `fleet_server.link.schedule`.
"""

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeops import limits
from edgeops.artifact.blockplan import block_count, block_list
from edgeops.digest import digest_bytes
from edgeops.errors import ArtifactError
from fleet_server.db import models
from fleet_server.db.database import Database

log = logging.getLogger(__name__)

_OPEN_FILES = 16
_KEPT_LISTS = 64
_KEPT_VERDICTS = 1024


@dataclass(frozen=True, slots=True)
class Stock:
    """One artifact as it is cut for the wire."""

    digest: str
    size_bytes: int
    block_bytes: int
    #: Of its block list, as it was signed.
    blocks_digest: str

    def block_size(self, index: int) -> int:
        """Bytes of block `index`; 0 = there is none."""
        return max(0, min(self.block_bytes, self.size_bytes - index * self.block_bytes))


class Shelf:
    """Artifacts by digest; used by one thread."""

    def __init__(self, database: Database, blob_path: Callable[[str], Path]) -> None:
        self._database = database
        self._blob_path = blob_path
        self._verdicts: dict[str, tuple[float, Stock | None]] = {}
        self._files: OrderedDict[str, int] = OrderedDict()
        self._lists: OrderedDict[str, bytes] = OrderedDict()

    def find(self, digest: str) -> Stock | None:
        """The artifact of this digest, if it may leave; known for ARTIFACTS_REFRESH_INTERVAL."""
        now_s = time.monotonic()
        read_at_s, stock = self._verdicts.get(digest, (float("-inf"), None))
        if now_s - read_at_s < limits.ARTIFACTS_REFRESH_INTERVAL.total_seconds():
            return stock
        if len(self._verdicts) >= _KEPT_VERDICTS:
            self._verdicts.clear()
        stock = self._look_up(digest)
        self._verdicts[digest] = (now_s, stock)
        return stock

    def block(self, stock: Stock, index: int) -> bytes | None:
        """The bytes of one block; None when the file is not there."""
        handle = self._open(stock.digest)
        if handle is None:
            return None
        return os.pread(handle, stock.block_bytes, index * stock.block_bytes)

    def block_list(self, stock: Stock) -> bytes | None:
        """The sums of all blocks, computed once; None when the file is not there, or not what was signed.

        A device that was told other sums would blame the model for it, and not ask again.
        """
        known = self._lists.get(stock.digest)
        if known is not None:
            self._lists.move_to_end(stock.digest)
            return known
        try:
            data = self._blob_path(stock.digest).read_bytes()
        except OSError:
            return None
        sums = block_list(data, stock.block_bytes)
        if digest_bytes(sums) != stock.blocks_digest:
            log.error("shelf.damaged digest=%s size_bytes=%s; restore the file from a backup", stock.digest, len(data))
            return None
        self._lists[stock.digest] = sums
        if len(self._lists) > _KEPT_LISTS:
            self._lists.popitem(last=False)
        return sums

    def close(self) -> None:
        """Close all files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _look_up(self, digest: str) -> Stock | None:
        with self._database.read() as connection:
            artifact = models.artifact_by_digest(connection, digest)
        if artifact is None or artifact.withdrawn_at is not None:
            return None
        try:
            described = artifact.describe()
        except ArtifactError as error:
            log.error("shelf.bad_descriptor digest=%s error=%s", digest, error)  # noqa: TRY400 - no traceback wanted
            return None
        if block_count(artifact.size_bytes, described.block_bytes) == 0:
            return None
        return Stock(digest, artifact.size_bytes, described.block_bytes, described.blocks_digest)

    def _open(self, digest: str) -> int | None:
        handle = self._files.get(digest)
        if handle is not None:
            self._files.move_to_end(digest)
            return handle
        try:
            handle = os.open(self._blob_path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        self._files[digest] = handle
        if len(self._files) > _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        return handle
