"""Pulls small files and blobs from the server: through the agent's link, blobs also over HTTP.

`MetaFetch` assembles a named file from its parts, `BlockFetch` a blob from its blocks, resumable after a
power cut, changing the way when one does not work (`edgeops.artifact.transport`). Both run in the deployments'
worker threads, each pull with a queue of its own, into which the link's thread drops what arrives: one that
gets no answer holds up no other.
Blocks prove themselves against the block list, the list against the descriptor. Who vouches for the
descriptor is `device_agent.trust`'s question, and whether the whole file is right is asked once more later.
"""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

from device_agent.progress import Download, Progress
from edgeops import limits
from edgeops.artifact.blockplan import Acceptance, BlockMap, wishes
from edgeops.artifact.manifest import Descriptor
from edgeops.artifact.transport import Transport, transports
from edgeops.artifact.window import Window
from edgeops.digest import digest_hex
from edgeops.protocol.messages import MetaPart, MetaStatus, MetaWish, Wish
from edgeops.protocol.topics import Block

#: How often a waiting fetch looks whether it is still wanted.
_GLANCE_S = 0.2
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

    def largest_payload_bytes(self) -> int:
        """What the broker takes in one message, as far as it said."""


class Ranges(Protocol):
    """The second way for the blocks of a blob."""

    def pull(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        """Bring what is missing.

        Raises:
            CancelledError: `cancelled()` became true.
            FetchError: it does not come this way.
            OSError: no space, or a write error.
        """


class FetchError(OSError):
    """What was asked for did not come; whether to try again is the update machine's decision."""


class NoContactError(FetchError):
    """There is no connection to the server."""


class SilentError(FetchError):
    """Nothing came for as long as it is waited for."""


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


class BlockFetch:
    """Blobs in blocks of 32 KiB: over MQTT with at most BLOCK_WINDOW outstanding, or in ranges over HTTP."""

    def __init__(
        self, link: FetchLink, *, ranges: Ranges | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Without `ranges` there is one way only."""
        self._link = link
        self._ranges = ranges
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

    def reconnected(self) -> None:
        """There is a new connection: what was subscribed to on the one before is to be asked for again."""
        for pull in self._pulls:
            pull.reconnected()

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
        blocks = download.resume(descriptor)
        if blocks is None:
            # The file stays for the room that it takes; what is in it is written over.
            download.map.unlink(missing_ok=True)
            blocks = self._begin(descriptor, meta, cancelled)
        with Progress.on_disk(download, descriptor, blocks, on_mismatch=self._count_mismatch) as progress:
            self._bring(progress, cancelled)
        return download.part

    def _count_mismatch(self) -> None:
        with self._lock:
            self.mismatched += 1

    def _begin(self, descriptor: Descriptor, meta: MetaFetch, cancelled: Callable[[], bool]) -> BlockMap:
        path = f"blocklists/{digest_hex(descriptor.digest)}"
        sums = meta.file(path, max_bytes=limits.MAX_METADATA_BYTES, cancelled=cancelled)
        if sums is None:
            raise FetchError(f"the server has no block list of {descriptor.digest}")
        return BlockMap.verified(
            descriptor.size_bytes, descriptor.block_bytes, sums=sums, blocks_digest=descriptor.blocks_digest
        )

    def _bring(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        """Try one way after the other, as long as they bring something or it is worth waiting."""
        ways = transports(progress.blocks.size, ranges=self._ranges is not None)
        last_progress = self._monotonic()
        while not progress.blocks.complete:
            before = progress.blocks.received
            failures: dict[Transport, FetchError] = {}
            for way in ways:
                try:
                    self._pull(way, progress, cancelled, alone=len(ways) == 1)
                except CancelledError:
                    raise
                except FetchError as error:
                    failures[way] = error
                    continue
                break
            if progress.blocks.received > before:
                last_progress = self._monotonic()
            elif failures:
                _give_up(failures, waited_s=self._monotonic() - last_progress)

    def _pull(self, way: Transport, progress: Progress, cancelled: Callable[[], bool], *, alone: bool) -> None:
        if way is Transport.RANGES:
            assert self._ranges is not None
            self._ranges.pull(progress, cancelled)
            return
        patience = limits.FETCH_TIMEOUT if alone else limits.TRANSPORT_PATIENCE
        pull = _Pull(progress, link=self._link, monotonic=self._monotonic, patience_s=patience.total_seconds())
        with self._lock:
            self._pulls += (pull,)
        try:
            while not progress.blocks.complete:
                if cancelled():
                    raise CancelledError(f"{progress.digest} is not wanted any more")
                pull.advance()
        finally:
            with self._lock:
                self._pulls = tuple(other for other in self._pulls if other is not pull)
            pull.stop()


def _give_up(failures: Mapping[Transport, FetchError], *, waited_s: float) -> None:
    """No way brought a block: raise why, unless one that is silent may still speak."""
    blocks = failures[Transport.BLOCKS]
    if isinstance(blocks, NoContactError):
        raise blocks
    if isinstance(blocks, SilentError) and waited_s < limits.FETCH_TIMEOUT.total_seconds():
        return
    raise FetchError("; ".join(str(error) for error in failures.values()))


class _Pull:
    """Blocks over MQTT."""

    def __init__(
        self, progress: Progress, *, link: FetchLink, monotonic: Callable[[], float], patience_s: float
    ) -> None:
        self.digest = progress.digest
        self._arrived: queue.SimpleQueue[tuple[Block, bytes]] = queue.SimpleQueue()
        self._progress = progress
        self._blocks = progress.blocks
        self._link = link
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._window = Window()
        self._reconnected = Event()
        self._last_progress = monotonic()

    def received(self, block: Block, data: bytes) -> None:
        """For the link's thread."""
        if self._arrived.qsize() < _MAX_WAITING and len(data) <= limits.BLOCK_BYTES:
            self._arrived.put((block, data))

    def reconnected(self) -> None:
        """For any thread."""
        self._reconnected.set()

    def advance(self) -> None:
        """Ask for what is due, take in what arrives."""
        self._ask()
        try:
            block, data = self._arrived.get(timeout=_GLANCE_S)
        except queue.Empty:
            return
        if self._progress.take(block.index, data) is not Acceptance.ACCEPTED:
            return
        self._last_progress = self._monotonic()
        if self._window.arrived(block.index, self._last_progress):
            self._link.unsubscribe_blocks([block])

    def stop(self) -> None:
        """Leave nothing subscribed."""
        if self._window.outstanding:
            self._link.unsubscribe_blocks([Block(self.digest, index) for index in self._window.outstanding])
            self._window.clear()

    def _ask(self) -> None:
        """Wish for the blocks that fill the window, and again for those that are late."""
        now = self._monotonic()
        if now - self._last_progress >= self._patience_s:
            raise SilentError(f"no block of {self.digest} over MQTT in {self._patience_s:.0f} s")
        if self._reconnected.is_set():
            self._reconnected.clear()
            self._window.cut()
        due = self._window.due(self._blocks.missing(limits.BLOCK_WINDOW), now)
        if not due:
            return
        self._require_room()
        # Subscribed first: a block that comes before its subscription is lost (QoS 0). The late ones are
        # subscribed once more: whether their subscription arrived is not known.
        self._link.subscribe_blocks([Block(self.digest, index) for index in due])
        for wish in wishes(self.digest, due):
            if not self._link.publish_wish(wish):
                raise NoContactError(f"no connection to ask for blocks of {self.digest}")
        self._window.asked(due, now)

    def _require_room(self) -> None:
        """A broker drops what is larger than it takes, and tells nobody (MQTT 5 3.1.2.11.4)."""
        largest, size_bytes = self._link.largest_payload_bytes(), self._blocks.length(0)
        if size_bytes > largest:
            raise FetchError(
                f"the broker takes messages of at most {largest} bytes and a block has {size_bytes}; raise its packet "
                "limit, or let devices reach the server over HTTP"
            )
