"""Every type of ours can be learnt by the process that uses it, when it starts; that threads are safe then, chaos shows."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["device_agent.agent", "fleet_server.link.run", "fleet_server.jobs", "fleet_server.app"]
)
def test_all_types_of_a_process_can_be_learnt_at_its_start(module):
    program = f"import {module}; from edgeops.structs import learn_all; learn_all()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
