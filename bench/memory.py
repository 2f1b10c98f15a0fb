"""The agent's resident memory over the bare runtime, at work with two deployments, after an update."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.golden.tiny import tiny_artifact
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

BAR_MIB = 35.0
#: Ten minutes of a sensor at 50 Hz, in one; EDGEOPS_BENCH_SECONDS lets it run longer.
SECONDS = float(os.environ.get("EDGEOPS_BENCH_SECONDS", "60"))
RATE_HZ = 500.0
SECOND_DEPLOYMENT = "meter-backup"
FILE_ROWS = 10_000

_BARE = """
import sys, numpy
from pathlib import Path
from edgeops.model.runtime import load_interpreter
interpreter = load_interpreter(Path(sys.argv[1]))
detail = interpreter.get_input_details()[0]
interpreter.set_tensor(detail["index"], numpy.zeros(detail["shape"], detail["dtype"]))
interpreter.invoke()
import resource
print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
"""


def measure() -> dict[str, Any]:
    """Resident bytes of the agent process minus those of a process that only runs the model."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder) / "site")
        try:
            resident, rows = _agent_bytes(rig)
        finally:
            rig.close()
        artifact = Path(folder) / "model.tflite"
        artifact.write_bytes(tiny_artifact())
        bare = int(subprocess.check_output([sys.executable, "-c", _BARE, str(artifact)], stderr=subprocess.DEVNULL))
    over_mib = (resident - bare) / 2**20
    return {
        "name": "memory",
        "value": round(over_mib, 1),
        "unit": "MiB",
        "baseline": round(bare / 2**20, 1),
        "bar": f"<= {BAR_MIB:.0f} MiB",
        "holds": over_mib <= BAR_MIB,
        "inside": (
            f"resident memory of the agent process ({resident / 2**20:.1f} MiB) after {SECONDS:.0f} s with two "
            f"deployments at {RATE_HZ:.0f} rows/s each ({rows:,} rows) and one update of a running model, "
            "minus baseline: a Python process with numpy, the runtime and the same model after one inference"
        ),
    }


def _agent_bytes(rig: Rig) -> tuple[int, int]:
    first, first_target = rig.server.publish_model(version=1)
    second, second_target = rig.server.publish_model(version=2)
    # One file, again and again: a replayed file is in memory, and how long this row runs must not change its size.
    rig.play(FILE_ROWS, rate_hz=RATE_HZ, loop=True)
    rig.play(FILE_ROWS, deployment=SECOND_DEPLOYMENT, rate_hz=RATE_HZ, loop=True)
    rig.start_agent()
    rig.server.desire(1, (DEPLOYMENT, first, first_target), (SECOND_DEPLOYMENT, first, first_target))
    for name in (DEPLOYMENT, SECOND_DEPLOYMENT):
        eventually(lambda name=name: rig.committed(first, name), what=f"{name} is installed")
    started = time.monotonic()
    time.sleep(SECONDS / 2)
    rig.server.desire(2, (DEPLOYMENT, second, second_target), (SECOND_DEPLOYMENT, first, first_target))
    eventually(lambda: rig.committed(second), what="the update")
    time.sleep(max(0.0, SECONDS - (time.monotonic() - started)))
    status = rig.status()
    return status["resident_bytes"], sum(item["source_rows"] for item in status["deployments"])
