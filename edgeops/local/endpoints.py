"""Where a server of this machine keeps its data, and how to reach it.

Reads and writes `<data>/run/endpoints.json`, picks free ports and holds the folder's lock. It starts
nothing and opens no connection.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgeops.digest import write_atomically
from edgeops.errors import ConfigError, ConflictError

LOOPBACK = "127.0.0.1"
#: Names another data folder than the default one.
VARIABLE = "EDGEOPS_DATA"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where the api and the broker of one `edgeops up` listen, and its process id."""

    url: str
    broker_host: str
    broker_port: int
    pid: int

    @property
    def api_port(self) -> int:
        """The port inside `url`."""
        return int(self.url.rpartition(":")[2])


def default_data() -> Path:
    """The data folder: `$EDGEOPS_DATA`, else the XDG one."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    share = os.environ.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local/share") / "edgeops"


def read_endpoints(data: Path) -> Endpoints | None:
    """What the last `edgeops up` in this folder said; None when there was none.

    Raises:
        ConfigError: the file is there and cannot be read.
    """
    path = _endpoints_file(data)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}; remove it and start `edgeops up` again") from error


def write_endpoints(data: Path, endpoints: Endpoints) -> None:
    """Tell the other commands of this machine where the server is."""
    write_atomically(_endpoints_file(data), msgspec.json.format(msgspec.json.encode(endpoints)) + b"\n")


def make_folder(data: Path) -> None:
    """Make the data folder, for its owner only.

    Raises:
        ConfigError: it cannot be made, or nothing can be written into it.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the data folder {data}: {error.strerror}; name another with --data or {VARIABLE}"
        ) from error
    if not os.access(data, os.W_OK | os.X_OK):
        raise ConfigError(
            f"cannot write into the data folder {data}; change its rights, or name another with --data or {VARIABLE}"
        )


def keys_folder(data: Path) -> Path:
    """Where the private keys of that server lie."""
    return data / "keys"


def repository_folder(data: Path) -> Path:
    """Its TUF repository."""
    return data / "repository"


def authorities_file(data: Path) -> Path:
    """The CAs of that server, when it speaks TLS."""
    return data / "tls/ca.pem"


def certificate_file(data: Path) -> Path:
    """What that server shows over TLS: its private key, its certificate and its CA's."""
    return data / "tls/server.pem"


def admin_token_file(data: Path) -> Path:
    """Where the first administrator's token lies (mode 0600)."""
    return data / "keys/admin.token"


def free_port(wish: int | None = None) -> int:
    """`wish` when nobody listens there, else a port that was free a moment ago."""
    for port in (wish, 0) if wish else (0,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do, so that a port in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError("no free port on 127.0.0.1")


@contextmanager
def exclusive(data: Path) -> Iterator[None]:
    """Hold the data folder for this process; the lock goes with the process, however it ends.

    Raises:
        ConflictError: another process holds it.
    """
    run = data / "run"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ConflictError(
                f"{data} is in use by process {holder}; stop that `edgeops up` first, or choose another --data"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _endpoints_file(data: Path) -> Path:
    return data / "run/endpoints.json"
