"""The fleet that is killed: a site with a real broker, three versions of a model, and what lies on its devices' disks."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from device_agent.control import ask
from device_agent.feed import Checkpoint
from device_agent.store.slots import Slots
from device_agent.store.spool import Spool
from edgeops.api.shapes import Installation
from edgeops.errors import EdgeOpsError, UnreachableError
from edgeops.local import processes
from edgeops.local.up import Agent, Site
from edgeops.protocol.messages import Presence
from edgeops.update.update import Update
from tests.golden.tiny import COLUMNS, LABELS, tiny_rows

MODEL = "pump"
DEPLOYMENT = "pump-1"
#: Never has an input, so nothing commits there.
SPARE = "spare"
#: Rows a device has to play; more than it can in any run.
ROWS = 500_000
RATE_HZ = 50
#: Two to change between, and one whose descriptor is forged.
GOOD = (1, 2)
FORGED = 3
VARIANT = "int8"


@dataclass(frozen=True)
class Device:
    """One device of the fleet, seen from its disk."""

    agent: Agent

    @property
    def id(self) -> str:
        return self.agent.device_id

    @property
    def pid(self) -> int:
        return self.agent.child.pid

    def folder(self, deployment: str = DEPLOYMENT) -> Path:
        return self.agent.state / "deployments" / deployment

    def update(self, deployment: str = DEPLOYMENT) -> Update | None:
        """What was persisted last; None before there is anything."""
        try:
            return msgspec.json.decode((self.folder(deployment) / "update.json").read_bytes(), type=Update)
        except FileNotFoundError:
            return None

    def slots(self) -> Slots:
        """Its models, as they lie there now."""
        return Slots(self.folder())

    def forget_targets(self) -> None:
        """Lose what TUF vouched for earlier; its agent must not run."""
        for file in (self.agent.state / "trust" / "targets").iterdir():
            file.unlink()


class Fleet:
    """The site, its model and its devices."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.client = site.client
        self.devices = [Device(agent) for agent in site.agents]
        self._folder = folder
        self.digests: dict[int, str] = {}
        self._forged: dict[Path, bytes] = {}

    def prepare(self) -> None:
        """Train and publish the versions, and let the devices play their files."""
        table = self._folder / "pump.csv"
        rows, classes = tiny_rows(400)
        lines = [",".join(map(str, [*row, LABELS[one]])) for row, one in zip(rows.tolist(), classes, strict=True)]
        table.write_text("\n".join([",".join([*COLUMNS, "colour"]), *lines]) + "\n")
        self._job(self.client.import_dataset(table, name=MODEL, label="colour").id)
        for version in (*GOOD, FORGED):
            self._job(self.client.train(MODEL, MODEL, seed=version).id)
            self._job(self.client.publish(MODEL, version).id)
            [artifact] = [one for one in self.client.version(MODEL, version).artifacts if one.variant == VARIANT]
            self.digests[version] = artifact.digest
        file = self._folder / "rows.npz"
        np.savez(file, X=tiny_rows(ROWS)[0], columns=np.array(COLUMNS))
        for device in self.devices:
            self._agent_command(
                device, "replay", file, "--deployment", DEPLOYMENT, "--rate", str(RATE_HZ), "--once",
                "--predictions", "off",
            )  # fmt: skip
            self._agent_command(device, "replay", file, "--deployment", SPARE, "--once")
            self.stop_source(device, SPARE)

    def newcomer(self) -> int:
        """The good version that the fewest devices run: a rollout asks only those that do not run it."""
        active = [device.slots().pointer.active for device in self.devices]
        return min(GOOD, key=lambda version: active.count(self.digests[version]))

    def hold(self, device: Device, deployment: str) -> None:
        self._agent_command(device, "hold", deployment, "--reason", "chaos")

    def release(self, device: Device, deployment: str) -> None:
        self._agent_command(device, "release", deployment)

    def forge_target(self, version: int) -> None:
        """Change a signed descriptor where the server keeps it."""
        for file in (self.site.data / "repository/targets/models" / MODEL).glob(f"*.{version}-{VARIANT}.json"):
            self._forged.setdefault(file, file.read_bytes())
            file.write_bytes(self._forged[file].replace(b'"version"', b'"Version"'))

    def mend_targets(self) -> None:
        """Undo all forgery."""
        for file, content in self._forged.items():
            file.write_bytes(content)
        self._forged.clear()

    def installations(self, rollout: str) -> list[Installation]:
        return list(self.client.installations(rollout))

    def rows_counted(self, device: Device) -> int:
        """Source rows in windows that the server holds."""
        return sum(hour.source_rows for hour in self.client.hourly_telemetry(device.id, deployment=DEPLOYMENT))

    def rows_by_digest(self, device: Device) -> Counter[str]:
        """The same of all deployments, by what answered."""
        rows: Counter[str] = Counter()
        for hour in self.client.hourly_telemetry(device.id):
            rows[hour.digest] += hour.source_rows
        return rows

    def rows_played(self, device: Device) -> int:
        """How far the device has come in its file, by its own durable note; its agent must not run."""
        with _opened(device.agent.state / "spool.db") as spool:
            stored = spool.checkpoint(DEPLOYMENT)
            return 0 if stored is None else msgspec.msgpack.decode(stored, type=Checkpoint).position

    def pending(self, device: Device) -> int:
        """Records that wait on a device for the server's ack, as its agent says."""
        said: int = ask(device.agent.state / "agent.sock", {"do": "status"})["pending_records"]
        return said

    def is_in_contact(self, device: Device) -> bool:
        """Whether its agent says so, and the server."""
        try:
            says = ask(device.agent.state / "agent.sock", {"do": "status"})["connected"]
        except UnreachableError:
            return False
        return bool(says) and self.client.device(device.id).presence == Presence.ONLINE

    def stop_source(self, device: Device, deployment: str = DEPLOYMENT) -> None:
        self._agent_command(device, "stop", "--deployment", deployment)

    def _job(self, job_id: str) -> None:
        job = self.client.wait_job(job_id)
        if job.error:
            raise EdgeOpsError(f"{job.kind}: {job.error}")

    def _agent_command(self, device: Device, *words: str | Path) -> None:
        command = processes.python("device_agent.cli", "--state", device.agent.state, *words)
        child = processes.start(f"{device.agent.name}.command", command, logs=self.site.logs)
        processes.wait_until_done(child, timeout_s=60.0)


@contextmanager
def _opened(file: Path) -> Iterator[Spool]:
    spool = Spool.open(file)
    try:
        yield spool
    finally:
        spool.close()


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
