"""Several fetches at a time: one that gets no answer holds up no other."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from device_agent.fetch import BlockFetch, CancelledError, MetaFetch
from edgeops import limits
from edgeops.artifact import window
from edgeops.artifact.blockplan import block_list, wished
from edgeops.protocol.messages import BlockWish, MetaPart, MetaStatus, Wish
from edgeops.protocol.topics import Block
from tests.golden.tiny import tiny_artifact, tiny_descriptor

DEADLINE_S = 20.0


class Server:
    """Answers in the call that asks, but for what is `lost`: paths and digests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.lost: set[str] = set()
        self.asked = threading.Event()

    def attach(self, meta: MetaFetch, blocks: BlockFetch) -> None:
        self.meta, self.blocks = meta, blocks

    def publish_wish(self, wish: Wish) -> bool:
        name = wish.digest if isinstance(wish, BlockWish) else wish.path
        if name in self.lost:
            self.asked.set()
            return True
        if isinstance(wish, BlockWish):
            for index in wished(wish):
                data = self.blobs[name][index * limits.BLOCK_BYTES :][: limits.BLOCK_BYTES]
                self.blocks.received(Block(name, index), data)
            return True
        data = self.files[name]
        part = MetaPart(request=wish.request, path=name, status=MetaStatus.OK, total_bytes=len(data), data=data)
        self.meta.received(part)
        return True

    def subscribe_blocks(self, blocks: Sequence[Block]) -> None:
        """Every block reaches everybody here."""

    def unsubscribe_blocks(self, blocks: Sequence[Block]) -> None:
        """As above."""

    def largest_payload_bytes(self) -> int:
        return limits.MAX_MESSAGE_BYTES


@pytest.fixture
def server():
    server = Server()
    server.attach(MetaFetch(server), BlockFetch(server))
    return server


class Stalled:
    """A fetch in a thread of its own that gets no answer until it is cancelled."""

    def __init__(self, server: Server, fetch: Callable[[Callable[[], bool]], object]) -> None:
        self._cancelled = threading.Event()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(fetch,))
        self._thread.start()
        assert server.asked.wait(DEADLINE_S)

    def _run(self, fetch: Callable[[Callable[[], bool]], object]) -> None:
        with pytest.raises(CancelledError):
            fetch(self._cancelled.is_set)
        self.ended.set()

    def cancel(self) -> None:
        self._cancelled.set()
        self._thread.join(DEADLINE_S)
        assert self.ended.is_set()


def test_a_file_that_does_not_come_holds_up_no_other(server):
    server.files, server.lost = {"targets/b": b"content"}, {"targets/a"}
    stalled = Stalled(server, lambda cancelled: server.meta.file("targets/a", max_bytes=99, cancelled=cancelled))
    assert server.meta.file("targets/b", max_bytes=99) == b"content"
    stalled.cancel()


def test_a_blob_whose_blocks_do_not_come_holds_up_no_other(tmp_path, server):
    first, second = (tiny_artifact(version=version) for version in (1, 2))
    descriptors = [tiny_descriptor(data) for data in (first, second)]
    for descriptor, data in zip(descriptors, (first, second), strict=True):
        server.blobs[descriptor.digest] = data
        path = f"blocklists/{descriptor.digest.removeprefix('sha256:')}"
        server.files[path] = block_list(data, limits.BLOCK_BYTES)
    server.lost = {descriptors[0].digest}
    stalled = Stalled(
        server,
        lambda cancelled: server.blocks.blob(descriptors[0], tmp_path / "a", meta=server.meta, cancelled=cancelled),
    )
    assert server.blocks.blob(descriptors[1], tmp_path / "b", meta=server.meta).read_bytes() == second
    stalled.cancel()


def test_after_a_new_connection_blocks_are_asked_for_again_at_once(tmp_path, server, monkeypatch):
    monkeypatch.setattr(window, "_LEAST_S", 3600.0)
    monkeypatch.setattr(window, "_MOST_S", 3600.0)
    data = tiny_artifact()
    descriptor = tiny_descriptor(data)
    server.blobs[descriptor.digest] = data
    server.files[f"blocklists/{descriptor.digest.removeprefix('sha256:')}"] = block_list(data, limits.BLOCK_BYTES)
    server.lost = {descriptor.digest}
    with ThreadPoolExecutor() as pool:
        fetching = pool.submit(server.blocks.blob, descriptor, tmp_path, meta=server.meta)
        assert server.asked.wait(DEADLINE_S)
        server.lost.clear()
        server.blocks.reconnected()
        assert fetching.result(DEADLINE_S).read_bytes() == data
