"""numpy brings no threads of its own into a process of the agent or the server."""

import os
import subprocess
import sys

import pytest

COMMANDS = {
    "device_agent.cli": ["--state", "{folder}", "status"],
    "fleet_server.cli": ["token", "--role", "viewer", "--name", "me", "--data", "{folder}"],
}
CODE = (
    "import os, sys, importlib; importlib.import_module(sys.argv[1]).main(sys.argv[2:]); import numpy;"
    " print(len(os.listdir('/proc/self/task')))"
)


def threads_with_numpy(module, folder, **environment):
    arguments = [word.format(folder=folder) for word in COMMANDS[module]]
    inherited = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, module, *arguments],
        capture_output=True, check=True, env=inherited | environment, timeout=60,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.parametrize("module", COMMANDS)
def test_a_process_has_one_thread_after_it_loaded_numpy(module, tmp_path):
    assert threads_with_numpy(module, tmp_path) == 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one core there is one thread anyway")
def test_what_the_owner_of_the_machine_set_stays(tmp_path):
    assert threads_with_numpy("device_agent.cli", tmp_path, OPENBLAS_NUM_THREADS="2") == 2
