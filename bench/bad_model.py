"""`edgeops demo --scenario bad-model`: how long a person waits to see a bad model stopped by its canary."""

import json
import subprocess
import sys
import time
from typing import Any

BAR_S = 90.0


def measure() -> dict[str, Any]:
    """The whole command, from its start to its end."""
    began = time.monotonic()
    command = [sys.executable, "-m", "edgeops.cli.entry", "demo", "--scenario", "bad-model", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - began
    told = json.loads(ended.stdout)
    stopped = told["stopped_in_wave"] == 1 and told["devices"]["restored"] == told["devices"]["all"]
    return {
        "name": "bad_model",
        "value": round(seconds, 1),
        "unit": "s",
        "baseline": None,
        "bar": f"<= {BAR_S:g} s",
        "holds": stopped and seconds <= BAR_S,
        "inside": "wall time of the command: both models are trained, server, broker and three agents started, the good"
        " model rolled out, the bad one offered to the canary, stopped, taken back, and all of it ended",
    }
