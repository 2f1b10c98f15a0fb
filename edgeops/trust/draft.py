"""Makes changes of what is signed offline: keys trusted, revoked and replaced, targets listed and taken back.

A draft collects what a person wants, and `finish` makes one change of it. Nothing is signed here, no key is made, and
whether the change may be published is for `edgeops.trust.repository`.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime

from tuf.api.metadata import (  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
    Metadata,
    Root,
    TargetFile,
    Targets,
)

from edgeops import limits
from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.protocol.keys import PublicKey
from edgeops.trust.change import Base, Change, stays_valid
from edgeops.trust.custody import ROLES
from edgeops.trust.delegation import Delegation, delegate, delegations_in, role_of, undelegate
from edgeops.trust.signers import tuf_key

#: Roles of which people hold several keys, with a threshold; the others are one key of the server's.
HELD = (Root.type, Targets.type)


@dataclass(frozen=True, slots=True)
class Trusted:
    """One key that root trusts today."""

    role: str
    key_id: str
    public_hex: str


class Draft:
    """One change in the making."""

    def __init__(self, base: Base, now: datetime) -> None:
        self.base = base
        self._now = now.astimezone(UTC)
        self._root: Metadata[Root] | None = None
        self._targets: Metadata[Targets] | None = None
        self._files: dict[str, bytes] = {}
        self._begins_again = False

    # -- who may sign

    def trust(
        self, role: str, publics: Sequence[PublicKey], *, threshold: int | None = None, replaces: str | None = None
    ) -> None:
        """Let more keys sign for root or targets, or change how many must; `replaces` is the id of one that goes.

        Raises:
            InputError: not a role of several keys, or a threshold that its keys cannot meet.
            NotFoundError: no key of the role has the id.
            ConflictError: a key is trusted already.
        """
        _require_held(role)
        root = self._next_root()
        if replaces is not None:
            gone = find_key(self.base.root.signed, replaces)
            if gone.role != role:
                raise NotFoundError(f"{replaces} is a key of {gone.role}, not of {role}")
            root.revoke_key(gone.key_id, role)
        for public in publics:
            key = tuf_key(public)
            if key.keyid in root.keys:
                raise ConflictError(f"{public.hex} is trusted already; one key serves one person in one role")
            root.add_key(key, role)
        self._set_threshold(role, threshold)

    def revoke(self, key_id: str, *, threshold: int | None = None) -> Trusted:
        """Let a key sign no more; its id may be cut short.

        Raises:
            NotFoundError: no key begins so.
            InputError: several do, it is the server's own, or too few keys would be left.
        """
        found = find_key(self.base.root.signed, key_id)
        if found.role not in HELD:
            raise InputError(
                f"{found.key_id[:8]} is the server's own {found.role} key; replace it: edgeops key rotate {found.role}"
            )
        self._next_root().revoke_key(found.key_id, found.role)
        self._set_threshold(found.role, threshold)
        return found

    def replace(self, role: str, old: Collection[str], new: Sequence[PublicKey]) -> None:
        """Take `new` keys of a role in place of the `old` ones (key ids); its threshold stays."""
        root = self._next_root()
        for key_id in old:
            root.revoke_key(key_id, role)
        for public in new:
            root.add_key(tuf_key(public), role)
        self._set_threshold(role, None)

    def begin_again(self, new: Mapping[str, PublicKey]) -> None:
        """Trust these keys and no others, role by role, although those of today cannot agree to it."""
        root = self._next_root()
        root.keys.clear()
        for role in ROLES:
            root.roles[role].keyids.clear()
            root.roles[role].threshold = 1
            root.add_key(tuf_key(new[role]), role)
        self._begins_again = True

    # -- what is listed

    def list(self, targets: Mapping[str, bytes]) -> None:
        """List targets (path -> content) unless they are listed so already."""
        for path, content in targets.items():
            file = TargetFile.from_data(path, content, ["sha256"])
            if self.base.targets.signed.targets.get(path) != file:
                self._next_targets().targets[path] = file
                self._files[path] = content

    def unlist(self, paths: Collection[str]) -> tuple[str, ...]:
        """List these no longer; those that were listed."""
        gone = tuple(sorted(set(paths) & set(self.base.targets.signed.targets)))
        for path in gone:
            self._next_targets().targets.pop(path, None)
            self._files.pop(path, None)
        return gone

    def delegate(self, model: str, public: PublicKey) -> Delegation:
        """Let a key sign versions of a model that the fleet retrained by itself.

        Raises:
            InputError: no model can have this name.
        """
        targets = self._next_targets()
        delegate(targets, model, tuf_key(public), expires=self._now + limits.DELEGATION_LIFE)
        return delegations_in(targets)[model]

    def undelegate(self, model: str) -> None:
        """Take that back.

        Raises:
            NotFoundError: the model has no delegation.
            InputError: no model can have this name.
        """
        role_of(model)
        if model not in delegations_in(self.base.targets.signed):
            raise NotFoundError(f"{model} has no delegation; list them with: edgeops key list")
        undelegate(self._next_targets(), model)

    # -- for how long

    def renew(self, roles: Collection[str]) -> None:
        """Begin a new life of root, targets or both, and change nothing else."""
        for role in roles:
            _require_held(role)
        if Root.type in roles:
            self._next_root()
        if Targets.type in roles:
            self._next_targets()

    def finish(self) -> Change:
        """The change; targets are part of it also where only the keys that may sign them change."""
        change = self._change()
        if self._root is not None and self._targets is None and not stays_valid(change):
            self._next_targets()
            change = self._change()
        return change

    # -- below

    def _change(self) -> Change:
        return Change(
            base=self.base,
            root=self._root,
            targets=self._targets,
            files=self._files,
            begins_again=self._begins_again,
        )

    def _next_root(self) -> Root:
        if self._root is None:
            self._root = Metadata(deepcopy(self.base.root.signed))
            self._root.signed.version += 1
            self._root.signed.expires = self._now + limits.ROOT_LIFE
        return self._root.signed

    def _next_targets(self) -> Targets:
        if self._targets is None:
            self._targets = Metadata(deepcopy(self.base.targets.signed))
            self._targets.signed.version += 1
            self._targets.signed.expires = self._now + limits.TARGETS_LIFE
        return self._targets.signed

    def _set_threshold(self, role: str, threshold: int | None) -> None:
        held = self._next_root().roles[role]
        wanted = held.threshold if threshold is None else threshold
        keys = len(held.keyids)
        if keys > limits.MAX_ROLE_KEYS:
            raise InputError(f"{role} would have {keys} keys, at most {limits.MAX_ROLE_KEYS} are allowed; revoke some")
        if not 1 <= wanted <= keys:
            raise InputError(
                f"{role} would have {keys} keys and need {wanted} signatures; trust more keys first, or say --threshold"
            )
        held.threshold = wanted


def trusted_keys(root: Root) -> tuple[Trusted, ...]:
    """Every key of every role."""
    return tuple(
        Trusted(role, key_id, str(root.keys[key_id].keyval["public"]))
        for role in ROLES
        for key_id in root.roles[role].keyids
    )


def find_key(root: Root, key_id: str) -> Trusted:
    """The key whose id begins so.

    Raises:
        NotFoundError: none does.
        InputError: several do.
    """
    found = [one for one in trusted_keys(root) if one.key_id.startswith(key_id.lower())]
    if not key_id or not found:
        raise NotFoundError(f"no key {key_id[:64]!r} of a TUF role; list them with: edgeops key list")
    if len(found) > 1:
        raise InputError(f"{len(found)} keys begin with {key_id}; name more of it")
    return found[0]


def _require_held(role: str) -> None:
    if role not in HELD:
        raise InputError(f"{role!r} has one key, the server's; people hold keys of {' and '.join(HELD)}")
