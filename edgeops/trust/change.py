"""A change of what is signed offline: a file that goes from machine to machine until enough keys signed it.

It holds the next root, the next targets, or both, the content of targets that are new, and what it changes: all roots
and the targets of today. So a machine that reaches no server can check it, say what it does and sign it. This module
reads, checks and signs changes; `edgeops.trust.draft` makes them, `edgeops.trust.repository` publishes them, and
`edgeops.trust.review` puts them into words.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
    Metadata,
    Role,
    Root,
    Targets,
)

from edgeops import limits
from edgeops.errors import ConfigError, InputError, TrustError
from edgeops.protocol.keys import PublicKey
from edgeops.trust.delegation import delegations_in, require_ours
from edgeops.trust.signers import tuf_key

_TARGET_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Base:
    """What is signed offline today."""

    #: All roots, oldest first; the last one counts.
    roots: tuple[Metadata[Root], ...]
    targets: Metadata[Targets]

    @property
    def root(self) -> Metadata[Root]:
        """The newest root."""
        return self.roots[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The next root, targets or both; None = stays as it is."""

    base: Base
    root: Metadata[Root] | None = None
    targets: Metadata[Targets] | None = None
    #: Content by target path, of those that `base` does not list so.
    files: Mapping[str, bytes] = field(default_factory=dict)
    #: The new root stands for itself: the keys of the one before are lost, devices must be told by hand.
    begins_again: bool = False

    @property
    def root_after(self) -> Root:
        """The root that counts once this is published."""
        return (self.root or self.base.root).signed

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return self.root is None and self.targets is None


@dataclass(frozen=True, slots=True)
class Signatures:
    """Who signed one part of a change, and who may."""

    #: `root`, `root (by the keys of today)` or `targets`.
    what: str
    threshold: int
    #: TUF key ids.
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]

    @property
    def missing(self) -> int:
        """So many more are needed."""
        return max(0, self.threshold - len(self.signed))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file; metadata is embedded as it is."""

    format: Literal["edgeops-change-1"]
    begins_again: bool = False
    root: msgspec.Raw = msgspec.Raw(b"null")
    targets: msgspec.Raw = msgspec.Raw(b"null")
    files: dict[str, bytes] = {}
    today_roots: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_ROOTS)]
    today_targets: msgspec.Raw


def read_base(roots: Sequence[bytes], targets: bytes) -> Base:
    """What a server says is signed today; `check` judges it.

    Raises:
        TrustError: not metadata of these roles.
    """
    return Base(tuple(_metadata(root, Root.type) for root in roots), _metadata(targets, Targets.type))


def encode_change(change: Change) -> bytes:
    """The file's content."""
    return msgspec.json.encode(
        _File(
            format="edgeops-change-1",
            begins_again=change.begins_again,
            root=_raw(change.root),
            targets=_raw(change.targets),
            files=dict(change.files),
            today_roots=tuple(msgspec.Raw(one.to_bytes()) for one in change.base.roots),
            today_targets=msgspec.Raw(change.base.targets.to_bytes()),
        )
    )


def decode_change(data: bytes) -> Change:
    """Read a file; nothing of it is believed before `check`.

    Raises:
        InputError: too large, or no change.
        TrustError: what it holds is not metadata of these roles.
    """
    if len(data) > limits.MAX_CHANGE_BYTES:
        raise InputError(f"a change has at most {limits.MAX_CHANGE_BYTES} bytes, this has {len(data)}")
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"this is no change to be signed: {error}; make one with: edgeops key or model request"
        ) from error
    return Change(
        base=read_base([bytes(one) for one in file.today_roots], bytes(file.today_targets)),
        root=_part(file.root, Root.type),
        targets=_part(file.targets, Targets.type),
        files=file.files,
        begins_again=file.begins_again,
    )


def check(change: Change, *, now: datetime, pinned: bytes | None = None) -> None:
    """Whether a person may sign it: it descends from what is trusted, and all that is new is in the file.

    `pinned` is the newest root that this person has seen; None = this is the first.

    Raises:
        TrustError: it does not, or would hold for longer than anything does.
    """
    check_base(change.base, pinned=pinned)
    if change.is_empty:
        raise TrustError("the file changes nothing; do not sign")
    check_shape(change, now=now)
    parts: tuple[Metadata[Any] | None, ...] = (change.root, change.targets)
    for part in parts:
        if part is not None and part.signed.expires > now + limits.SIGNED_LIFE[part.signed.type] + limits.CLOCKS_DIFFER:
            raise TrustError(
                f"what would be signed for {part.signed.type} holds until {part.signed.expires.isoformat()}, longer "
                "than anything does; is this machine's clock right?"
            )
    if change.targets is not None:
        for one in delegations_in(change.targets.signed).values():
            if one.expires > now + limits.DELEGATION_LIFE + limits.CLOCKS_DIFFER:
                raise TrustError(
                    f"the delegation of {one.model} would hold until {one.expires.isoformat()}, longer than one does; "
                    "do not sign"
                )


def check_base(base: Base, *, pinned: bytes | None = None) -> None:
    """Whether what is said to be signed today is, and descends from the `pinned` root.

    Raises:
        TrustError: it does not.
    """
    _check_chain(base, None if pinned is None else _metadata(pinned, Root.type))
    if not _verifies(base.root.signed, base.targets):
        raise TrustError("the targets of today are not signed by the targets keys of today; do not sign")


def check_shape(change: Change, *, now: datetime) -> None:
    """Whether its parts are next versions that have not ended, list what comes along, and name keys as ours do.

    Raises:
        TrustError: one is not.
    """
    base = change.base
    parts: list[tuple[Metadata[Any] | None, Metadata[Any]]] = [
        (change.root, base.root),
        (change.targets, base.targets),
    ]
    for part, today in parts:
        if part is None:
            continue
        name = part.signed.type
        if part.signed.version != today.signed.version + 1:
            raise TrustError(f"{name} {part.signed.version} does not follow on {today.signed.version}; make it again")
        if part.signed.expires <= now:
            raise TrustError(
                f"what would be signed for {name} has ended at {part.signed.expires.isoformat()}; make it again, or is "
                "this machine's clock wrong?"
            )
    if change.root is not None:
        if not change.root.signed.consistent_snapshot:
            raise TrustError("the new root gives up consistent snapshots; do not sign")
        _check_keys(change.root.signed.keys, change.root.signed.roles.values())
    if change.targets is not None:
        require_ours(change.targets.signed)
        if change.targets.signed.delegations is not None:
            _check_keys(change.targets.signed.delegations.keys, ())
    _check_files(change)


def signatures(change: Change) -> tuple[Signatures, ...]:
    """Who signed what of it, and who still may."""
    found = []
    if change.root is not None:
        if not change.begins_again:
            found.append(_signatures("root (by the keys of today)", change.base.root.signed, change.root))
        found.append(_signatures("root", change.root.signed, change.root))
    if change.targets is not None:
        found.append(_signatures("targets", change.root_after, change.targets))
    return tuple(found)


def is_signed(change: Change) -> bool:
    """Whether every part has enough signatures, and today's targets stay valid if they are not replaced."""
    complete = all(one.missing == 0 for one in signatures(change))
    return complete and (change.targets is not None or stays_valid(change))


def stays_valid(change: Change) -> bool:
    """Whether the targets of today are signed by enough keys of the root that comes."""
    return _verifies(change.root_after, change.base.targets)


def sign(change: Change, signers: Mapping[str, Signer]) -> tuple[str, ...]:
    """Add the signature of every key at hand that counts; the ids of those keys."""
    used = []
    for part, roles in (
        (change.root, [change.base.root.signed.roles[Root.type], change.root_after.roles[Root.type]]),
        (change.targets, [change.root_after.roles[Targets.type]]),
    ):
        if part is None:
            continue
        allowed = {key_id for role in roles for key_id in role.keyids}
        for key_id in sorted(allowed & signers.keys()):
            part.sign(signers[key_id], append=True)
            used.append(key_id)
    return tuple(dict.fromkeys(used))


def is_target_path(path: str) -> bool:
    """Whether a target may be called so: what it is kept under never leaves the folder of targets."""
    return len(path) <= limits.MAX_TARGET_PATH and _TARGET_PATH.fullmatch(path) is not None


def follows(before: Root, after: Metadata[Root]) -> bool:
    """Whether enough keys of both roots signed the newer one (TUF specification, 5.3.4)."""
    try:
        return bool(after.signed.get_root_verification_result(before, after.signed_bytes, after.signatures))
    except ValueError:
        return False


def _verifies(root: Root, part: Metadata[Any]) -> bool:
    return bool(root.get_verification_result(part.signed.type, part.signed_bytes, part.signatures))


def _signatures(what: str, root: Root, part: Metadata[Any]) -> Signatures:
    found = root.get_verification_result(part.signed.type, part.signed_bytes, part.signatures)
    return Signatures(what, found.threshold, tuple(sorted(found.signed)), tuple(sorted(found.unsigned)))


def _check_chain(base: Base, pinned: Metadata[Root] | None) -> None:
    """Today's root descends from the pinned one; the first that a person sees speaks for itself."""
    newest = base.root
    start = newest if pinned is None else pinned
    known = next((one for one in base.roots if one.signed.version == start.signed.version), None)
    if known is None:
        raise TrustError(
            f"today's root is said to be {newest.signed.version}, and root {start.signed.version} was seen here "
            "before: the file is older than what is trusted; do not sign"
        )
    if known.signed != start.signed:
        raise TrustError(f"the file has another root {start.signed.version} than was seen here before; do not sign")
    if not _verifies(known.signed, known):
        raise TrustError(f"root {known.signed.version} is not signed by its own keys; do not sign")
    for before, after in pairwise(base.roots[base.roots.index(known) :]):
        if not follows(before.signed, after):
            raise TrustError(f"root {after.signed.version} was not signed by the keys of the one before; do not sign")


def _check_keys(keys: Mapping[str, Key], roles: Collection[Role]) -> None:
    """Each has the id that its content gives it: people are shown ids, and TUF leaves open which key has one."""
    for key_id in (one for role in roles for one in role.keyids if one not in keys):
        raise TrustError(f"{key_id[:64]!r} would be trusted, and which key that is the file does not say; do not sign")
    for key_id, key in keys.items():
        try:
            ours = tuf_key(PublicKey.from_hex(str(key.keyval.get("public"))))
        except ConfigError:
            ours = None
        if key != ours:
            raise TrustError(f"what is listed as {key_id[:64]!r} is not the key that has this id; do not sign")


def _check_files(change: Change) -> None:
    """The content of what is listed anew comes along and no other: whoever carries a file could add to it."""
    today = change.base.targets.signed.targets
    after = today if change.targets is None else change.targets.signed.targets
    new = {path: listed for path, listed in after.items() if today.get(path) != listed}
    added = sorted(change.files.keys() - new.keys())
    if added:
        raise TrustError(f"the file brings content of {added[0][:120]}, which it does not list anew; do not sign")
    for path, listed in new.items():
        if not is_target_path(path):
            raise TrustError(f"{path[:120]!r} would be listed, which is no target path; do not sign")
        content = change.files.get(path)
        if content is None:
            raise TrustError(f"{path} would be listed, and its content is not in the file; do not sign")
        try:
            listed.verify_length_and_hashes(content)
        except RepositoryError as error:
            raise TrustError(f"{path} would be listed with another content than the file's: {error}") from error


def _metadata(data: bytes, kind: str) -> Metadata[Any]:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
        # Asked for here, because what has no canonical form has no signature either.
        content = metadata.signed_bytes
    except RepositoryError as error:
        raise TrustError(f"not TUF metadata of {kind}: {str(error) or type(error).__name__}") from error
    if metadata.signed.type != kind or not content:
        raise TrustError(f"metadata of {metadata.signed.type} where {kind} is expected")
    if not all(isinstance(one, str) for one in _names(metadata.signed)):
        raise TrustError(f"metadata of {kind} whose roles and key ids are no texts")
    return metadata


def _names(signed: Root | Targets) -> Iterator[object]:
    """What python-tuf takes as it comes."""
    roles = signed.roles if isinstance(signed, Root) else signed.delegations and signed.delegations.roles
    for name, role in (roles or {}).items():
        yield name
        yield from role.keyids


def _part(raw: msgspec.Raw, kind: str) -> Metadata[Any] | None:
    return None if bytes(raw) == b"null" else _metadata(bytes(raw), kind)


def _raw(metadata: Metadata[Any] | None) -> msgspec.Raw:
    return msgspec.Raw(b"null" if metadata is None else metadata.to_bytes())
