"""The TUF repository of a fleet: what may run is what its current metadata lists.

What `edgeops.trust.draft` makes and enough keys signed is published here, whether the keys lie on this machine or
signed elsewhere; targets below `models/<model>/auto/` are signed by that model's delegated key, all others by the
targets keys. It does not decide what deserves to be listed, and it fetches nothing. In which order files are written,
`edgeops.trust.publication` knows.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from securesystemslib.signer import Signer
from tuf.api.metadata import (  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edgeops import limits
from edgeops.artifact.manifest import auto_model
from edgeops.errors import ConfigError, ConflictError, InputError
from edgeops.protocol.keys import PublicKey, SigningKey, write_private_key
from edgeops.protocol.topics import is_id
from edgeops.trust.anchor import anchor_in, write_anchor
from edgeops.trust.change import Base, Change, check_shape, is_signed, is_target_path, read_base, sign, signatures
from edgeops.trust.custody import ROLES, key_file
from edgeops.trust.delegation import ROLE_PREFIX, Delegation, within
from edgeops.trust.draft import Draft
from edgeops.trust.publication import Publication
from edgeops.trust.signers import by_id, prepare, promote
from edgeops.trust.storage import Current, Storage
from edgeops.trust.trail import Anchor


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
    #: When what the role signed last must be signed again; of a delegated role, when its delegation ends.
    expires: datetime
    #: Whether the private half is among the signers.
    at_hand: bool
    #: So many of the role's keys must sign.
    threshold: int


class Repository:
    """One repository folder and the keys that are at hand."""

    def __init__(self, folder: Path, signers: Mapping[str, Signer], *, keys: Path) -> None:
        """`signers` are by TUF key id; `keys` is the folder where new keys of this server are put."""
        self._storage = Storage(folder)
        self._publication = Publication(self._storage, dict(signers))
        self._keys = keys

    @classmethod
    def create(cls, folder: Path, keys_folder: Path, now: datetime) -> Self:
        """Make keys and first metadata where they are missing; harmless to repeat.

        Keys are `root.pem`, `targets.pem`, `snapshot.pem` and `timestamp.pem` in `keys_folder`.
        """
        Storage(folder).make()
        keys_folder.mkdir(parents=True, exist_ok=True)
        keys_folder.chmod(0o700)
        for role in ROLES:
            path = key_file(keys_folder, role)
            if not path.exists():
                write_private_key(path, SigningKey.generate())
        repository = cls(folder, by_id(keys_folder), keys=keys_folder)
        with repository._storage.alone():
            if not repository._storage.is_begun():
                repository._publication.begin(keys_folder, now)
        return repository

    @classmethod
    def open(cls, folder: Path, keys_folder: Path, *, offline: Path | None = None) -> Self:
        """Use an existing repository with whatever keys `keys_folder` and, for a moment, `offline` hold.

        Raises:
            ConfigError: there is no repository in `folder`, or a key file that cannot be read.
        """
        signers = by_id(keys_folder) if offline is None else by_id(keys_folder, offline)
        repository = cls(folder, signers, keys=keys_folder)
        if not repository._storage.is_begun():
            raise ConfigError(f"no TUF repository in {folder}; run edgeops-server init for this data folder")
        return repository

    # -- with the keys that are at hand

    def publish(self, targets: Mapping[str, bytes], now: datetime) -> None:
        """List `targets` (path -> content), new or replaced; nothing happens when all are listed already.

        Raises:
            InputError: a path that is no target path.
            ConfigError: too few keys of a role are on this machine, or a delegation is missing or has ended.
        """
        for path in targets:
            if not is_target_path(path):
                raise InputError(
                    f"not a target path: {path[:120]!r}; use lower-case names, digits and . _ - /, "
                    f"{limits.MAX_TARGET_PATH} in all"
                )
        with self._alone(now) as current:
            own = {path: content for path, content in targets.items() if auto_model(path) is None}
            delegated: dict[str, dict[str, TargetFile]] = {}
            for path in targets.keys() - own.keys():
                role = self._role_for(current, path, now)
                file = TargetFile.from_data(path, targets[path], ["sha256"])
                if current.listing(role).signed.targets.get(path) != file:
                    delegated.setdefault(role, {})[path] = file
            draft = Draft(self._base(current), now)
            draft.list(own)
            if delegated:
                for path, file in ((path, file) for part in delegated.values() for path, file in part.items()):
                    self._storage.write_target(file, targets[path])
                for role, part in delegated.items():
                    current.listing(role).signed.targets.update(part)
                self._publication.list_delegated(current, delegated, now)
            self._publish_own(draft.finish(), now)

    def withdraw(self, paths: Collection[str], now: datetime) -> tuple[str, ...]:
        """Stop listing `paths`, and return those that were listed; harmless to repeat.

        The content stays on disk for readers of an older snapshot.

        Raises:
            ConfigError: too few keys of a role are on this machine.
        """
        with self._alone(now) as current:
            draft = Draft(self._base(current), now)
            gone = set(draft.unlist(paths))
            change = draft.finish()
            self._publication.require_own(change, current)
            changed = [role for role in current.delegated if set(paths) & set(current.listing(role).signed.targets)]
            for role in changed:
                listed = current.listing(role).signed.targets
                for path in set(paths) & set(listed):
                    gone.add(path)
                    del listed[path]
            if changed:
                self._publication.list_delegated(current, changed, now)
            self._publish_own(change, now)
        return tuple(sorted(gone))

    def refresh(self, now: datetime, *, force: bool = False) -> bool:
        """Sign again what has less than half of its life left, and end what a crash interrupted; True = it wrote.

        So is what was signed while this machine's clock was ahead: it would hold for longer than it may. Snapshot and
        timestamp always can be signed; targets only where enough of its keys are. What a delegated key signed lives as
        long as its delegation, so there is nothing to sign again. `force` signs snapshot and timestamp in any case.
        """
        with self._alone(now) as current:
            root = current.root
            if self._publication.holds(current, Targets.type) and _is_due(current.targets, root, now):
                self._renew(current, now)
            elif force or any(_is_due(one, root, now) for one in (current.snapshot, current.timestamp)):
                self._publication.write_from_snapshot(current, now)
            else:
                return False
        return True

    def anchor(self, anchor: Anchor, now: datetime) -> bool:
        """Sign where the audit trail stands, in the timestamp; False = it says so already, or the clock is wrong.

        Raises:
            ConfigError: too few timestamp keys are on this machine.
        """
        with self._alone(now) as current:
            if anchor_in(current.timestamp.signed) == anchor or _is_wrong(now, current.root):
                return False
            self._publication.require(current, (Timestamp.type,))
            write_anchor(current.timestamp.signed, anchor)
            self._publication.write_timestamp(current, now)
        return True

    def anchored(self) -> Anchor | None:
        """Where the audit trail stood when the timestamp of today was signed."""
        return anchor_in(self._storage.load().timestamp.signed)

    def renew(self, now: datetime) -> None:
        """Sign targets, snapshot and timestamp for the whole of their lives, before the targets key goes away.

        Raises:
            ConfigError: too few keys of a role are on this machine.
        """
        with self._alone(now) as current:
            self._renew(current, now)

    # -- signed elsewhere

    def base(self) -> Base:
        """What is signed offline today, for a change of it."""
        return self._base(self._storage.load())

    def prepare_key(self, role: str) -> PublicKey:
        """Make the key of this server that shall be trusted for `role` next: snapshot, timestamp, a delegated one."""
        public = prepare(self._keys, role)
        self._publication.signers.update(by_id(self._keys))
        return public

    def submit(self, change: Change, now: datetime, *, begin_again: bool = False) -> bool:
        """Publish what enough people signed; False = it was published before, and nothing happened.

        `begin_again` lets in a root that the keys of today did not sign: devices refuse it until they are told by hand.

        Raises:
            ConflictError: it was made from another state than today's, or lacks signatures.
            TrustError: it is not what `edgeops.trust.draft` makes.
            ConfigError: a key of this server that it trusts is not here.
        """
        with self._alone(now) as current:
            base = self._base(current)
            if _is_published(change, base):
                return False
            _require_todays(change, base)
            change = replace(change, base=base)
            if change.begins_again and not begin_again:
                raise ConflictError(
                    "this root is not signed by the keys of today; on the server itself: edgeops key begin-again"
                )
            check_shape(change, now=now)
            if not is_signed(change):
                raise ConflictError(f"{_lacking(change)}; let others sign it: edgeops key sign FILE --keys DIR")
            self._publication.publish(change, current, now)
            self._promote()
        return True

    # -- what is there

    def delegations(self) -> dict[str, Delegation]:
        """By model; those that have ended stand here until they are renewed or removed."""
        return self._storage.load().delegations

    def can_sign(self, path: str, now: datetime) -> bool:
        """Whether enough keys that may list this target now are at hand."""
        current = self._storage.load()
        try:
            return self._publication.holds(current, self._role_for(current, path, now))
        except ConfigError:
            return False

    def listed(self, *, at: datetime | None = None) -> dict[str, Listed]:
        """Every target by path; with `at`, only what may be used then: not what an ended delegation listed."""
        return {path: Listed(file.length, file.hashes["sha256"]) for path, file in self._files(at).items()}

    def read(self, path: str) -> bytes | None:
        """The content of a listed target; None = it is not listed, or gone."""
        file = self._files(None).get(path)
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
            RoleKey(
                role,
                model,
                key_id,
                public,
                expires,
                at_hand=self._publication.has(key_id),
                threshold=current.threshold(role),
            )
            for role, model, key_id, public, expires in (*top, *delegated)
        )

    def trusted_root(self) -> bytes:
        """The newest root, to be handed to a device at its enrolment."""
        return self._storage.trusted_root()

    # -- below

    @contextmanager
    def _alone(self, now: datetime) -> Iterator[Current]:
        """One writer at a time, who first ends what a crash interrupted."""
        with self._storage.alone():
            self._publication.resume(now)
            self._promote()
            yield self._storage.load()

    def _promote(self) -> None:
        current = self._storage.load()
        delegated = {one.key_id for one in current.delegations.values()}
        promote(self._keys, {*current.root.signed.keys, *delegated})
        for path in self._keys.glob(f"{ROLE_PREFIX}*.pem"):
            model = path.stem.removeprefix(ROLE_PREFIX)
            if is_id(model) and model not in current.delegations:
                path.unlink()

    def _base(self, current: Current) -> Base:
        return read_base(self._storage.roots(limits.MAX_ROOTS), current.targets.to_bytes())

    def _renew(self, current: Current, now: datetime) -> None:
        draft = Draft(self._base(current), now)
        draft.renew([Targets.type])
        self._publish_own(draft.finish(), now)

    def _publish_own(self, change: Change, now: datetime) -> None:
        """Sign with the keys at hand and publish."""
        if change.is_empty:
            return
        current = self._storage.load()
        self._publication.require_own(change, current)
        sign(change, self._publication.signers)
        self._publication.publish(change, current, now)

    def _files(self, at: datetime | None) -> dict[str, TargetFile]:
        current = self._storage.load()
        files = dict(current.targets.signed.targets)
        for one in current.delegations.values():
            if at is None or at < one.expires:
                files.update(within(current.targets.signed, one.role, current.delegated[one.role].signed))
        return files

    @staticmethod
    def _role_for(current: Current, path: str, now: datetime) -> str:
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


def _is_due(metadata: Metadata[Any], root: Metadata[Root], now: datetime) -> bool:
    left, life = metadata.signed.expires - now, limits.SIGNED_LIFE[metadata.signed.type]
    return bool(left < life / 2 or (left > life + limits.CLOCKS_DIFFER and not _is_wrong(now, root)))


def _is_wrong(now: datetime, root: Metadata[Root]) -> bool:
    """Whether it is before the root was signed: a machine without a clock battery, before it heard the time."""
    return bool(now < root.signed.expires - limits.SIGNED_LIFE[Root.type] - limits.CLOCKS_DIFFER)


def _is_published(change: Change, today: Base) -> bool:
    parts = ((change.root, today.root), (change.targets, today.targets))
    return not change.is_empty and all(part is None or part.signed == there.signed for part, there in parts)


def _require_todays(change: Change, today: Base) -> None:
    """What another change replaced in the meantime is made again by a person who sees both."""
    for part, there in ((change.root, today.root), (change.targets, today.targets)):
        if part is not None and part.signed.version != there.signed.version + 1:
            name = part.signed.type
            raise ConflictError(
                f"the change was made of {name} {part.signed.version - 1}, and today it is {there.signed.version}; "
                "make it again"
            )


def _lacking(change: Change) -> str:
    lacking = [one for one in signatures(change) if one.missing]
    if not lacking:
        return "the targets of today do not hold with the keys that this root trusts, and it brings no others"
    return ", ".join(f"{one.what} has {len(one.signed)} of {one.threshold} signatures" for one in lacking)
