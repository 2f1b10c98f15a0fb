"""Asks TUF what may run, in a short-lived child process, and keeps the fleet keys it vouches for.

The child verifies (`edgeops.trust.client`), this side starts it, serves its needs through the link and bounds
its time. What an answer means for an update is decided in `device_agent.updates`.
"""

import logging
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from device_agent.child import command
from device_agent.clock import Clock
from device_agent.fetch import MetaFetch, never
from device_agent.store.aside import set_aside
from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import TrustError
from edgeops.trust import keyring
from edgeops.trust.frames import Ask, Failure, FailureKind, Result, converse
from edgeops.trust.keyring import FLEET_KEYS_TARGET

_log = logging.getLogger(__name__)

_CLIENT = "edgeops.trust.client"
_FLEET_KEYS_FILE = "fleet_keys.json"
#: How long a killed child may take to be gone.
_REAP_S = 10.0


@dataclass(frozen=True, slots=True)
class Listed:
    """Current metadata, verified."""

    #: Content of each target asked for; None = not listed.
    targets: Mapping[str, bytes | None]
    #: Length of every listed target.
    lengths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrustRefused:
    """Metadata that does not verify; nothing new may run because of it."""

    kind: FailureKind
    detail: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody could be asked, or the answer is incomplete; asking again may help."""

    detail: str


TrustOutcome = Listed | TrustRefused | Unreachable

#: Says nothing about what is listed: no contact, half a publication.
_PASSING = frozenset({FailureKind.TRANSPORT, FailureKind.MISSING})


class _SignedRoot(msgspec.Struct):
    version: int


class _Root(msgspec.Struct):
    """As much of metadata/root.json as is told to people."""

    signed: _SignedRoot


def root_version(folder: Path) -> int | None:
    """Of the root that this device verified last; None = none, or it cannot be read."""
    try:
        return msgspec.json.decode((folder / "metadata" / "root.json").read_bytes(), type=_Root).signed.version
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Trust:
    """The trust folder of a device; one child per question, one question at a time."""

    def __init__(self, folder: Path, meta: MetaFetch, clock: Clock) -> None:
        """Expiry is judged by `clock`, and `clock` is told what was verified."""
        self._folder = folder
        self._meta = meta
        self._clock = clock
        self._turn = threading.Lock()
        #: Questions that this machine's own trouble left without an answer, since this process started.
        self.failures = 0

    def check(
        self, targets: Sequence[str], *, cancelled: Callable[[], bool] = never, url: str | None = None
    ) -> TrustOutcome:
        """Refresh the metadata and get `targets`; for a worker thread, takes TRUST_TIMEOUT or so when its turn came.

        `url` is where the repository is served over HTTP, for a device without a connection to its broker. Expiry is
        then judged by the time that the server said: nothing is installed by what comes this way.
        """
        now = self._clock.now() if url is None else self._clock.present()
        ask = Ask(targets=tuple(targets), max_bytes=limits.MAX_METADATA_BYTES, now=int(now.timestamp()))

        def fetch(path: str) -> bytes | None:
            return self._meta.file(path, max_bytes=limits.MAX_METADATA_BYTES, cancelled=cancelled)

        try:
            with self._turn:
                answer = self._converse(ask, fetch, ["--url", url] if url else [])
        except (TrustError, OSError) as error:
            return self._failed(f"the trust child gave no answer: {error}")
        match answer:
            case Result():
                self._clock.verified(answer.expires)
                return Listed(targets=answer.targets, lengths=answer.listed)
            case Failure(kind=FailureKind.EXPIRED, detail=detail):
                return TrustRefused(FailureKind.EXPIRED, f"{detail}; {self._clock}")
            case Failure(kind=FailureKind.OTHER, detail=detail):
                return self._failed(detail)
            case Failure(kind=kind, detail=detail):
                return Unreachable(detail) if kind in _PASSING else TrustRefused(kind, detail)

    def _failed(self, detail: str) -> Unreachable:
        """Nothing is installed and nothing refused because of it; the owner shall see why."""
        self.failures += 1
        _log.warning("trust.failed", extra={"detail": detail})
        return Unreachable(detail)

    def _converse(self, ask: Ask, fetch: Callable[[str], bytes | None], more: Sequence[str]) -> Result | Failure:
        child = subprocess.Popen(
            command(_CLIENT, "--state", str(self._folder), *more), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        overdue = threading.Timer(limits.TRUST_TIMEOUT.total_seconds(), child.kill)
        overdue.start()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            return converse(child.stdin, child.stdout, ask=ask, fetch=fetch)  # type: ignore[arg-type]  # IO[bytes]
        finally:
            overdue.cancel()
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Close the pipes, which ends the child, and take its exit status."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    try:
        child.wait(_REAP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(_REAP_S)


class FleetKeys:
    """The keys that downlinks are verified with: the verified target `fleet/keys.json`, kept in the trust folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FLEET_KEYS_FILE
        self._lock = threading.Lock()
        self._keys: keyring.FleetKeys | None = None
        self._accepted = keyring.AcceptedKeys()
        #: Files set aside since this process started.
        self.damaged = 0
        try:
            self._take(keyring.decode_fleet_keys(self._file.read_bytes()))
        except FileNotFoundError:
            pass
        except (TrustError, OSError) as error:
            # As if there were none: the first downlink makes the agent ask for them.
            _log.warning("fleet-keys.damaged", extra={"error": error})
            self.damaged += 1
            set_aside(self._file)

    @property
    def accepted(self) -> keyring.AcceptedKeys:
        """Whom to listen to; nobody before they were learnt."""
        return self._accepted

    def store(self, target: bytes) -> bool:
        """Take in the content of the target, which TUF vouched for; whether the keys changed.

        Raises:
            TrustError: not a list of fleet keys.
            OSError: no space, or a write error.
        """
        keys = keyring.decode_fleet_keys(target)
        with self._lock:
            if keys == self._keys:
                return False
            # They count although the disk may not take them: TUF vouched for them, and does so again after a start.
            self._take(keys)
            write_atomically(self._file, target)
            return True

    def refresh(self, trust: Trust) -> bool:
        """Ask TUF through the link (for the worker thread, takes seconds); whether the keys changed.

        Raises:
            TrustError: what TUF lists is not a list of fleet keys.
            OSError: no space, or a write error.
        """
        outcome = trust.check([FLEET_KEYS_TARGET])
        content = outcome.targets[FLEET_KEYS_TARGET] if isinstance(outcome, Listed) else None
        return content is not None and self.store(content)

    def _take(self, keys: keyring.FleetKeys) -> None:
        self._keys, self._accepted = keys, keys.accepted()
