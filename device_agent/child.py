"""What every child process of the agent does first: die with its parent, keep to its memory, then its work.

    python -P -m device_agent.child PARENT_PID MEMORY_BYTES MODULE [ARGUMENT ...]

It runs MODULE as `python -m MODULE` would. Doing this in the child itself, and not between fork and exec, is safe
in a parent with threads.
"""

import os
import resource
import runpy
import sys

from edgeops.parent import end_with


def command(module: str, *arguments: str, memory_bytes: int = 0) -> list[str]:
    """The command line of a child; `memory_bytes` limits its address space, 0 = no limit."""
    return [sys.executable, "-P", "-m", __name__, str(os.getpid()), str(memory_bytes), module, *arguments]


def main() -> None:
    """Run as a child process; see the module's docstring."""
    parent, memory_bytes, module, *arguments = sys.argv[1:]
    end_with(int(parent))
    if int(memory_bytes):
        resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
