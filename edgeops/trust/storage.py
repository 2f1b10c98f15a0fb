"""The files of a TUF repository: metadata and targets below one folder, read and written whole.

What counts is what `timestamp.json` leads to, so files of an interrupted change do not. This module signs nothing,
verifies nothing and does not decide what is listed: the folder belongs to whoever holds the keys.
"""

import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edgeops.digest import sync_folder, write_atomically
from edgeops.errors import TrustError
from edgeops.trust.delegation import ROLE_PREFIX, Delegation, delegations_in

#: A reader that began with an older snapshot can still end its refresh.
_KEPT_VERSIONS = 16
_PENDING = "pending-change.json"
_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)
_VERSIONED = re.compile(rf"([1-9][0-9]*)\.(targets|snapshot|{ROLE_PREFIX}[a-z0-9-]+)\.json")


@dataclass(frozen=True, slots=True)
class Current:
    """The metadata that `timestamp.json` leads to; its parts are changed in place before they are signed."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    #: What delegated keys signed, by role.
    delegated: dict[str, Metadata[Targets]]
    #: By model.
    delegations: dict[str, Delegation]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    @classmethod
    def first(cls, root: Root) -> Self:
        """Of a repository that begins with this root: nothing is listed, nothing is signed."""
        return cls(
            root=Metadata(root),
            targets=Metadata(Targets()),
            delegated={},
            delegations={},
            snapshot=Metadata(Snapshot()),
            timestamp=Metadata(Timestamp()),
        )

    def after(self, root: Metadata[Root] | None, targets: Metadata[Targets] | None) -> Self:
        """The same with a newer root, newer targets or both; roles that are delegated to anew list nothing yet."""
        if targets is None:
            return replace(self, root=root or self.root)
        delegations = delegations_in(targets.signed)
        delegated = {one.role: self.delegated.get(one.role) or self._empty(one.role) for one in delegations.values()}
        return replace(self, root=root or self.root, targets=targets, delegations=delegations, delegated=delegated)

    def listing(self, role: str) -> Metadata[Targets]:
        """The metadata in which `role` lists its targets."""
        return self.targets if role == Targets.type else self.delegated[role]

    def key_ids(self, role: str) -> set[str]:
        """The keys that may sign for `role`."""
        if role.startswith(ROLE_PREFIX):
            return {self.delegations[role.removeprefix(ROLE_PREFIX)].key_id}
        return set(self.root.signed.roles[role].keyids)

    def threshold(self, role: str) -> int:
        """How many of them must."""
        return 1 if role.startswith(ROLE_PREFIX) else int(self.root.signed.roles[role].threshold)

    def versions(self) -> dict[str, int]:
        """The newest version of each role that has numbered files, also of roles that are delegated no more."""
        meta = self.snapshot.signed.meta
        listed = {name.removesuffix(".json"): file.version for name, file in meta.items()}
        return {**listed, Snapshot.type: self.snapshot.signed.version}

    def _empty(self, role: str) -> Metadata[Targets]:
        """As old as what an earlier delegation to the same role wrote last."""
        before = self.snapshot.signed.meta.get(f"{role}.json")
        listing = Metadata(Targets())
        listing.signed.version = 0 if before is None else before.version
        return listing


class Storage:
    """One repository folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"

    def make(self) -> None:
        """Make the folders where they are missing."""
        for part in (self._metadata, self._targets):
            part.mkdir(parents=True, exist_ok=True)

    def is_begun(self) -> bool:
        """Whether there is a repository."""
        return (self._metadata / "timestamp.json").exists()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One writer at a time, over processes."""
        with (self._folder / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def trusted_root(self) -> bytes:
        """The newest root."""
        return self.roots(1)[0]

    def roots(self, count: int) -> tuple[bytes, ...]:
        """The newest roots, oldest first."""
        versions = sorted(int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json"))
        return tuple((self._metadata / f"{version}.root.json").read_bytes() for version in versions[-count:])

    def load(self) -> Current:
        """Follow timestamp -> snapshot -> targets -> what they delegate.

        Raises:
            TrustError: a file is missing or damaged.
        """
        try:
            root = parsed(self.trusted_root(), Root)
            timestamp = _read(self._metadata / "timestamp.json", Timestamp)
            snapshot = _read(self._metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
            targets = self._listing(snapshot, Targets.type)
            delegations = delegations_in(targets.signed)
            delegated = {one.role: self._listing(snapshot, one.role) for one in delegations.values()}
        except (RepositoryError, OSError, LookupError, ValueError) as error:
            raise TrustError(
                f"the TUF repository in {self._folder} is damaged: {error}; restore it from a backup"
            ) from error
        return Current(root, targets, delegated, delegations, snapshot, timestamp)

    def write_metadata(self, name: str, data: bytes) -> None:
        """Write one metadata file."""
        write_atomically(self._metadata / name, data)

    def write_target(self, file: TargetFile, content: bytes) -> None:
        """Write a target under its consistent-snapshot name (TUF specification, 6.2)."""
        path = self._targets / file.get_prefixed_paths()[0]
        for folder in reversed([parent for parent in path.parents if parent.is_relative_to(self._targets)]):
            if not folder.exists():
                folder.mkdir()
                sync_folder(folder.parent)
        write_atomically(path, content)

    def read_target(self, file: TargetFile) -> bytes | None:
        """The content of a listed target; None = it is gone."""
        try:
            return (self._targets / file.get_prefixed_paths()[0]).read_bytes()
        except OSError:
            return None

    def remember(self, change: bytes) -> None:
        """Write down a change that is about to be published, so that a crash in between does not stop it."""
        write_atomically(self._folder / _PENDING, change)

    def remembered(self) -> bytes | None:
        """What a crash interrupted."""
        try:
            return (self._folder / _PENDING).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """It is published."""
        (self._folder / _PENDING).unlink()
        sync_folder(self._folder)

    def forget_before(self, newest: Mapping[str, int]) -> None:
        """Remove metadata files far older than the newest version of their role."""
        for path in self._metadata.iterdir():
            match = _VERSIONED.fullmatch(path.name)
            if match and int(match[1]) <= newest.get(match[2], 0) - _KEPT_VERSIONS:
                path.unlink()

    def _listing(self, snapshot: Metadata[Snapshot], role: str) -> Metadata[Targets]:
        version = snapshot.signed.meta[f"{role}.json"].version
        return _read(self._metadata / f"{version}.{role}.json", Targets)


def _read(path: Path, kind: type[_T]) -> Metadata[_T]:
    return parsed(path.read_bytes(), kind)


def parsed(data: bytes, kind: type[_T]) -> Metadata[_T]:
    """Metadata of this role; python-tuf takes the role from the bytes."""
    metadata: Metadata[_T] = Metadata.from_bytes(data)
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"{metadata.signed.type} metadata where {kind.type} is expected")
    return metadata
