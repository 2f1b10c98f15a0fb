"""A change in words, for the person who is asked to sign it, after it was checked. It reads no file.

Keys and thresholds are told as they are afterwards, all of them, a new key in full: it is as whoever holds it told it.
Of what is listed is told what is new, other or gone.
"""

from tuf.api.metadata import Root, Targets  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time

from edgeops.artifact.acceptance import decode_acceptance
from edgeops.artifact.manifest import Descriptor, decode_descriptor, target_path
from edgeops.errors import ConflictError, EdgeOpsError, TrustError
from edgeops.trust.authorities import AUTHORITIES_TARGET, decode_authorities
from edgeops.trust.change import Change
from edgeops.trust.custody import ROLES
from edgeops.trust.delegation import delegations_in
from edgeops.trust.keyring import FLEET_KEYS_TARGET, decode_fleet_keys

_SHORT = 8


def describe(change: Change) -> tuple[str, ...]:
    """What it does, one thing a line."""
    lines = []
    if change.root is not None:
        lines += _of_root(change.base.root.signed, change.root.signed)
        if change.begins_again:
            lines.append("BEGINS AGAIN: devices refuse it until somebody told each of them (edgeops-agent repin)")
    if change.targets is not None:
        lines += _of_targets(change, change.base.targets.signed, change.targets.signed)
    return tuple(lines)


def descriptors(change: Change) -> dict[str, Descriptor]:
    """The artifacts that it lists anew, by target path.

    Raises:
        TrustError: one is not what its path says.
    """
    found = {}
    for path, content in change.files.items():
        if path.startswith("models/") and path.endswith(".json"):
            try:
                descriptor = decode_descriptor(content)
            except EdgeOpsError as error:
                raise TrustError(f"{path} is no descriptor of an artifact: {error}; do not sign") from error
            if target_path(descriptor.manifest) != path:
                raise TrustError(f"{path} describes {target_path(descriptor.manifest)}; do not sign")
            found[path] = descriptor
    return found


def require_promotions(change: Change) -> None:
    """Refuse to list what a promotion gate refused, unless an approver overrode that; whoever asks for the signature.

    Raises:
        TrustError: one is not what its path says.
        ConflictError: a gate refused it, and nobody overrode that.
    """
    for path, descriptor in descriptors(change).items():
        promotion, manifest = descriptor.promotion, descriptor.manifest
        if not promotion.may_be_listed:
            version = f"{manifest.name}@{manifest.version}"
            raise ConflictError(
                f"{path} did not pass its promotion gate: {promotion.failures}; an approver may override it, and then "
                f"it is asked for anew: edgeops publish {version} --variant {manifest.variant} --override REMARK"
            )


def lists_models_only(change: Change) -> bool:
    """Whether all that a checked change does is to list artifacts of models."""
    if change.targets is None or change.root is not None:
        return False
    before, after = change.base.targets.signed, change.targets.signed
    changed = {path for path, file in after.targets.items() if before.targets.get(path) != file}
    return (
        changed == set(descriptors(change))
        and not before.targets.keys() - after.targets.keys()
        and delegations_in(before) == delegations_in(after)
    )


def _of_root(before: Root, after: Root) -> list[str]:
    lines = [f"root {before.version} -> {after.version}, holds until {after.expires:%Y-%m-%d}"]
    for role in ROLES:
        old, new = before.roles[role], after.roles[role]
        ids = [f"{'+' if one not in old.keyids else ''}{one[:_SHORT]}" for one in new.keyids]
        gone = [f"-{one[:_SHORT]}" for one in old.keyids if one not in new.keyids]
        lines.append(f"{role}: {new.threshold} of {len(new.keyids)} keys: {' '.join((*ids, *gone))}")
    known = {one for role in before.roles.values() for one in role.keyids}
    lines += [
        f"+ key {one[:_SHORT]}: {key.keyval.get('public')}" for one, key in after.keys.items() if one not in known
    ]
    return lines


def _of_targets(change: Change, before: Targets, after: Targets) -> list[str]:
    lines = [f"targets {before.version} -> {after.version}, holds until {after.expires:%Y-%m-%d}"]
    known = descriptors(change)
    for path, file in sorted(after.targets.items()):
        if before.targets.get(path) != file:
            sign = "~" if path in before.targets else "+"
            lines.append(f"{sign} {path}{_said(path, change.files.get(path, b''), known.get(path))}")
    lines += [f"- {path}" for path in sorted(before.targets.keys() - after.targets.keys())]
    old, new = delegations_in(before), delegations_in(after)
    for model, one in sorted(new.items()):
        if old.get(model) != one:
            lines.append(f"+ delegation of {model} to key {one.key_id[:_SHORT]} until {one.expires:%Y-%m-%d}")
    lines += [f"- delegation of {model}" for model in sorted(old.keys() - new.keys())]
    return lines


def _said(path: str, content: bytes, descriptor: Descriptor | None) -> str:
    """What a target says, in brief."""
    if descriptor is not None:
        manifest = descriptor.manifest
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(manifest.metrics.items())[:3])
        return f": {descriptor.digest}, {descriptor.size_bytes} B, {metrics}, promotion gate {_gate(descriptor)}"
    if path == FLEET_KEYS_TARGET:
        keys = decode_fleet_keys(content)
        return ": " + ", ".join(f"fleet key {one.public_hex[:_SHORT]} of epoch {one.epoch}" for one in keys.keys)
    if path == AUTHORITIES_TARGET:
        return ": " + ", ".join(
            f"CA {one.fingerprint} until {one.ends:%Y-%m-%d}" for one in decode_authorities(content)
        )
    if path.endswith("/acceptance"):
        acceptance = decode_acceptance(content)
        return f": {len(acceptance)} inputs, floor {acceptance.floors.overall:.1%}"
    return f": {len(content)} B"


def _gate(descriptor: Descriptor) -> str:
    promotion = descriptor.promotion
    if promotion.passed:
        return "passed"
    if promotion.override is None:
        return "FAILED"
    return f"FAILED, overridden by {promotion.override.by}: {promotion.override.remark}"
