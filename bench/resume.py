"""Bytes that come again after a device was killed in mid-download, and went on."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

from bench._blobs import MIB, site
from edgeops import limits
from edgeops.artifact.blockplan import BlockMap
from edgeops.artifact.manifest import encode_value
from tests.integration.fetch_rig import Fetcher, ask_until, enrol, start_api, stock

SIZE = 6 * MIB
RATE = 4 * MIB
#: Killed when so many blocks were durable, as the map says.
DURABLE = (16, 96)


def measure() -> dict[str, Any]:
    """Bytes after the resume minus those missing then, the worst of both ways and two places."""
    worst, told = 0, []
    with site(block_rate=RATE, device_rate=RATE) as rig:
        url = start_api(rig, device_rate=RATE)
        try:
            for number, durable in enumerate(DURABLE):
                # Above RANGES_ABOVE_BYTES a blob comes in ranges where there is a server for them.
                for place, (way, server) in enumerate((("blocks", None), ("ranges", url))):
                    descriptor, data = stock(rig, SIZE, seed=1 + 2 * number + place)
                    again = _killed(rig, descriptor, data, server, durable, way=f"{way}-{durable}")
                    worst = max(worst, again)
                    told.append(f"{way} after {durable}: {again}")
        finally:
            rig.api.terminate()
            rig.api.wait()
    bar = limits.BLOCK_WINDOW * limits.BLOCK_BYTES
    return {
        "name": "resume",
        "value": worst,
        "unit": "B",
        "baseline": SIZE,
        "bar": f"<= {bar:,} B",
        "holds": worst <= bar,
        "inside": (
            f"bytes of a blob of {SIZE:,} B that arrived after a SIGKILL and a new start, minus those of blocks that "
            f"the file lacked at the kill; at most what was in flight (8 blocks) may come again; {', '.join(told)}; "
            f"real mosquitto, link and API at {RATE // MIB} MiB/s"
        ),
    }


def _killed(rig: Any, descriptor: Any, data: bytes, server: str | None, durable: int, *, way: str) -> int:
    folder = rig.folder / way
    (identity,) = enrol(rig, 1, folder / "keys")
    (folder / "descriptor").write_bytes(encode_value(descriptor))
    job = {"port": rig.config.broker_port, "server": server, "folder": str(folder), "devices": [[*identity, 0.0]]}
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "tests.integration.fetch_rig", str(folder / "job.json")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
        ask_until(lambda: _mapped(folder) >= durable, what=f"{durable} durable blocks", seconds=60.0)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    missing = len(data) - _there(folder, data)
    fetcher = Fetcher(rig.config.broker_port, identity, folder / identity[0], server=server, boot=2)
    try:
        assert fetcher.born.wait(30.0)
        fetcher.fetch(descriptor)
    finally:
        fetcher.close()
    return fetcher.received_bytes - missing


def _there(folder: Any, data: bytes) -> int:
    """Bytes of right blocks in the unfinished file, whether or not the map knows them."""
    (file,) = folder.glob("*/*.part")
    part = file.read_bytes()
    cuts = [slice(at, at + limits.BLOCK_BYTES) for at in range(0, len(data), limits.BLOCK_BYTES)]
    return sum(len(data[cut]) for cut in cuts if data[cut] == part[cut])


def _mapped(folder: Any) -> int:
    """Blocks that the map on disk claims."""
    return max((BlockMap.from_bytes(file.read_bytes()).received for file in folder.glob("*/*.map")), default=0)
