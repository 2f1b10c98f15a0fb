"""Pulls small files and blocks from the server through the agent's link.

`MetaFetch` assembles a named file from its parts, `BlockFetch` a blob from its blocks, resumable after a
power cut. Both run in the deployments' worker threads, each pull with a queue of its own, into which the
link's thread drops what arrives: one that gets no answer holds up no other.
Blocks prove themselves against the block list, the list against the descriptor. Who vouches for the
descriptor is `device_agent.trust`'s question, and whether the whole file is right is asked once more later.
"""

import errno
import os
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Protocol

from device_agent.faultpoint import reach
from edgeops import limits
from edgeops.artifact.blockplan import Acceptance, BlockMap, wishes
from edgeops.artifact.manifest import Descriptor
from edgeops.digest import digest_hex, write_atomically
from edgeops.errors import ArtifactError
from edgeops.protocol.messages import MetaPart, MetaStatus, MetaWish, Wish
from edgeops.protocol.topics import Block
from edgeops.update.faults import FailPoint

#: How often a waiting fetch looks whether it is still wanted.
_GLANCE_S = 0.2
#: The block map is made durable after this many blocks; what was not is checked and fetched again.
_SAVE_EVERY = 16
#: Parts or blocks that wait for the worker; a broker that sends more than was asked for gains nothing.
_MAX_WAITING = 4 * limits.BLOCK_WINDOW


class FetchLink(Protocol):
    """What the link offers to fetching; called from the worker threads, must not block."""

    def publish_wish(self, wish: Wish) -> bool:
        """Publish on up/<id>/fetch in an envelope; False = no connection now, and nothing was queued."""

    def subscribe_blocks(self, blocks: Sequence[Block]) -> None:
        """Subscribe to exactly these topics, QoS 0."""

    def unsubscribe_blocks(self, blocks: Sequence[Block]) -> None:
        """Unsubscribe from them."""


class FetchError(OSError):
    """What was asked for did not come; whether to try again is the update machine's decision."""


class NoContactError(FetchError):
    """There is no connection to the server."""


class CancelledError(FetchError):
    """It is not wanted any more."""


def never() -> bool:
    """For fetches that nothing cancels."""
    return False


class MetaFetch:
    """Named small files: TUF metadata, targets, block lists."""

    def __init__(self, link: FetchLink, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._monotonic = monotonic
        # next() of a count is one step of the interpreter: no two threads get the same number.
        self._requests = count(1)
        #: Who waits for the part of which request.
        self._waiting: dict[int, queue.SimpleQueue[MetaPart]] = {}

    def received(self, part: MetaPart) -> None:
        """Take in a part that arrived; for the link's thread, never blocks. A flood is dropped."""
        parts = self._waiting.get(part.request)
        if parts is not None and parts.qsize() < _MAX_WAITING:
            parts.put(part)

    def file(self, path: str, *, max_bytes: int, cancelled: Callable[[], bool] = never) -> bytes | None:
        """Get a whole file; None = the server has none of that name.

        A part that does not come is asked for again after BLOCK_RETRY_AFTER, until TRUST_TIMEOUT.

        Raises:
            NoContactError: no connection, or no answer in time.
            CancelledError: `cancelled()` became true.
            FetchError: the server says that the file is larger than `max_bytes`.
        """
        data = bytearray()
        deadline = self._monotonic() + limits.TRUST_TIMEOUT.total_seconds()
        while True:
            part = self._part(path, len(data), deadline, cancelled)
            if part.status is MetaStatus.MISSING:
                return None
            if part.total_bytes > max_bytes:
                raise FetchError(f"{path} has {part.total_bytes} bytes on the server; at most {max_bytes} are accepted")
            data += part.data
            if len(data) >= part.total_bytes or not part.data:
                return bytes(data)

    def _part(self, path: str, offset: int, deadline: float, cancelled: Callable[[], bool]) -> MetaPart:
        """One part; those of earlier requests find nobody who waits."""
        wish = MetaWish(request=next(self._requests), path=path, offset=offset)
        parts = self._waiting[wish.request] = queue.SimpleQueue()
        try:
            return self._await(wish, parts, deadline, cancelled)
        finally:
            del self._waiting[wish.request]

    def _await(
        self, wish: MetaWish, parts: "queue.SimpleQueue[MetaPart]", deadline: float, cancelled: Callable[[], bool]
    ) -> MetaPart:
        ask_again = self._monotonic()
        while self._monotonic() < deadline:
            if cancelled():
                raise CancelledError(f"{wish.path} is not wanted any more")
            if self._monotonic() >= ask_again:
                if not self._link.publish_wish(wish):
                    raise NoContactError(f"no connection to ask for {wish.path}")
                ask_again = self._monotonic() + limits.BLOCK_RETRY_AFTER.total_seconds()
            try:
                part = parts.get(timeout=_GLANCE_S)
            except queue.Empty:
                continue
            if (part.path, part.offset) == (wish.path, wish.offset):
                return part
        raise NoContactError(f"no answer about {wish.path} in {limits.TRUST_TIMEOUT.total_seconds():.0f} s")


@dataclass(frozen=True, slots=True)
class Download:
    """The two files of one unfinished download."""

    part: Path
    map: Path

    @classmethod
    def of(cls, folder: Path, digest: str) -> "Download":
        """Below `folder`, named by the blob's digest."""
        return cls(folder / f"{digest_hex(digest)}.part", folder / f"{digest_hex(digest)}.map")

    def forget(self) -> None:
        """Remove what is there of it."""
        self.part.unlink(missing_ok=True)
        self.map.unlink(missing_ok=True)


class BlockFetch:
    """Blobs in blocks of 32 KiB, at most BLOCK_WINDOW outstanding."""

    def __init__(self, link: FetchLink, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._monotonic = monotonic
        #: The pulls under way; two deployments may pull the same blob.
        self._pulls: tuple[_Pull, ...] = ()
        self._lock = Lock()
        #: Blocks that arrived and were not what the block list says.
        self.mismatched = 0

    def received(self, block: Block, data: bytes) -> None:
        """Take in a block that arrived; for the link's thread, never blocks. A flood is dropped."""
        for pull in self._pulls:
            if pull.digest == block.digest:
                pull.received(block, data)

    def blob(
        self, descriptor: Descriptor, folder: Path, *, meta: MetaFetch, cancelled: Callable[[], bool] = never
    ) -> Path:
        """Get the blob that `descriptor` names into `folder`, going on where an earlier attempt ended.

        Returns:
            The file; every block of it is right, the digest of the whole is still to be checked.

        Raises:
            NoContactError, CancelledError, FetchError: as `MetaFetch.file`; FETCH_TIMEOUT without a new block.
            ArtifactError: the block list is not the one that was signed.
            OSError: no space, or a write error.
        """
        folder.mkdir(parents=True, exist_ok=True)
        download = Download.of(folder, descriptor.digest)
        blocks = self._resume(descriptor, download)
        if blocks is None:
            download.forget()
            blocks = self._begin(descriptor, meta, cancelled)
        with download.part.open("r+b" if download.part.exists() else "w+b") as file:
            _claim(file.fileno(), descriptor.size_bytes)
            pull = _Pull(
                descriptor.digest,
                blocks,
                handle=file.fileno(),
                map_file=download.map,
                link=self._link,
                monotonic=self._monotonic,
            )
            with self._lock:
                self._pulls += (pull,)
            try:
                while not blocks.complete:
                    self._advance(pull, cancelled)
            finally:
                with self._lock:
                    self._pulls = tuple(other for other in self._pulls if other is not pull)
                pull.stop()
        return download.part

    def _advance(self, pull: "_Pull", cancelled: Callable[[], bool]) -> None:
        """Ask for what is due, take in what arrives."""
        if cancelled():
            raise CancelledError(f"{pull.digest} is not wanted any more")
        pull.ask()
        try:
            block, data = pull.arrived.get(timeout=_GLANCE_S)
        except queue.Empty:
            return
        if pull.take(block, data) is Acceptance.MISMATCH:
            self.mismatched += 1

    def _begin(self, descriptor: Descriptor, meta: MetaFetch, cancelled: Callable[[], bool]) -> BlockMap:
        path = f"blocklists/{digest_hex(descriptor.digest)}"
        sums = meta.file(path, max_bytes=limits.MAX_METADATA_BYTES, cancelled=cancelled)
        if sums is None:
            raise FetchError(f"the server has no block list of {descriptor.digest}")
        return BlockMap.verified(
            descriptor.size_bytes, descriptor.block_bytes, sums=sums, blocks_digest=descriptor.blocks_digest
        )

    def _resume(self, descriptor: Descriptor, download: Download) -> BlockMap | None:
        """The map of an earlier attempt, if it is this blob's and what it claims is on disk."""
        try:
            blocks = BlockMap.from_bytes(download.map.read_bytes())
            if (blocks.blocks_digest, blocks.size) != (descriptor.blocks_digest, descriptor.size_bytes):
                return None
            with download.part.open("rb") as file:
                handle = file.fileno()
                blocks.recheck(lambda offset, length: os.pread(handle, length, offset))
        except (OSError, ArtifactError):
            return None
        return blocks


class _Pull:
    """One download under way: which blocks are outstanding, and since when."""

    def __init__(
        self,
        digest: str,
        blocks: BlockMap,
        *,
        handle: int,
        map_file: Path,
        link: FetchLink,
        monotonic: Callable[[], float],
    ) -> None:
        self.digest = digest
        self.arrived: queue.SimpleQueue[tuple[Block, bytes]] = queue.SimpleQueue()
        self._blocks = blocks
        self._handle = handle
        self._map_file = map_file
        self._link = link
        self._monotonic = monotonic
        #: Block index -> when it was asked for.
        self._asked: dict[int, float] = {}
        self._last_progress = monotonic()
        self._unsaved = 0

    def received(self, block: Block, data: bytes) -> None:
        """For the link's thread."""
        if self.arrived.qsize() < _MAX_WAITING and len(data) <= limits.BLOCK_BYTES:
            self.arrived.put((block, data))

    def ask(self) -> None:
        """Wish for the blocks that fill the window, and again for those that are late."""
        now = self._monotonic()
        if now - self._last_progress >= limits.FETCH_TIMEOUT.total_seconds():
            raise FetchError(f"no block of {self.digest} in {limits.FETCH_TIMEOUT.total_seconds():.0f} s")
        late = [i for i, at in self._asked.items() if now - at >= limits.BLOCK_RETRY_AFTER.total_seconds()]
        new = [i for i in self._blocks.missing(limits.BLOCK_WINDOW) if i not in self._asked]
        new = new[: limits.BLOCK_WINDOW - len(self._asked)]
        if not late and not new:
            return
        # Subscribed first: a block that comes before its subscription is lost (QoS 0). The late ones are
        # subscribed once more, because a new connection has no subscriptions.
        self._link.subscribe_blocks([Block(self.digest, index) for index in (*late, *new)])
        for wish in wishes(self.digest, (*late, *new)):
            if not self._link.publish_wish(wish):
                raise NoContactError(f"no connection to ask for blocks of {self.digest}")
        self._asked.update(dict.fromkeys((*late, *new), now))

    def take(self, block: Block, data: bytes) -> Acceptance:
        """Judge, write and note one block."""
        acceptance = self._blocks.accept(block.index, data)
        if acceptance is not Acceptance.ACCEPTED:
            return acceptance
        _write_all(self._handle, data, self._blocks.offset(block.index))
        reach(FailPoint.BLOCK_WRITTEN)
        self._last_progress = self._monotonic()
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY or self._blocks.complete:
            self._save()
        if self._asked.pop(block.index, None) is not None:
            self._link.unsubscribe_blocks([block])
        return acceptance

    def stop(self) -> None:
        """Leave nothing subscribed, and keep what arrived."""
        if self._asked:
            self._link.unsubscribe_blocks([Block(self.digest, index) for index in self._asked])
            self._asked.clear()
        if self._unsaved:
            self._save()

    def _save(self) -> None:
        os.fsync(self._handle)
        write_atomically(self._map_file, self._blocks.to_bytes())
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
