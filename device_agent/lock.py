"""One agent per state folder: a lock that the kernel drops when the process ends, however it ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeops.errors import ConflictError


@contextmanager
def only_agent(path: Path) -> Iterator[None]:
    """Hold `path` (agent.pid) and write this process's id into it.

    Raises:
        ConflictError: another agent runs here.
    """
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(handle, 32).decode(errors="replace").strip()
            raise ConflictError(f"an agent (process {pid}) runs in {path.parent} already; stop it first") from error
        # Who holds it is for people; a disk that does not take it is no reason not to run.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """For reading where the disk is read-only: flock(2) asks for no more."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
