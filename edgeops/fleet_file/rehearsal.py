"""Asks the server, before anything is changed, what it would refuse of a plan: nothing shall be made by half.

Rollouts are previewed with the groups and pins as the file will have made them, and policies judged by those groups.
What somebody changes between this and the deed is refused when its turn comes; so is what no preview tells: the end of
a pin that has passed, a group that is to go and that a rollout or the policy of another model still names, a deed that
the caller's role does not allow.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from edgeops import limits
from edgeops.api.client import Client
from edgeops.fleet_file.document import Document, Group, Pin, Rollout, is_digest, order_of, place_of
from edgeops.fleet_file.plan import Act, Change, PresentPin, pin_name
from edgeops.learning.healing_groups import groups_named, missing_groups
from edgeops.rollout.objection import Objection, segment


def objections_to(client: Client, document: Document, changes: Sequence[Change]) -> list[Objection]:
    """Everything that the server would refuse of these changes, with its place in the file.

    Raises:
        ServerError: the server could not tell.
    """
    made = {(one.noun, one.name) for one in changes if one.act in (Act.CREATE, Act.CHANGE)}
    groups = {name: group for name, group in (document.groups or {}).items() if ("group", name) in made}
    pins = [
        (f"#/pins/{number}", pin)
        for number, pin in enumerate(document.pins or ())
        if ("pin", pin_name(pin.device, pin.deployment)) in made
    ]
    rollouts = [
        (f"#/rollouts/{number}", rollout)
        for number, rollout in enumerate(document.rollouts)
        if ("rollout", rollout.name) in made
    ]
    return [
        *_strangers(client, groups, pins),
        *_missing_artifacts(client, pins),
        *_missing_groups(client, document, changes),
        *_refused_rollouts(client, document, rollouts, _pins_to_be(changes)),
    ]


def _strangers(client: Client, groups: Mapping[str, Group], pins: Sequence[tuple[str, Pin]]) -> Iterator[Objection]:
    """Devices of groups and pins that do not belong to the fleet."""
    if not any(group.devices for group in groups.values()) and not pins:
        return
    known = {one.id for one in client.devices()}
    yield from _stranger_members(groups, known)
    for place, pin in pins:
        if pin.device not in known:
            yield Objection(f"{place}/device", _no_device(pin.device))


def _stranger_members(groups: Mapping[str, Group], known: set[str]) -> Iterator[Objection]:
    for name, group in groups.items():
        missing = [device for device in group.devices if device not in known]
        if missing:
            yield Objection(f"#/groups/{segment(name)}", _no_device(*missing[: limits.NAMED_IN_ERRORS]))


def _no_device(*ids: str) -> str:
    return f"no enrolled device with id {', '.join(ids)}; list them with: edgeops devices list"


def _missing_artifacts(client: Client, pins: Iterable[tuple[str, Pin]]) -> Iterator[Objection]:
    """Digests of pins that no artifact has."""
    wanted = [(place, pin.to) for place, pin in pins if pin.to is not None and is_digest(pin.to)]
    if not wanted:
        return
    versions = (version for model in client.models() for version in client.model(model.name).versions or ())
    known = {artifact.digest for version in versions for artifact in version.artifacts}
    for place, digest in wanted:
        if digest not in known:
            yield Objection(f"{place}/to", f"no artifact {digest} here; list digests with: edgeops model show NAME")


def _missing_groups(client: Client, document: Document, changes: Iterable[Change]) -> Iterator[Objection]:
    """Groups that policies of the file name and that will not be there."""
    policies = document.retraining or {}
    if not any(groups_named(policy) for policy in policies.values()):
        return
    removed = {one.name for one in changes if one.act is Act.REMOVE and one.noun == "group"}
    known = {one.name for one in client.groups.every()} | set(document.groups or ())
    for model, policy in policies.items():
        for one in missing_groups(policy, known - removed):
            yield Objection(place_of(f"#/retraining/{segment(model)}", one.pointer), one.detail)


def _refused_rollouts(
    client: Client,
    document: Document,
    rollouts: Iterable[tuple[str, Rollout]],
    pins: Sequence[Mapping[str, Any]],
) -> Iterator[Objection]:
    groups = {name: _members(group) for name, group in (document.groups or {}).items()}
    for place, rollout in rollouts:
        preview = client.preview_rollout({**order_of(rollout), "groups": groups, "pins": pins}, limit=1)
        for one in preview.problems:
            yield Objection(place_of(place, one.pointer), one.detail)


def _pins_to_be(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Those that are made, are others, or are no more by the time rollouts begin; as many as a preview takes."""
    pins = [_pin_to_be(change) for change in changes if change.noun == "pin"]
    return pins[: limits.MAX_PREVIEWED_PINS]


def _pin_to_be(change: Change) -> dict[str, Any]:
    pin = msgspec.convert(change.after or change.before, PresentPin)
    named = {"device_id": pin.device, "deployment": pin.deployment}
    if change.after is None:
        return {**named, "removed": True}
    return {**named, "digest": pin.digest, "reason": pin.reason, "until": change.after["until"]}


def _members(group: Group) -> dict[str, Any]:
    return {"selector": group.selector} if group.selector is not None else {"device_ids": list(group.devices)}
