"""Processes as the system sees them, and the end of one."""

import os
import signal
import time
from pathlib import Path

_GONE_S = 10.0


def is_stopped(pid: int) -> bool:
    """Whether the process stands still; proc_pid_stat(5), field 3."""
    return _state(pid) == "T"


def command_line(pid: int) -> list[str]:
    """What the system says that it was started with; nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def kill(pid: int, *, of: str) -> None:
    """SIGKILL, and wait until it is dead; `of` must stand in its command line, so that nobody else is hit."""
    assert any(of in word for word in command_line(pid)), f"pid {pid} is not of {of}"
    os.kill(pid, signal.SIGKILL)
    until_s = time.monotonic() + _GONE_S
    while _state(pid) not in {"", "Z"}:
        assert time.monotonic() < until_s, f"pid {pid} outlives SIGKILL"
        time.sleep(0.002)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
