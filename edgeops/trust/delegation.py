"""Delegations inside targets metadata: who may sign a model that was retrained at 3 a.m.

Targets delegates `models/<model>/auto/*` to one terminating role `auto-<model>` per model, each with one key of
its own and an end. The end is a field of the delegation (`x-edgeops-expires`): TUF knows an expiry of the delegated
role's metadata only, which the delegated key signs itself, so whoever stole it could sign a later one. This module
reads and writes the delegations of one metadata value; it signs nothing and touches no file.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from securesystemslib.signer import Key
from tuf.api.metadata import (  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
    DelegatedRole,
    Delegations,
    TargetFile,
    Targets,
)

from edgeops.errors import InputError, TrustError
from edgeops.protocol.topics import is_id

ROLE_PREFIX = "auto-"
_EXPIRES = "x-edgeops-expires"


@dataclass(frozen=True, slots=True)
class Delegation:
    """One model whose versions its own key may sign."""

    model: str
    #: TUF key id, and the 64 hex characters of the public half.
    key_id: str
    public_hex: str
    expires: datetime

    @property
    def role(self) -> str:
        """The TUF role."""
        return role_of(self.model)


def role_of(model: str) -> str:
    """The role that signs the auto targets of `model`; no two models share one.

    Raises:
        InputError: no model can have this name.
    """
    if not is_id(model):
        raise InputError(f"not a model name: {model[:80]!r}; use 3 to 63 of a-z, 0-9 and -")
    return f"{ROLE_PREFIX}{model}"


def delegations_in(targets: Targets) -> dict[str, Delegation]:
    """All delegations to `auto-<model>` roles, by model.

    Raises:
        TrustError: one of them is not as `delegate` makes it.
    """
    return {
        name.removeprefix(ROLE_PREFIX): _delegation(targets, role)
        for name, role in _roles(targets).items()
        if name.startswith(ROLE_PREFIX)
    }


def delegate(targets: Targets, model: str, key: Key, *, expires: datetime) -> None:
    """Let `key`, and no earlier one, sign the auto targets of `model` until `expires`."""
    undelegate(targets, model)
    name = role_of(model)
    if targets.delegations is None:
        targets.delegations = Delegations(keys={}, roles={})
    assert targets.delegations.roles is not None
    targets.delegations.roles[name] = DelegatedRole(
        name=name,
        keyids=[],
        threshold=1,
        terminating=True,
        paths=_paths(model),
        unrecognized_fields={_EXPIRES: _text(expires)},
    )
    targets.add_key(key, name)


def undelegate(targets: Targets, model: str) -> None:
    """Let nobody sign the auto targets of `model`; harmless to repeat."""
    name = role_of(model)
    role = _roles(targets).get(name)
    if role is None:
        return
    for key_id in list(role.keyids):
        targets.revoke_key(key_id, name)
    del _roles(targets)[name]
    if not _roles(targets):
        targets.delegations = None


def require_ours(targets: Targets) -> None:
    """No delegation says more than `delegate` makes it say: one key, one model's auto targets, until a date.

    Raises:
        TrustError: one does.
    """
    delegations = targets.delegations
    if delegations is None:
        return
    known = delegations_in(targets)
    ours = {
        one.role: DelegatedRole(
            name=one.role,
            keyids=[one.key_id],
            threshold=1,
            terminating=True,
            paths=_paths(model),
            unrecognized_fields={_EXPIRES: _text(one.expires)},
        )
        for model, one in known.items()
    }
    if _roles(targets) != ours or set(delegations.keys) != {one.key_id for one in known.values()}:
        odd = sorted(name for name, role in _roles(targets).items() if ours.get(name) != role)
        raise TrustError(
            f"the delegations ({', '.join(odd) or 'their keys'}) are not as edgeops key delegate makes them"
        )


def end_of(targets: Targets, path: str) -> datetime | None:
    """When the first delegation that covers `path` ends; None = never, or nothing covers it.

    Raises:
        TrustError: its end cannot be read, so that it cannot be kept either.
    """
    for role in _roles(targets).values():
        if role.is_delegated_path(path):
            return _end(role)
    return None


def delegated_to(targets: Targets) -> tuple[str, ...]:
    """The names of all roles that `targets` delegates to."""
    return tuple(_roles(targets))


def within(targets: Targets, role: str, listing: Targets) -> dict[str, TargetFile]:
    """Of what `role` lists, that which `targets` delegated to it."""
    own = _roles(targets)[role]
    return {path: file for path, file in listing.targets.items() if own.is_delegated_path(path)}


def _paths(model: str) -> list[str]:
    return [f"models/{model}/auto/*"]


def _roles(targets: Targets) -> dict[str, DelegatedRole]:
    """By name, in the order in which they are asked; a live view where there are any."""
    return (targets.delegations.roles if targets.delegations is not None else None) or {}


def _delegation(targets: Targets, role: DelegatedRole) -> Delegation:
    assert targets.delegations is not None
    expires = _end(role)
    key = targets.delegations.keys.get(role.keyids[0]) if len(role.keyids) == 1 else None
    if expires is None or key is None:
        raise TrustError(f"the delegation to {role.name} has no end, or not one key; delegate again")
    return Delegation(
        model=role.name.removeprefix(ROLE_PREFIX),
        key_id=key.keyid,
        public_hex=str(key.keyval.get("public")),
        expires=expires,
    )


def _end(role: DelegatedRole) -> datetime | None:
    text = role.unrecognized_fields.get(_EXPIRES)
    if text is None:
        return None
    try:
        end = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise TrustError(f"the delegation to {role.name} ends at {text!r}, which is no moment") from None
    if end.tzinfo is None:
        raise TrustError(f"the delegation to {role.name} ends at {text!r}, which names no time zone")
    return end


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
