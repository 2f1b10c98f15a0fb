"""The TUF repository of a fleet: what may run is what its current metadata lists.

Signs metadata with consistent snapshots and writes it in an order (`edgeops.trust.storage`) in which a reader never
sees half a change and a crash leaves the state before or after it. Targets below `models/<model>/auto/` are
signed by that model's delegated key, all others by the targets key. It does not decide what deserves
to be listed, and it fetches nothing; the roles may sign on different machines.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Signer
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
from edgeops.artifact.manifest import auto_model
from edgeops.errors import ConfigError, InputError
from edgeops.protocol.keys import SigningKey, read_private_key, write_private_key
from edgeops.trust.delegation import ROLE_PREFIX, Delegation, delegate, delegations_in, role_of, undelegate, within
from edgeops.trust.storage import Current, Storage

ROLES = (Root.type, Targets.type, Snapshot.type, Timestamp.type)

_TARGET_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Listed:
    """One listed target file."""

    length: int
    #: 64 hex characters.
    sha256: str


@dataclass(frozen=True, slots=True)
class RoleKey:
    """A key that may sign for one role."""

    role: str
    #: Of a delegated role: whose versions it signs.
    model: str | None
    #: TUF key id, and the 64 hex characters of the public half.
    key_id: str
    public_hex: str
    #: When what it signed last must be signed again; of a delegated role, when its delegation ends.
    expires: datetime
    #: Whether the private half is among the signers.
    at_hand: bool


class Repository:
    """One repository folder and the signers that are at hand, by role."""

    def __init__(self, folder: Path, signers: Mapping[str, Signer], *, new_keys: Path) -> None:
        """`new_keys` is the folder where the key of a new delegation is put."""
        self._storage = Storage(folder)
        self._signers = dict(signers)
        self._new_keys = new_keys

    @classmethod
    def create(cls, folder: Path, keys_folder: Path, now: datetime) -> Self:
        """Make keys and first metadata where they are missing; harmless to repeat.

        Keys are `root.pem`, `targets.pem`, `snapshot.pem` and `timestamp.pem` in `keys_folder`.
        """
        Storage(folder).make()
        keys_folder.mkdir(parents=True, exist_ok=True)
        keys_folder.chmod(0o700)
        for role in ROLES:
            path = keys_folder / f"{role}.pem"
            if not path.exists():
                write_private_key(path, SigningKey.generate())
        repository = cls(folder, signers_in(keys_folder), new_keys=keys_folder)
        with repository._storage.alone():
            if not repository._storage.is_begun():
                repository._write_first(now)
        return repository

    @classmethod
    def open(cls, folder: Path, keys_folder: Path, *, offline: Path | None = None) -> Self:
        """Use an existing repository with whatever keys `keys_folder` and, for a moment, `offline` hold.

        Raises:
            ConfigError: there is no repository in `folder`, or a key file that cannot be read.
        """
        signers = signers_in(keys_folder) | (signers_in(offline) if offline is not None else {})
        repository = cls(folder, signers, new_keys=keys_folder)
        if not repository._storage.is_begun():
            raise ConfigError(f"no TUF repository in {folder}; run edgeops-server init for this data folder")
        return repository

    def publish(self, targets: Mapping[str, bytes], now: datetime) -> None:
        """List `targets` (path -> content), new or replaced; nothing happens when all are listed already.

        Raises:
            InputError: a path that is no target path.
            ConfigError: the key of a role is not on this machine, or a delegation is missing or has ended.
        """
        for path in targets:
            if _TARGET_PATH.fullmatch(path) is None:
                raise InputError(f"not a target path: {path[:120]!r}; use lower-case names, digits and . _ - /")
        files = {path: TargetFile.from_data(path, content, ["sha256"]) for path, content in targets.items()}
        with self._storage.alone():
            current = self._storage.load()
            changed: dict[str, dict[str, TargetFile]] = {}
            for path, file in files.items():
                role = self._role_for(current, path, now)
                if current.listing(role).signed.targets.get(path) != file:
                    changed.setdefault(role, {})[path] = file
            if not changed:
                return
            for path, file in ((path, file) for part in changed.values() for path, file in part.items()):
                self._storage.write_target(file, targets[path])
            for role, part in changed.items():
                current.listing(role).signed.targets.update(part)
            self._write_listings(current, changed, now)

    def withdraw(self, paths: Collection[str], now: datetime) -> tuple[str, ...]:
        """Stop listing `paths`, and return those that were listed; harmless to repeat.

        The content stays on disk for readers of an older snapshot.

        Raises:
            ConfigError: the key of a role is not on this machine.
        """
        with self._storage.alone():
            current = self._storage.load()
            changed: dict[str, set[str]] = {}
            for role in (Targets.type, *current.delegated):
                removed = set(paths) & set(current.listing(role).signed.targets)
                for path in removed:
                    del current.listing(role).signed.targets[path]
                if removed:
                    changed[role] = removed
            if changed:
                self._write_listings(current, changed, now)
        return tuple(sorted(path for removed in changed.values() for path in removed))

    def delegate(self, model: str, now: datetime, *, alongside: Mapping[str, bytes] | None = None) -> Delegation:
        """Let a new key, put into the keys folder, sign `models/<model>/auto/*` for DELEGATION_LIFE.

        What the model's key before it listed stays listed. `alongside` (path -> content) is listed by the
        targets key in the same change.

        Raises:
            InputError: no model can have this name.
            ConfigError: the key of a role is not on this machine.
        """
        role = role_of(model)
        files = {path: TargetFile.from_data(path, content, ["sha256"]) for path, content in (alongside or {}).items()}
        with self._storage.alone():
            current = self._storage.load()
            self._require(current, (Targets.type, Snapshot.type, Timestamp.type))
            key = SigningKey.generate()
            write_private_key(self._new_keys / f"{role}.pem", key)
            self._signers[role] = _signer_of(key)
            expires = (now.astimezone(UTC) + limits.DELEGATION_LIFE).replace(microsecond=0)
            delegate(current.targets.signed, model, self._signers[role].public_key, expires=expires)
            current.delegations.update(delegations_in(current.targets.signed))
            current.delegated.setdefault(role, _new_listing(current, role))
            for path, file in files.items():
                self._storage.write_target(file, (alongside or {})[path])
            current.targets.signed.targets.update(files)
            self._write_listings(current, (role, Targets.type), now)
            return current.delegations[model]

    def undelegate(self, model: str, now: datetime, *, alongside: Collection[str] = ()) -> tuple[str, ...]:
        """End a delegation: its targets are listed no longer, and its key is deleted; harmless to repeat.

        `alongside` are targets of the targets key that go in the same change. The answer are the paths that the
        delegated key had listed.

        Raises:
            InputError: no model can have this name.
            ConfigError: the targets key is not on this machine.
        """
        role = role_of(model)
        with self._storage.alone():
            current = self._storage.load()
            if model not in current.delegations:
                return ()
            undelegate(current.targets.signed, model)
            for path in alongside:
                current.targets.signed.targets.pop(path, None)
            # The snapshot keeps its entry: none may disappear from it (TUF specification, 5.5.5).
            self._write_listings(current, (Targets.type,), now)
            self._signers.pop(role, None)
            (self._new_keys / f"{role}.pem").unlink(missing_ok=True)
        return tuple(sorted(current.delegated[role].signed.targets))

    def delegations(self) -> dict[str, Delegation]:
        """By model; those that have ended stand here until they are renewed or removed."""
        return self._storage.load().delegations

    def can_sign(self, path: str, now: datetime) -> bool:
        """Whether the key that may list this target now is at hand."""
        current = self._storage.load()
        try:
            return self._holds(current, self._role_for(current, path, now))
        except ConfigError:
            return False

    def refresh(self, now: datetime, *, force: bool = False) -> bool:
        """Sign again what has less than half of its life left; True when something was written.

        Snapshot and timestamp always can; targets only where its key is. What a delegated key signed lives as
        long as its delegation, so there is nothing to sign again. `force` signs snapshot and timestamp in any case.
        """
        with self._storage.alone():
            current = self._storage.load()
            if self._holds(current, Targets.type) and _is_half_over(current.targets, now):
                self._write_listings(current, (Targets.type,), now)
            elif force or _is_half_over(current.snapshot, now) or _is_half_over(current.timestamp, now):
                self._write_from_snapshot(current, now)
            else:
                return False
        return True

    def renew(self, now: datetime) -> None:
        """Sign targets, snapshot and timestamp for the whole of their lives, before the targets key goes away.

        Raises:
            ConfigError: the key of a role is not on this machine.
        """
        with self._storage.alone():
            self._write_listings(self._storage.load(), (Targets.type,), now)

    def listed(self, *, at: datetime | None = None) -> dict[str, Listed]:
        """Every target by path; with `at`, only what may be used then: not what an ended delegation listed."""
        current = self._storage.load()
        files = dict(current.targets.signed.targets)
        for one in current.delegations.values():
            if at is None or at < one.expires:
                files.update(within(current.targets.signed, one.role, current.delegated[one.role].signed))
        return {path: Listed(file.length, file.hashes["sha256"]) for path, file in files.items()}

    def read(self, path: str) -> bytes | None:
        """The content of a target that the targets key lists; None = it is not listed, or gone."""
        file = self._storage.load().targets.signed.targets.get(path)
        return None if file is None else self._storage.read_target(file)

    def role_keys(self) -> tuple[RoleKey, ...]:
        """The keys of all roles, delegated ones last."""
        current = self._storage.load()
        metadata: dict[str, Metadata[Any]] = {
            Root.type: current.root,
            Targets.type: current.targets,
            Snapshot.type: current.snapshot,
            Timestamp.type: current.timestamp,
        }
        top = [
            (role, None, key_id, current.root.signed.keys[key_id].keyval["public"], metadata[role].signed.expires)
            for role in ROLES
            for key_id in current.root.signed.roles[role].keyids
        ]
        delegated = [
            (one.role, one.model, one.key_id, one.public_hex, one.expires) for one in current.delegations.values()
        ]
        return tuple(
            RoleKey(role, model, key_id, public, expires, at_hand=self._holds(current, role, key_id))
            for role, model, key_id, public, expires in (*top, *delegated)
        )

    def trusted_root(self) -> bytes:
        """The newest root, to be handed to a device at its enrolment."""
        return self._storage.trusted_root()

    def _role_for(self, current: Current, path: str, now: datetime) -> str:
        """Who signs this target.

        Raises:
            ConfigError: nobody is allowed to.
        """
        model = auto_model(path)
        if model is None:
            return Targets.type
        delegation = current.delegations.get(model)
        if delegation is None:
            raise ConfigError(
                f"no key may sign {path}: {model} has no delegation; give it one: edgeops key delegate {model}"
            )
        if delegation.expires <= now:
            ended = delegation.expires.isoformat()
            raise ConfigError(f"the delegation of {model} ended at {ended}; renew it: edgeops key delegate {model}")
        return delegation.role

    def _holds(self, current: Current, role: str, key_id: str | None = None) -> bool:
        """Whether the key that may sign for `role` is at hand; a file of its name may hold another one."""
        signer = self._signers.get(role)
        ids = current.key_ids(role) if key_id is None else {key_id}
        return signer is not None and signer.public_key.keyid in ids

    def _require(self, current: Current, roles: Iterable[str]) -> None:
        """A missing or wrong key is told before anything is written.

        Raises:
            ConfigError: the key of a role is not on this machine, or is another one than the fleet's.
        """
        for role in roles:
            self._signer(role)
            if not self._holds(current, role):
                known = ", ".join(sorted(current.key_ids(role)))
                raise ConfigError(
                    f"the {role}.pem at hand is another key than the fleet's ({known}); bring the right one"
                )

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

    def _write_listings(self, current: Current, roles: Collection[str], now: datetime) -> None:
        """Sign what `roles` list; delegated ones first, so that targets never lead to what is not there."""
        self._require(current, (*roles, Snapshot.type, Timestamp.type))
        for role in sorted(roles, key=lambda role: role == Targets.type):
            metadata = current.listing(role)
            metadata.signed.version += 1
            delegation = current.delegations.get(role.removeprefix(ROLE_PREFIX))
            expires = None if role == Targets.type or delegation is None else delegation.expires
            name = f"{metadata.signed.version}.{role}.json"
            written = self._sign_and_write(metadata, name, now, role=role, expires=expires)
            file = MetaFile.from_data(metadata.signed.version, written, ["sha256"])
            current.snapshot.signed.meta[f"{role}.json"] = file
        self._write_from_snapshot(current, now)

    def _write_from_snapshot(self, current: Current, now: datetime) -> None:
        """The timestamp comes last: until it is there, readers see the state before."""
        snapshot, timestamp = current.snapshot, current.timestamp
        snapshot.signed.version += 1
        written = self._sign_and_write(snapshot, f"{snapshot.signed.version}.snapshot.json", now)
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, written, ["sha256"])
        self._sign_and_write(timestamp, "timestamp.json", now)
        self._storage.forget_before(current.versions())

    def _sign_and_write(
        self,
        metadata: Metadata[Any],
        name: str,
        now: datetime,
        *,
        role: str | None = None,
        expires: datetime | None = None,
    ) -> bytes:
        role = role or metadata.signed.type
        metadata.signed.expires = expires or now.astimezone(UTC) + limits.SIGNED_LIFE[role]
        metadata.sign(self._signer(role))
        data = metadata.to_bytes()
        if len(data) > limits.MAX_METADATA_BYTES:
            raise ConfigError(
                f"{name} would have {len(data)} bytes, devices accept {limits.MAX_METADATA_BYTES};"
                " withdraw models that are no longer needed"
            )
        self._storage.write_metadata(name, data)
        return data

    def _signer(self, role: str) -> Signer:
        try:
            return self._signers[role]
        except KeyError:
            raise ConfigError(
                f"the {role} key is not on this machine; sign where {role}.pem is kept, or bring it here"
            ) from None


def signers_in(keys_folder: Path) -> dict[str, Signer]:
    """The signers of all roles, delegated ones too, whose private key lies in `keys_folder`."""
    paths = [keys_folder / f"{role}.pem" for role in ROLES] + sorted(keys_folder.glob(f"{ROLE_PREFIX}*.pem"))
    return {path.stem: _signer_of(read_private_key(path)) for path in paths if path.exists()}


def _new_listing(current: Current, role: str) -> Metadata[Targets]:
    """Empty, and as old as what an earlier delegation to the same role wrote last."""
    before = current.snapshot.signed.meta.get(f"{role}.json")
    listing = Metadata(Targets())
    listing.signed.version = 0 if before is None else before.version
    return listing


def _signer_of(key: SigningKey) -> Signer:
    private = load_pem_private_key(key.to_pem(), password=None)
    return CryptoSigner(private)


def _is_half_over(metadata: Metadata[Any], now: datetime) -> bool:
    life = limits.SIGNED_LIFE[metadata.signed.type]
    return bool(metadata.signed.expires - now < life / 2)
