"""One process of a kind per data folder; a second one is refused as long as the first lives.

The lock is the kernel's (flock(2)), so nothing is left behind by a process that was killed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from edgeops.errors import ConfigError
from fleet_server.config import ServerConfig


@contextmanager
def alone(config: ServerConfig, process: str) -> Iterator[None]:
    """Be the only `process` on this data folder.

    Raises:
        ConfigError: another one runs.
    """
    config.db.mkdir(parents=True, exist_ok=True)
    handle = os.open(config.db / f"{process}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another {process} process runs on {config.data}; stop it first") from error
        yield
    finally:
        os.close(handle)
