"""The TUF repository of a fleet: what may run is what its current metadata lists.

Writes metadata and target files below one folder, with consistent snapshots, so that a reader never
sees half a change and a crash leaves the state before or after it. It does not decide what deserves
to be listed, and it fetches nothing; the four roles may sign on different machines.
"""

import fcntl
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edgeops import limits
from edgeops.digest import sync_folder, write_atomically
from edgeops.errors import ConfigError, InputError, TrustError
from edgeops.protocol.keys import SigningKey, read_private_key, write_private_key

ROLES = (Root.type, Targets.type, Snapshot.type, Timestamp.type)

_LIFE: dict[str, timedelta] = {
    Root.type: limits.ROOT_LIFE,
    Targets.type: limits.TARGETS_LIFE,
    Snapshot.type: limits.SNAPSHOT_LIFE,
    Timestamp.type: limits.TIMESTAMP_LIFE,
}
#: A reader that began with an older snapshot can still end its refresh.
_KEPT_VERSIONS = 16
_TARGET_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_VERSIONED = re.compile(r"([1-9][0-9]*)\.(targets|snapshot)\.json")


@dataclass(frozen=True, slots=True)
class Listed:
    """One listed target file."""

    length: int
    #: 64 hex characters.
    sha256: str


@dataclass(frozen=True, slots=True)
class _Current:
    """The metadata that `timestamp.json` leads to."""

    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]


class Repository:
    """One repository folder and the signers that are at hand, by role."""

    def __init__(self, folder: Path, signers: Mapping[str, Signer]) -> None:
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"
        self._lock_file = folder / ".lock"
        self._signers = signers

    @classmethod
    def create(cls, folder: Path, keys_folder: Path, now: datetime) -> Self:
        """Make keys and first metadata where they are missing; harmless to repeat.

        Keys are `root.pem`, `targets.pem`, `snapshot.pem` and `timestamp.pem` in `keys_folder`.
        """
        for part in (folder / "metadata", folder / "targets", keys_folder):
            part.mkdir(parents=True, exist_ok=True)
        keys_folder.chmod(0o700)
        for role in ROLES:
            path = keys_folder / f"{role}.pem"
            if not path.exists():
                write_private_key(path, SigningKey.generate())
        repository = cls(folder, signers_in(keys_folder))
        with repository._alone():
            if not repository._timestamp_path.exists():
                repository._write_first(now)
        return repository

    @classmethod
    def open(cls, folder: Path, keys_folder: Path) -> Self:
        """Use an existing repository with whatever keys `keys_folder` holds.

        Raises:
            ConfigError: there is no repository in `folder`.
        """
        repository = cls(folder, signers_in(keys_folder))
        if not repository._timestamp_path.exists():
            raise ConfigError(f"no TUF repository in {folder}; run edgeops-server init for this data folder")
        return repository

    def publish(self, targets: Mapping[str, bytes], now: datetime) -> None:
        """List `targets` (path -> content), new or replaced; nothing happens when all are listed already.

        Raises:
            InputError: a path that is no target path.
            ConfigError: the key of a role is not on this machine.
        """
        for path in targets:
            if _TARGET_PATH.fullmatch(path) is None:
                raise InputError(f"not a target path: {path[:120]!r}; use lower-case names, digits and . _ - /")
        files = {path: TargetFile.from_data(path, content, ["sha256"]) for path, content in targets.items()}
        with self._alone():
            current = self._load()
            changed = {path: file for path, file in files.items() if current.targets.signed.targets.get(path) != file}
            if not changed:
                return
            for path, file in changed.items():
                self._write_target(file, targets[path])
            current.targets.signed.targets.update(changed)
            self._write_from_targets(current, now)

    def withdraw(self, paths: Collection[str], now: datetime) -> tuple[str, ...]:
        """Stop listing `paths`, and return those that were listed; harmless to repeat.

        The content stays on disk for readers of an older snapshot.

        Raises:
            ConfigError: the key of a role is not on this machine.
        """
        with self._alone():
            current = self._load()
            listed = current.targets.signed.targets
            removed = tuple(sorted(set(paths) & set(listed)))
            for path in removed:
                del listed[path]
            if removed:
                self._write_from_targets(current, now)
        return removed

    def refresh(self, now: datetime, *, force: bool = False) -> bool:
        """Sign again what has less than half of its life left; True when something was written.

        Snapshot and timestamp always can; targets only where its key is. `force` signs snapshot and
        timestamp in any case.
        """
        with self._alone():
            current = self._load()
            if Targets.type in self._signers and _is_half_over(current.targets, now):
                self._write_from_targets(current, now)
            elif force or _is_half_over(current.snapshot, now) or _is_half_over(current.timestamp, now):
                self._write_from_snapshot(current, now)
            else:
                return False
        return True

    def listed(self) -> dict[str, Listed]:
        """Every target that may be used now, by path."""
        targets = self._load().targets.signed.targets
        return {path: Listed(file.length, file.hashes["sha256"]) for path, file in targets.items()}

    def trusted_root(self) -> bytes:
        """The newest root, to be handed to a device at its enrolment."""
        versions = [int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json")]
        return (self._metadata / f"{max(versions)}.root.json").read_bytes()

    @property
    def _timestamp_path(self) -> Path:
        return self._metadata / "timestamp.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, over processes."""
        with self._lock_file.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> _Current:
        """Follow timestamp -> snapshot -> targets, so that files of an interrupted change do not count."""
        try:
            timestamp: Metadata[Timestamp] = Metadata.from_file(str(self._timestamp_path))
            snapshot: Metadata[Snapshot] = Metadata.from_file(
                str(self._metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
            )
            version = snapshot.signed.meta["targets.json"].version
            targets: Metadata[Targets] = Metadata.from_file(str(self._metadata / f"{version}.targets.json"))
        except (RepositoryError, OSError, KeyError) as error:
            raise TrustError(
                f"the TUF repository in {self._metadata.parent} is damaged: {error}; restore it from a backup"
            ) from error
        return _Current(targets, snapshot, timestamp)

    def _write_first(self, now: datetime) -> None:
        root = Root(consistent_snapshot=True)
        for role in ROLES:
            root.add_key(self._signer(role).public_key, role)
        self._sign_and_write(Metadata(root), f"1.{Root.type}.json", now)
        targets = self._sign_and_write(Metadata(Targets()), f"1.{Targets.type}.json", now)
        snapshot = Snapshot(meta={"targets.json": MetaFile.from_data(1, targets, ["sha256"])})
        written = self._sign_and_write(Metadata(snapshot), f"1.{Snapshot.type}.json", now)
        timestamp = Timestamp(snapshot_meta=MetaFile.from_data(1, written, ["sha256"]))
        self._sign_and_write(Metadata(timestamp), "timestamp.json", now)

    def _write_from_targets(self, current: _Current, now: datetime) -> None:
        for role in (Snapshot.type, Timestamp.type):
            self._signer(role)  # a missing key is told before anything is written
        targets = current.targets
        targets.signed.version += 1
        written = self._sign_and_write(targets, f"{targets.signed.version}.targets.json", now)
        current.snapshot.signed.meta["targets.json"] = MetaFile.from_data(targets.signed.version, written, ["sha256"])
        self._write_from_snapshot(current, now)

    def _write_from_snapshot(self, current: _Current, now: datetime) -> None:
        """The timestamp comes last: until it is there, readers see the state before."""
        snapshot, timestamp = current.snapshot, current.timestamp
        snapshot.signed.version += 1
        written = self._sign_and_write(snapshot, f"{snapshot.signed.version}.snapshot.json", now)
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, written, ["sha256"])
        self._sign_and_write(timestamp, "timestamp.json", now)
        self._forget_before({"targets": current.targets.signed.version, "snapshot": snapshot.signed.version})

    def _sign_and_write(self, metadata: Metadata[Any], name: str, now: datetime) -> bytes:
        role = metadata.signed.type
        metadata.signed.expires = now.astimezone(UTC) + _LIFE[role]
        metadata.sign(self._signer(role))
        data = metadata.to_bytes()
        if len(data) > limits.MAX_METADATA_BYTES:
            raise ConfigError(
                f"{name} would have {len(data)} bytes, devices accept {limits.MAX_METADATA_BYTES};"
                " withdraw models that are no longer needed"
            )
        write_atomically(self._metadata / name, data)
        return data

    def _write_target(self, file: TargetFile, content: bytes) -> None:
        path = self._targets / file.get_prefixed_paths()[0]
        for folder in reversed([parent for parent in path.parents if parent.is_relative_to(self._targets)]):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                sync_folder(folder.parent)
        write_atomically(path, content)

    def _forget_before(self, newest: Mapping[str, int]) -> None:
        for path in self._metadata.iterdir():
            match = _VERSIONED.fullmatch(path.name)
            if match and int(match[1]) <= newest[match[2]] - _KEPT_VERSIONS:
                path.unlink()

    def _signer(self, role: str) -> Signer:
        try:
            return self._signers[role]
        except KeyError:
            raise ConfigError(
                f"the {role} key is not on this machine; sign where {role}.pem is kept, or bring it here"
            ) from None


def signers_in(keys_folder: Path) -> dict[str, Signer]:
    """The signers of all roles whose private key lies in `keys_folder`."""
    paths = {role: keys_folder / f"{role}.pem" for role in ROLES}
    return {role: _signer_of(read_private_key(path)) for role, path in paths.items() if path.exists()}


def _signer_of(key: SigningKey) -> Signer:
    private = load_pem_private_key(key.to_pem(), password=None)
    return CryptoSigner(private)


def _is_half_over(metadata: Metadata[Any], now: datetime) -> bool:
    life = _LIFE[metadata.signed.type]
    return bool(metadata.signed.expires - now < life / 2)
