"""Ports for servers of tests: each is handed out once, whatever else runs on this machine.

They lie below those that the kernel gives to connections, so that none of the many of a test run takes one between the
look and the listening. Other test processes, of this run or another, keep away by a lock per port, which ends with the
process that holds it.
"""

import fcntl
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

_FIRST = 10_000
_LOCKS = Path(tempfile.gettempdir()) / f"edgeops-test-ports-{os.getuid()}"
#: Locked files by port; they stay open as long as this process lives.
_held: dict[int, int] = {}


def free_port() -> int:
    """One that nobody listens on and no other test was or will be given while this process lives."""
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    ports = range(_FIRST, _first_of_connections())
    # Not by the test's own randomness: two runs with one seed shall not look at the same ports first.
    begin = secrets.randbelow(len(ports))
    for port in (*ports[begin:], *ports[:begin]):
        if port not in _held and is_free(port) and _lock(port):
            return port
    raise AssertionError(f"no free port of {ports} is left for tests; which other programs listen there?")


def _lock(port: int) -> bool:
    lock = os.open(_LOCKS / str(port), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _held[port] = lock
    return True


def is_free(port: int, *, again: bool = False) -> bool:
    """Whether nobody listens there, also not on all addresses, nor, unless it is taken `again`, a moment ago (TIME_WAIT)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, again)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _first_of_connections() -> int:
    with suppress(OSError):
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return 49_152  # RFC 6335, where the system does not say
