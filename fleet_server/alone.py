"""One process of a kind at a time.

Where the tables are files in the data folder, a second one is refused as long as the first lives; the lock is the
kernel's (flock(2)), so nothing is left behind by a process that was killed. On a shared database the second one waits
for the lease of the first (`fleet_server.db.leases`), which ends with it, or LEASE_LIFE after it was last heard of. A
process that another one took the lease from writes nothing more: each of its writes begins with a look at the lease.
"""

import fcntl
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edgeops import limits
from edgeops.errors import ConfigError, LeaseError
from fleet_server.config import ServerConfig
from fleet_server.db import leases
from fleet_server.db.database import Connection, Database, is_outage
from fleet_server.db.leases import Lease

_log = logging.getLogger(__name__)


@contextmanager
def alone(config: ServerConfig, database: Database, process: str, stop: threading.Event) -> Iterator[bool]:
    """Be the only `process`; false = `stop` was set before its turn came.

    `stop` is set when another one has taken its place.

    Raises:
        ConfigError: another one runs on this data folder.
        LeaseError: another one took its place.
    """
    if not database.is_shared:
        with _locked(config, process):
            yield True
        return
    holder = f"{socket.gethostname()}:{os.getpid()}"
    lease = _waited_for(database, process, holder, stop)
    if lease is None:
        yield False
        return
    _log.info("%s.took-lease holder=%s token=%d", process, holder, lease.token)
    with _kept(database, lease, stop):
        yield True


@contextmanager
def _locked(config: ServerConfig, process: str) -> Iterator[None]:
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


def _waited_for(database: Database, process: str, holder: str, stop: threading.Event) -> Lease | None:
    told: str | None = None
    while not stop.is_set():
        try:
            with database.read() as connection:
                last, now = leases.get(connection, process), leases.clock(connection)
            if last is None or now >= last.until:
                with database.write() as connection:
                    now = leases.clock(connection)
                    lease = leases.take(connection, process, holder=holder, now=now, life=limits.LEASE_LIFE)
                if lease is not None:
                    return lease
            elif last.holder != told:
                told = last.holder
                _log.info("%s.waits holder=%s", process, told)
        except Exception as error:
            # The border between waiting and the database: without it nobody has a turn.
            if not is_outage(error):
                raise
            _log.warning("%s.waits error=%s", process, error)
        stop.wait(limits.LEASE_LOOK_EVERY.total_seconds())
    return None


@contextmanager
def _kept(database: Database, lease: Lease, stop: threading.Event) -> Iterator[None]:
    """Renew a lease beside what its holder does, and give it back at the end; `stop` is set when it is lost."""
    ended = threading.Event()
    lost: list[LeaseError] = []

    def check(connection: Connection) -> None:
        try:
            leases.require(connection, lease)
        except LeaseError as error:
            lost.append(error)
            stop.set()
            raise

    def keep() -> None:
        while not lost and not ended.wait(limits.LEASE_RENEWED_AFTER.total_seconds()):
            with _told(lease, "not-renewed"), database.write() as connection:
                leases.renew(connection, lease, now=leases.clock(connection), life=limits.LEASE_LIFE)

    database.fence(check)
    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        if not lost:
            with _told(lease, "not-given-back"), database.write() as connection:
                leases.give_back(connection, lease, now=leases.clock(connection))
    if lost:
        raise lost[0]


@contextmanager
def _told(lease: Lease, what: str) -> Iterator[None]:
    """The border to the database: while it is away nobody else can take the lease either."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        _log.warning("%s.lease-%s error=%s", lease.name, what, error)
