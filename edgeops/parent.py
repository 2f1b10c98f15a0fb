"""A process that ends with its parent, however that one ends (`PR_SET_PDEATHSIG`, prctl(2)).

It starts nothing. The signal comes when the THREAD that forked ends, so whoever starts a child that shall live
as long as the process does it in the main thread.
"""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec only bare system calls are made.
_LIBC = ctypes.CDLL(None)


def end_with(parent: int) -> None:
    """Let the kernel end this process (SIGKILL) when its parent is gone, also when that went before this call.

    Args:
        parent: the process id that the parent itself knows. For a child between fork and exec, or any time later.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before prctl took effect; then nobody would send the signal.
    if os.getppid() != parent:
        os._exit(1)
