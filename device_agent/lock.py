"""One agent per state folder: a lock that the kernel drops when the process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeops.errors import ConflictError


@contextmanager
def only_agent(path: Path) -> Iterator[None]:
    """Hold `path` (agent.pid) and write this process's id into it.

    Raises:
        ConflictError: another agent runs here.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(handle, 32).decode(errors="replace").strip()
            raise ConflictError(f"an agent (process {pid}) runs in {path.parent} already; stop it first") from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)
