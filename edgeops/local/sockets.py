"""Who listens on a port of this machine, as the kernel tells it (proc(5): `net/tcp`, `PID/stat`, `PID/fd`).

That somebody answers on a port is no proof: another program may have taken it since it was found free. It opens
no connection.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_TABLES = (_PROC / "net/tcp", _PROC / "net/tcp6")
#: TCP_LISTEN, as the tables spell it.
_LISTEN = "0A"


def listens(session: int, port: int) -> bool:
    """Whether a process of this session (setsid(2)) listens on this TCP port, of whatever address."""
    sockets = set(_listening(port))
    return bool(sockets) and any(not sockets.isdisjoint(_files(pid)) for pid in _processes(session))


def _listening(port: int) -> Iterator[str]:
    """The sockets that listen on a port, as links in `PID/fd` name them."""
    for table in _TABLES:
        with suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"


def _processes(session: int) -> Iterator[Path]:
    """The processes of a session that run."""
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            # The name, in brackets, may hold anything.
            state = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(state[3]) == session:
                yield process


def _files(process: Path) -> Iterator[str]:
    """What a process has open."""
    with suppress(OSError):
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(file.readlink())
