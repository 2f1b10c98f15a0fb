"""A process that asked for it ends with its parent."""

import subprocess
import sys

from tests.unit.test_local_processes import is_alive, wait_until

WAITING = (
    "import sys, time; from edgeops.parent import end_with; end_with(int(sys.argv[1]));"
    " print('bound', flush=True); time.sleep(60)"
)
PARENT = (
    "import os, subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {WAITING!r}, str(os.getpid())], stdout=subprocess.PIPE)\n"
    "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
)


def test_a_process_that_bound_itself_later_ends_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child))


def test_a_process_whose_parent_has_gone_already_ends_at_once():
    gone = subprocess.run([sys.executable, "-c", WAITING, "1"], capture_output=True, timeout=30, check=False)
    assert gone.returncode == 1
    assert gone.stdout == b""
