"""Signs a restored repository so that devices take it for newer than all they have seen.

A backup's metadata is older than what devices verified last, and they refuse whatever counts lower (TUF specification
1.0, 5.4.3 and 5.5.4). With the root and targets keys at hand, snapshot and timestamp get new keys: devices that see a
root with other keys for these roles drop what the old ones signed, and with it all memory of version numbers (5.3.11).
Without them, what the online keys may sign gets version numbers that count seconds since 1970, far above any that grew
by one; what was signed offline after the backup then stands between the devices and this repository, and they say so.
It decides nothing about what is listed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.custody import key_file
from edgeops.trust.signers import by_id, signer_of
from edgeops.trust.storage import Storage

_ONLINE = (Snapshot.type, Timestamp.type)


@dataclass(frozen=True, slots=True)
class Reissued:
    """What was signed again."""

    #: Whether snapshot and timestamp have new keys, so that devices forget what the old ones signed.
    new_keys: bool
    #: By role, the version that counts now.
    versions: Mapping[str, int]


class Reissue:
    """A repository folder, and the keys that a person brings for a moment together with those that lie with it."""

    def __init__(self, folder: Path, keys: Path, *, offline: Sequence[Path] = ()) -> None:
        """Read what the repository lists, and the private keys.

        Raises:
            TrustError: the repository is damaged.
            ConfigError: a key file that cannot be read.
        """
        self._storage = Storage(folder)
        self._keys = keys
        self._current = self._storage.load()
        self._signers = by_id(keys, *offline)

    @property
    def can_replace_keys(self) -> bool:
        """Whether enough root and targets keys are at hand."""
        return not self.missing((Root.type, Targets.type))

    def missing(self, roles: Sequence[str]) -> list[str]:
        """Those of the roles that fewer keys are at hand for than they need."""
        return [role for role in roles if len(self._for(role)) < self._current.threshold(role)]

    def replace_keys(self, alongside: Mapping[str, bytes], now: datetime, *, above: int = 0) -> Reissued:
        """Give snapshot and timestamp new keys, put into the keys folder, and list `alongside` (path -> content).

        `above` is the highest version of the root that a device may have, 0 = none above this one. Roots are taken one
        by one (5.3.3), and never one of a version that was taken already, so the new root is signed once per version
        up to the one after that.

        Raises:
            ConfigError: too few root or targets keys are at hand.
        """
        self._require((Root.type, Targets.type))
        current = self._current
        with self._storage.alone():
            root = current.root.signed
            for role in _ONLINE:
                for key_id in tuple(root.roles[role].keyids):
                    root.revoke_key(key_id, role)
                key = SigningKey.generate()
                write_private_key(key_file(self._keys, role), key)
                signer = signer_of(key)
                root.add_key(signer.public_key, role)
                root.roles[role].threshold = 1
                self._signers[signer.public_key.keyid] = signer
            for version in range(root.version + 1, max(root.version, above) + 2):
                root.version = version
                self._write(current.root, Root.type, f"{version}.root.json", now + limits.ROOT_LIFE)
            for path, content in alongside.items():
                file = TargetFile.from_data(path, content, ["sha256"])
                self._storage.write_target(file, content)
                current.targets.signed.targets[path] = file
            self._list(current.targets, Targets.type, now + limits.TARGETS_LIFE, now)
            return self._finish(now, new_keys=True)

    def count_higher(self, now: datetime) -> Reissued:
        """Sign again, with higher version numbers, whatever a key is at hand for.

        Raises:
            ConfigError: the snapshot or the timestamp key is not at hand.
        """
        self._require(_ONLINE)
        current = self._current
        with self._storage.alone():
            for delegation in current.delegations.values():
                if delegation.key_id in self._signers and delegation.expires > now:
                    self._list(current.delegated[delegation.role], delegation.role, delegation.expires, now)
            if not self.missing((Targets.type,)):
                self._list(current.targets, Targets.type, now + limits.TARGETS_LIFE, now)
            return self._finish(now, new_keys=False)

    def _finish(self, now: datetime, *, new_keys: bool) -> Reissued:
        """The timestamp comes last, as always."""
        snapshot, timestamp = self._current.snapshot, self._current.timestamp
        snapshot.signed.version = _above(snapshot.signed.version, now)
        written = self._write(
            snapshot, Snapshot.type, f"{snapshot.signed.version}.snapshot.json", now + limits.SNAPSHOT_LIFE
        )
        timestamp.signed.version = _above(timestamp.signed.version, now)
        timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, written, ["sha256"])
        self._write(timestamp, Timestamp.type, "timestamp.json", now + limits.TIMESTAMP_LIFE)
        return Reissued(new_keys, {**self._current.versions(), Timestamp.type: timestamp.signed.version})

    def _list(self, metadata: Metadata[Targets], role: str, expires: datetime, now: datetime) -> None:
        metadata.signed.version = _above(metadata.signed.version, now)
        written = self._write(metadata, role, f"{metadata.signed.version}.{role}.json", expires)
        file = MetaFile.from_data(metadata.signed.version, written, ["sha256"])
        self._current.snapshot.signed.meta[f"{role}.json"] = file

    def _write(self, metadata: Metadata[Any], role: str, name: str, expires: datetime) -> bytes:
        metadata.signed.expires = expires.astimezone(UTC)
        metadata.signatures.clear()
        for signer in self._for(role):
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
        self._storage.write_metadata(name, data)
        return data

    def _for(self, role: str) -> list[Signer]:
        return [self._signers[key_id] for key_id in sorted(self._current.key_ids(role)) if key_id in self._signers]

    def _require(self, roles: Sequence[str]) -> None:
        missing = self.missing(roles)
        if missing:
            raise ConfigError(f"too few keys of {' and '.join(missing)} are at hand; name their folder with --keys DIR")


def _above(version: int, now: datetime) -> int:
    return max(version + 1, int(now.timestamp()))
