"""Ctrl-C and `kill` end a command the way it wants to end."""

import subprocess
import sys

import pytest

_CAUGHT_INSIDE_EXEC = """
import signal
from edgeops.cli.up import end_on_signals
end_on_signals()
try:
    exec("signal.raise_signal(signal.{name}); [0 for _ in range(1000)]")
except KeyboardInterrupt:
    print("ended in order")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_that_was_caught_is_no_death_by_signal_wherever_it_fell(name):
    """Importing a module with a dataclass runs `exec`: a signal may well fall there."""
    ended = subprocess.run(
        [sys.executable, "-c", _CAUGHT_INSIDE_EXEC.format(name=name)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "ended in order\n"), ended.stderr


_LOST_IN_A_DESTRUCTOR = """
import signal
from edgeops.cli.up import end_on_signals
shall_end = end_on_signals()
class Dying:
    def __del__(self):
        signal.raise_signal(signal.{name})
Dying()
print(shall_end())
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_that_python_lost_is_still_known(name):
    ended = subprocess.run(
        [sys.executable, "-c", _LOST_IN_A_DESTRUCTOR.format(name=name)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "True\n"), ended.stderr
    assert "_Interrupted" in ended.stderr, "Python tells that it lost one"
