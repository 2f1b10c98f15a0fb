"""Writes signed metadata in an order in which a reader never sees half a change.

Targets first, then what is delegated, the root, the snapshot, and the timestamp last: until it is there, readers see
the state before. A new root counts for readers at once, so a change with one is written down whole before, and a crash
in between is ended by whoever opens the repository next. What is published was checked by
`edgeops.trust.repository`.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
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
from edgeops.errors import ConfigError
from edgeops.trust.change import Change, decode_change, encode_change
from edgeops.trust.custody import ROLES
from edgeops.trust.delegation import ROLE_PREFIX
from edgeops.trust.signers import signers_in
from edgeops.trust.storage import Current, Storage


class Publication:
    """The pen of one repository: its storage, and the keys at hand by TUF key id."""

    def __init__(self, storage: Storage, signers: dict[str, Signer]) -> None:
        self._storage = storage
        self.signers = signers

    # -- which keys are here

    def has(self, key_id: str) -> bool:
        """Whether this key is at hand."""
        return key_id in self.signers

    def holds(self, current: Current, role: str) -> bool:
        """Whether enough keys that may sign for `role` are."""
        return len(self._signers(current, role)) >= current.threshold(role)

    def require(self, current: Current, roles: Iterable[str]) -> None:
        """Missing keys are told before anything is written.

        Raises:
            ConfigError: too few keys of a role are on this machine.
        """
        for role in roles:
            here, needed = len(self._signers(current, role)), current.threshold(role)
            if here >= needed:
                continue
            known = ", ".join(sorted(one[:8] for one in current.key_ids(role)))
            if needed > 1:
                raise ConfigError(
                    f"{here} of the {needed} {role} keys that must sign are on this machine (of {known}); sign on "
                    "several machines: edgeops key sign FILE --keys DIR"
                )
            raise ConfigError(
                f"the {role} key is not on this machine; sign where key {known} is kept, or bring its {role}.pem here"
            )

    def require_own(self, change: Change, current: Current) -> None:
        """The same for all that signing and publishing a change needs, root apart.

        Raises:
            ConfigError: too few keys of a role are on this machine.
        """
        if not change.is_empty:
            self.require(current.after(change.root, change.targets), (Targets.type, Snapshot.type, Timestamp.type))

    # -- writing

    def begin(self, keys: Path, now: datetime) -> None:
        """The first metadata of a repository, one key a role."""
        root = Root(consistent_snapshot=True)
        for role, signer in signers_in(keys).items():
            if role in ROLES:
                root.add_key(signer.public_key, role)
        first = Current.first(root)
        self._sign_and_write(first, first.root, f"1.{Root.type}.json", now)
        targets = self._sign_and_write(first, first.targets, f"1.{Targets.type}.json", now)
        first.snapshot.signed.meta[f"{Targets.type}.json"] = MetaFile.from_data(1, targets, ["sha256"])
        written = self._sign_and_write(first, first.snapshot, f"1.{Snapshot.type}.json", now)
        first.timestamp.signed.snapshot_meta = MetaFile.from_data(1, written, ["sha256"])
        self._sign_and_write(first, first.timestamp, "timestamp.json", now)

    def publish(self, change: Change, current: Current, now: datetime) -> None:
        """Make a change that was checked count.

        Raises:
            ConfigError: a key of this server that it trusts is not here, or it is too large for devices.
        """
        after, anew = self._prepare(change, current)
        parts: tuple[Metadata[Any] | None, ...] = (change.root, change.targets)
        for part in parts:
            if part is not None:
                _require_size(f"{part.signed.version}.{part.signed.type}.json", part.to_bytes())
        if change.root is not None:
            self._storage.remember(encode_change(change))
        self._write(change, after, anew, now)

    def resume(self, now: datetime) -> None:
        """End what a crash interrupted.

        Raises:
            ConfigError: a key of this server that it trusts is not here any more.
        """
        content = self._storage.remembered()
        if content is None:
            return
        change = decode_change(content)
        after, anew = self._prepare(change, self._storage.load())
        self._write(change, after, anew, now)

    def list_delegated(self, current: Current, roles: Collection[str], now: datetime) -> None:
        """Sign what delegated `roles` list now.

        Raises:
            ConfigError: a key is not on this machine.
        """
        self.require(current, (*roles, Snapshot.type, Timestamp.type))
        for role in roles:
            self._write_delegated(current, role, now)
        self.write_from_snapshot(current, now)

    def write_from_snapshot(self, current: Current, now: datetime) -> None:
        """Sign snapshot and timestamp."""
        snapshot, timestamp = current.snapshot, current.timestamp
        snapshot.signed.version += 1
        written = self._sign_and_write(current, snapshot, f"{snapshot.signed.version}.snapshot.json", now)
        timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, written, ["sha256"])
        self.write_timestamp(current, now)
        self._storage.forget_before(current.versions())

    def write_timestamp(self, current: Current, now: datetime) -> None:
        """Sign the timestamp alone."""
        current.timestamp.signed.version += 1
        self._sign_and_write(current, current.timestamp, "timestamp.json", now)

    # -- below

    def _prepare(self, change: Change, current: Current) -> tuple[Current, list[str]]:
        """What counts afterwards, and the delegated roles that are signed with a new key."""
        after = current.after(change.root, change.targets)
        anew = [one.role for model, one in after.delegations.items() if current.delegations.get(model) != one]
        self.require(after, (*anew, Snapshot.type, Timestamp.type))
        return after, anew

    def _write(self, change: Change, after: Current, anew: Collection[str], now: datetime) -> None:
        for path, content in change.files.items():
            self._storage.write_target(TargetFile.from_data(path, content, ["sha256"]), content)
        for role in anew:
            self._write_delegated(after, role, now)
        if change.targets is not None:
            # The snapshot keeps the entry of a role that is delegated no more (TUF specification, 5.5.5).
            self._list_in_snapshot(after, Targets.type, change.targets, change.targets.to_bytes())
        if change.root is not None:
            self._storage.write_metadata(f"{change.root.signed.version}.{Root.type}.json", change.root.to_bytes())
        self.write_from_snapshot(after, now)
        if change.root is not None:
            self._storage.forget()

    def _write_delegated(self, current: Current, role: str, now: datetime) -> None:
        listing = current.listing(role)
        listing.signed.version += 1
        self._list_in_snapshot(current, role, listing, self._signed(current, listing, role, now))

    def _list_in_snapshot(self, current: Current, role: str, listing: Metadata[Targets], data: bytes) -> None:
        version = listing.signed.version
        self._storage.write_metadata(f"{version}.{role}.json", data)
        current.snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(version, data, ["sha256"])

    def _sign_and_write(self, current: Current, metadata: Metadata[Any], name: str, now: datetime) -> bytes:
        data = self._signed(current, metadata, metadata.signed.type, now)
        self._storage.write_metadata(name, data)
        return data

    def _signed(self, current: Current, metadata: Metadata[Any], role: str, now: datetime) -> bytes:
        delegation = current.delegations.get(role.removeprefix(ROLE_PREFIX)) if role.startswith(ROLE_PREFIX) else None
        whole_life = now.astimezone(UTC) + limits.SIGNED_LIFE.get(role, limits.DELEGATION_LIFE)
        metadata.signed.expires = whole_life if delegation is None else delegation.expires
        metadata.signatures.clear()
        for signer in self._signers(current, role):
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
        _require_size(f"{metadata.signed.version}.{role}.json", data)
        return data

    def _signers(self, current: Current, role: str) -> list[Signer]:
        return [self.signers[key_id] for key_id in sorted(current.key_ids(role)) if key_id in self.signers]


def _require_size(name: str, data: bytes) -> None:
    if len(data) > limits.MAX_METADATA_BYTES:
        raise ConfigError(
            f"{name} would have {len(data)} bytes, devices accept {limits.MAX_METADATA_BYTES};"
            " withdraw models that are no longer needed"
        )
