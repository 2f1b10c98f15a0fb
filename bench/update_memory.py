"""The daemon's resident memory while it fetches 10 MB and probes them, over what it was before; the child apart."""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from edgeops.artifact.package import open_artifact, package
from tests.golden.tiny import tiny_artifact, tiny_tflite
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

#: Set from the first measurements: the block list, the blocks in flight, the descriptor's metadata, and a margin.
BAR_MIB = 12.0
ARTIFACT_BYTES = 10 * 1024 * 1024
RATE_HZ = 200.0
_LOOK_S = 0.01


def measure() -> dict[str, Any]:
    """Peak of the daemon during one update minus its memory right before; children by themselves."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder) / "site")
        try:
            before, peak, children = _update(rig)
        finally:
            rig.close()
    over_mib = (peak - before) / 2**20
    return {
        "name": "update_memory",
        "value": round(over_mib, 1),
        "unit": "MiB",
        "baseline": round(before / 2**20, 1),
        "bar": f"<= {BAR_MIB:.0f} MiB",
        "holds": over_mib <= BAR_MIB,
        "inside": (
            f"peak resident memory of the agent process ({peak / 2**20:.1f} MiB), looked at every "
            f"{1000 * _LOOK_S:.0f} ms from the desired state of {ARTIFACT_BYTES / 2**20:.0f} MiB, fetched"
            f" in blocks over MQTT, to its commit, minus baseline: the same process with the model before, at "
            f"{RATE_HZ:.0f} rows/s; its children (TUF client, probe) apart: {children / 2**20:.1f} MiB at most"
        ),
    }


def _update(rig: Rig) -> tuple[int, int, int]:
    first, first_target = rig.server.publish_model(version=1)
    second, second_target = _publish_large(rig)
    rig.play(2_000, rate_hz=RATE_HZ, loop=True)
    rig.start_agent()
    rig.server.desire(1, (DEPLOYMENT, first, first_target))
    eventually(lambda: rig.committed(first), what="the first model")
    time.sleep(5.0)
    before = _resident(rig.agent.pid)
    watch = _Watch(rig.agent.pid)
    rig.server.desire(2, (DEPLOYMENT, second, second_target))
    eventually(lambda: rig.committed(second), what="the update")
    return before, *watch.end()


class _Watch:
    """Looks at a process and its children until `end`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = self._children = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> tuple[int, int]:
        self._ending.set()
        self._thread.join()
        return self._peak, self._children

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_S):
            self._peak = max(self._peak, _resident(self._pid))
            self._children = max(self._children, sum(map(_resident, _children(self._pid))))


def _publish_large(rig: Rig) -> tuple[str, str]:
    """The small model with random bytes between it and its zip: how much is fetched counts here, not how it answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tiny_artifact(version=2))
        like = open_artifact(path)
    tflite = tiny_tflite() + os.urandom(ARTIFACT_BYTES)
    data = package(tflite, like.manifest, reference=like.reference, golden=like.golden, card=like.card)
    published: tuple[str, str] = rig.server.publish_artifact(data)
    return published


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found
