"""Runs the server's own `backup` and `restore` on this machine, as `edgeops up` runs its processes.

What is copied, verified and signed is the server's business (`fleet_server.backup`).
"""

import os
import subprocess
from pathlib import Path

from edgeops.local import processes


def run(verb: str, place: Path, data: Path, *options: str) -> int:
    """Run it with this terminal, and return its exit code."""
    command = processes.python("fleet_server.cli", verb, place, "--data", data, *options)
    return subprocess.run(command, env={**os.environ, "PYTHONSAFEPATH": "1"}, check=False).returncode
