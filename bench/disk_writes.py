"""What an agent at its everyday work writes to its card in a day."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from device_agent.config import Deployment, Replay, write_deployment
from tests.golden.tiny import COLUMNS, tiny_rows
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

BAR_MB = 400.0
#: EDGEOPS_BENCH_SECONDS lets it look for longer.
SECONDS = float(os.environ.get("EDGEOPS_BENCH_SECONDS", "60"))
RATE_HZ = 100.0
FILE_ROWS = 10_000
_DAY_S = 86_400


def measure() -> dict[str, Any]:
    """Bytes that the kernel counts as sent to storage for the agent's process, as of a day."""
    # Not in a folder that may lie in memory: what is written there is written nowhere.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".disk-writes-") as folder:
        rig = Rig(Path(folder) / "site")
        try:
            written, calls = _written(rig)
        finally:
            rig.close()
    megabytes = written / SECONDS * _DAY_S / 1e6
    return {
        "name": "disk_writes",
        "value": round(megabytes),
        "unit": "MB/day",
        "baseline": round(calls / SECONDS * _DAY_S / 1e6),
        "bar": f"<= {BAR_MB:,.0f} MB/day",
        "holds": 0 < megabytes <= BAR_MB,
        "inside": (
            f"write_bytes of /proc/<agent>/io over {SECONDS:.0f} s at {RATE_HZ:.0f} rows/s of four columns with "
            "default settings (windows of 500 rows, one prediction a second), connected to a server that acknowledges, "
            "extrapolated to a day: pages of files that the agent made dirty, each counted once per write to storage; "
            "what the file system writes of its own accord (journal, inodes) and what the card's controller makes of "
            "it come on top. Baseline: what the agent passed to write calls of any kind, sockets and log included "
            "(wchar)"
        ),
    }


def _written(rig: Rig) -> tuple[int, int]:
    digest, target = rig.server.publish_model()
    file = rig.folder / "rows.csv"
    rows = tiny_rows(FILE_ROWS)[0].tolist()
    file.write_text("\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]) + "\n")
    order = Replay(file=str(file), run="bench", loop=True, rate_hz=RATE_HZ)
    write_deployment(rig.state, DEPLOYMENT, Deployment(source=order))
    rig.start_agent()
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    eventually(lambda: rig.committed(digest), what="the model is installed")
    time.sleep(6.0)
    before = _io(rig.agent.pid)
    time.sleep(SECONDS)
    after = _io(rig.agent.pid)
    return after["write_bytes"] - before["write_bytes"], after["wchar"] - before["wchar"]


def _io(pid: int) -> dict[str, int]:
    """proc_pid_io(5)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}
