"""One device's updates against a server that answers at once, in one process and without a broker.

Everything of the device is real: TUF child, probe child, slots, spool, state files. The server is a folder with
a real TUF repository and blobs in memory; it answers a wish in the call that publishes it. As a program,
`python -m tests.integration.updates_rig FOLDER ENDING`, it installs what FOLDER was prepared with, up to ENDING.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from device_agent.clock import Clock
from device_agent.facts import device_facts
from device_agent.fetch import BlockFetch, MetaFetch
from device_agent.probe import ProbeVerdict, run_probe
from device_agent.store.spool import Spool
from device_agent.trust import FleetKeys, Trust
from device_agent.updates import Surroundings, Updates
from edgeops import limits
from edgeops.artifact.blockplan import block_list, wished
from edgeops.artifact.manifest import Descriptor, decode_descriptor, encode_value, target_path
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import (
    BlockWish,
    DesiredDeployment,
    DeviceFacts,
    Maintenance,
    MetaPart,
    MetaStatus,
    MetaWish,
    Reason,
    Report,
    Shadowing,
    SpoolAck,
    UpdateState,
    Wish,
    decode,
)
from edgeops.protocol.topics import Block, UpKind
from edgeops.trust.repository import Repository
from edgeops.update.leave import Hold
from tests.golden.tiny import tiny_artifact, tiny_descriptor

DEPLOYMENT = "gas"
NOW = datetime.now(UTC)


class Server:
    """Answers wishes from a repository folder and blobs in memory."""

    def __init__(self, folder: Path) -> None:
        self.repository_folder = folder / "repository"
        self.repository = Repository.create(self.repository_folder, folder / "keys", NOW)
        self.blobs: dict[str, bytes] = {}
        self.connected = True
        #: What the broker takes in one message.
        self.largest = limits.MAX_MESSAGE_BYTES
        #: What happens to a block on its way; None = it is lost.
        self.on_the_way: Callable[[int, bytes], bytes | None] = lambda _index, data: data
        self.subscribed: set[Block] = set()
        self.sent_blocks: list[int] = []

    def publish(self, artifact: bytes, *, auto: bool = False) -> Descriptor:
        descriptor = tiny_descriptor(artifact)
        self.blobs[descriptor.digest] = artifact
        self.repository.publish({target_path(descriptor.manifest, auto=auto): encode_value(descriptor)}, NOW)
        return descriptor

    def withdraw(self, descriptor: Descriptor) -> None:
        self.repository.withdraw([target_path(descriptor.manifest)], NOW)

    def attach(self, meta: MetaFetch, blocks: BlockFetch) -> None:
        self.meta, self.blocks = meta, blocks

    # -- FetchLink ---------------------------------------------------------------------------

    def publish_wish(self, wish: Wish) -> bool:
        if not self.connected:
            return False
        match wish:
            case MetaWish():
                self._answer(wish)
            case BlockWish():
                blob = self.blobs[wish.digest]
                for index in wished(wish):
                    assert Block(wish.digest, index) in self.subscribed, "asked for before it was subscribed"
                    data = self.on_the_way(index, blob[index * limits.BLOCK_BYTES :][: limits.BLOCK_BYTES])
                    self.sent_blocks.append(index)
                    if data is not None:
                        self.blocks.received(Block(wish.digest, index), data)
        return True

    def subscribe_blocks(self, blocks: Sequence[Block]) -> None:
        self.subscribed |= set(blocks)
        assert len(self.subscribed) <= limits.BLOCK_WINDOW

    def unsubscribe_blocks(self, blocks: Sequence[Block]) -> None:
        self.subscribed -= set(blocks)

    def largest_payload_bytes(self) -> int:
        return self.largest

    def _answer(self, wish: MetaWish) -> None:
        content = self._content(wish.path)
        if content is None:
            self.meta.received(MetaPart(request=wish.request, path=wish.path, status=MetaStatus.MISSING))
            return
        part = content[wish.offset :][: limits.METADATA_PART_BYTES]
        self.meta.received(
            MetaPart(
                request=wish.request,
                path=wish.path,
                status=MetaStatus.OK,
                total_bytes=len(content),
                offset=wish.offset,
                data=part,
            )
        )

    def _content(self, path: str) -> bytes | None:
        if path.startswith("blocklists/"):
            return block_list(self.blobs["sha256:" + path.removeprefix("blocklists/")], limits.BLOCK_BYTES)
        file = self.repository_folder / path
        return file.read_bytes() if file.is_file() else None


class Device:
    """One start of an agent, as far as updates are concerned; `run` does the slow work that waits."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        *,
        probe: Callable[[Path, Path | None], ProbeVerdict] = run_probe,
        facts: Callable[[Path], DeviceFacts] = device_facts,
        has_disk: bool = True,
        hold: Hold | None = None,
    ) -> None:
        self.now = 0.0
        #: What the system's clock shows.
        self.wall = NOW
        self.server = server
        self.folder = folder / "device"
        trust = self.folder / "trust"
        if not trust.exists():
            (trust / "metadata").mkdir(parents=True)
            (trust / "metadata" / "root.json").write_bytes(server.repository.trusted_root())
        self.spool = Spool.open(self.folder / "spool.db")
        meta = MetaFetch(server, monotonic=self._hasten)
        blocks = BlockFetch(server, monotonic=self._hasten)
        server.attach(meta, blocks)
        self.clock = Clock(self.folder / "clock.json", now=self._wall_s, passed=lambda: self.now)
        self.trust = Trust(trust, meta, self.clock, FleetKeys(trust))
        self._said = 0
        self.waiting: list[Callable[[], None]] = []
        self.changes = 0
        #: What the watchdog saw of slow steps.
        self.turns = 0
        self.updates = Updates(
            DEPLOYMENT,
            self.folder / "deployments" / DEPLOYMENT,
            surroundings=Surroundings(
                spool=self.spool,
                trust=self.trust,
                meta=meta,
                blocks=blocks,
                facts=lambda: facts(self.folder),
                submit=self.waiting.append,
                turned=self._turned,
                probe=probe,
                has_disk=has_disk,
                now=self.clock.certain,
            ),
            hold=hold,
            on_change=self._changed,
            monotonic=lambda: self.now,
        )
        self.updates.resume()

    def _changed(self) -> None:
        self.changes += 1

    def _turned(self) -> None:
        self.turns += 1

    def _wall_s(self) -> float:
        return self.wall.timestamp()

    def _hasten(self) -> float:
        """A clock for fetching: each look is half a second, so that nothing waits for the real one."""
        self.now += 0.5
        return self.now

    def told(self, at: datetime, *, epoch: int = 1) -> None:
        """The server says what time it is, once more."""
        self._said += 1
        self.clock.told(at, place=(epoch, 1, self._said))

    def desire(
        self,
        descriptor: Descriptor | None,
        *,
        revision: int,
        digest: str | None = None,
        installation: str = "inst-1",
        auto: bool = False,
        shadowing: Shadowing | None = None,
        maintenance: tuple[Maintenance, ...] = (),
    ) -> None:
        self.updates.desire(
            DesiredDeployment(
                deployment=DEPLOYMENT,
                target=target_path(descriptor.manifest, auto=auto) if descriptor else None,
                digest=digest or (descriptor.digest if descriptor else None),
                installation=installation,
                trial_inferences=5,
                shadowing=shadowing,
                maintenance=maintenance,
            ),
            epoch=1,
            revision=revision,
        )

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def run_until(self, state: UpdateState) -> None:
        while self.waiting and self.updates.state().state is not state:
            self.waiting.pop(0)()

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.updates.tick()
        self.run()

    def settle(self) -> None:
        """Do what waits, also what waits for a while because something hindered it."""
        self.run()
        for _ in range(3):
            self.later(limits.UPDATE_RETRY_AFTER.total_seconds() + 1)

    def infer(self, count: int = 5, *, ok: bool = True) -> None:
        for _ in range(count):
            self.updates.trial_inference(ok=ok, latency_us=12, detail="" if ok else "it broke")
        self.updates.tick()

    def acknowledge(self) -> None:
        """The server took in what waits, and says so."""
        self.spool.lost_contact()
        for batch in self.spool.take(1000):
            self.spool.acknowledge(
                SpoolAck(spool=self.spool.id, through=-1, ranges=tuple((r.seq, r.seq) for r in batch.body.records))
            )
        self.updates.acknowledged()

    def reports(self) -> list[Report]:
        """Everything in the spool that was not acknowledged."""
        return list(self.numbered_reports().values())

    def numbered_reports(self) -> dict[int, Report]:
        """The same by seq."""
        self.spool.lost_contact()
        batches = [batch for batch in self.spool.take(1000) if batch.kind is UpKind.REPORTS]
        return {record.seq: decode(record.data, Report) for batch in batches for record in batch.body.records}

    @property
    def state(self) -> UpdateState:
        return self.updates.state().state

    @property
    def active(self) -> str | None:
        active = self.updates.running().active
        return active.digest if active else None

    def close(self) -> None:
        self.updates.close()
        self.spool.close()


class Ending(StrEnum):
    """How the program's update ends."""

    COMMITTED = "committed"
    #: Desired under a digest that nobody signed.
    REJECTED = "rejected"
    #: The probe finds it too slow.
    FAILED = "failed"
    #: It breaks in trial.
    ROLLED_BACK = "rolled-back"
    #: Another model is desired in mid-fetch, and committed.
    SUPERSEDED = "superseded"
    #: Committed, then nothing is desired any more.
    IDLE = "idle"


def prepare(folder: Path) -> list[Descriptor]:
    """A server with two published models, for the program below."""
    server = Server(folder)
    descriptors = []
    for version in (1, 2):
        artifact = tiny_artifact(version=version)
        descriptors.append(server.publish(artifact))
        (folder / f"artifact-{version}").write_bytes(artifact)
        (folder / f"descriptor-{version}").write_bytes(encode_value(descriptors[-1]))
    return descriptors


def install(folder: Path, ending: Ending) -> None:
    """Install what `prepare` published, from wherever an earlier process stopped, and say how it stands."""
    server = Server(folder)
    first, second = (decode_descriptor((folder / f"descriptor-{version}").read_bytes()) for version in (1, 2))
    for version in (1, 2):
        artifact = (folder / f"artifact-{version}").read_bytes()
        server.blobs[digest_bytes(artifact)] = artifact
    slow = ProbeVerdict(reason=Reason.PROBE, detail="too slow")
    device = Device(folder, server, probe=(lambda _path, _set: slow) if ending is Ending.FAILED else run_probe)
    device.desire(first, revision=1, digest=digest_bytes(b"smuggled") if ending is Ending.REJECTED else None)
    if ending is Ending.SUPERSEDED:
        device.desire(second, revision=2, installation="inst-2")
    device.settle()
    reports = device.numbered_reports()
    if device.updates.running().candidate is not None:
        device.infer(ok=ending is not Ending.ROLLED_BACK)
        device.settle()
        reports |= device.numbered_reports()
        device.acknowledge()
    device.settle()
    reports |= device.numbered_reports()
    if ending is Ending.IDLE:
        device.desire(None, revision=2)
        device.settle()
    said = {
        "state": device.state,
        "reason": device.updates.state().reason,
        "active": device.active,
        "reports": [report.state for report in reports.values()],
    }
    sys.stdout.buffer.write(msgspec.json.encode(said))
    device.close()


if __name__ == "__main__":
    install(Path(sys.argv[1]), Ending(sys.argv[2]))
