"""Reads a fleet through REST as far as a file speaks of it, and carries out what `edgeops.fleet_file.plan` found.

It decides nothing. Each change is a request of its own: what broke off half-way is finished by applying again.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from edgeops.api import shapes
from edgeops.api.client import Client
from edgeops.api.wire import NEW
from edgeops.errors import NotFoundError
from edgeops.fleet_file.document import Document, Group, Pin, Rollout, is_digest, order_of, split_reference
from edgeops.fleet_file.plan import Act, Change, Present, PresentPin, PresentRollout, pin_name
from edgeops.learning.triggers import read_policy
from edgeops.rollout.objection import Objection, segment


def present_of(client: Client, document: Document) -> Present:
    """The fleet as it is now, with what the file names and is not there.

    Raises:
        ServerError: the server could not tell.
    """
    missing: list[Objection] = []
    groups = () if document.groups is None else tuple(client.groups.every())
    pins = () if document.pins is None else tuple(client.pins.every())
    policies = _policies(client, document.retraining or (), missing)
    return Present(
        groups={one.name: Group(selector=one.selector, devices=one.device_ids) for one in groups},
        pins=tuple(map(_present_pin, pins)),
        retraining={
            model: read_policy(one.model_dump(mode="json", exclude={"edition"})) for model, one in policies.items()
        },
        rollouts=tuple(_newest_rollouts(client)) if document.rollouts else (),
        digests=_digests(client, document.pins or (), missing),
        editions={
            **{("group", one.name): one.revision for one in groups},
            **{("pin", pin_name(one.device_id, one.deployment)): one.edition for one in pins},
            **{("retraining", model): one.edition for model, one in policies.items()},
        },
        missing=tuple(missing),
    )


def carry_out(client: Client, change: Change, editions: Mapping[tuple[str, str], int | str]) -> str:
    """Make one thing as the file says, and say what was done; `editions` are those of what the plan began with.

    Raises:
        ConflictError: a group, pin or policy is another by now.
    """
    edition = NEW if change.act is Act.CREATE else editions.get((change.noun, change.name))
    match change.noun:
        case "group":
            _set_group(client, change, edition)
        case "pin":
            _set_pin(client, change, edition)
        case "retraining":
            assert change.after is not None, "a policy is never removed"
            client.set_retraining_policy(change.name, change.after, edition=edition)
        case _:
            if change.act is Act.CREATE:
                return f"rollout {_begin(client, change)}"
            return ""
    return _done(change)


def _done(change: Change) -> str:
    match change.act:
        case Act.CREATE:
            return f"{change.noun} {change.name} made"
        case Act.CHANGE:
            return f"{change.noun} {change.name} changed"
        case Act.REMOVE:
            return f"{change.noun} {change.name} removed"
        case Act.DIFFERS:
            return ""
        case _:
            assert_never(change.act)


def _set_group(client: Client, change: Change, edition: int | str | None) -> None:
    if change.after is None:
        client.groups.remove(change.name, edition=edition)
        return
    group = msgspec.convert(change.after, Group)
    client.groups.put(change.name, selector=group.selector, device_ids=group.devices, edition=edition)


def _set_pin(client: Client, change: Change, edition: int | str | None) -> None:
    pin = msgspec.convert(change.after or change.before, PresentPin)
    if change.after is None:
        client.pins.remove(pin.device, deployment=pin.deployment, edition=edition)
        return
    client.pins.put(
        pin.device, deployment=pin.deployment, digest=pin.digest, reason=pin.reason, until=pin.until, edition=edition
    )


def _begin(client: Client, change: Change) -> str:
    rollout = msgspec.convert(change.after, Rollout)
    made = client.order_rollout(order_of(rollout))
    waits = f", waits for {made.waits_for}" if made.waits_for else ""
    said = "begun" if made.began_at is not None else f"is {made.state}{waits}"
    return f"{made.id} {said}: {rollout.model} for {change.name}"


# -- the fleet as it is ------------------------------------------------------------------


def _present_pin(one: shapes.Pin) -> PresentPin:
    return PresentPin(
        device=one.device_id, deployment=one.deployment, digest=one.digest, reason=one.reason, until=one.until
    )


def _newest_rollouts(client: Client) -> Iterable[PresentRollout]:
    """Of each deployment and selector the newest rollout, and behind it the newest that has begun."""
    every = {one.id: one for one in client.rollouts()}
    newest: dict[tuple[str, str, bool], shapes.Rollout] = {}
    for one in sorted(every.values(), key=lambda one: (one.began_at or one.created_at, one.id), reverse=True):
        for begun in (False, True):
            if one.began_at is not None or not begun:
                newest.setdefault((one.deployment, one.selector, begun), one)
    for _, one in sorted(newest.items(), key=lambda found: found[0]):
        undone = every.get(one.undoes or "")
        yield _present_rollout(one, undoes=None if undone is None else _present_rollout(undone))


def _present_rollout(one: shapes.Rollout, *, undoes: PresentRollout | None = None) -> PresentRollout:
    return PresentRollout(
        id=one.id,
        state=one.state,
        model=one.model,
        version=one.version,
        variant=one.variant,
        deployment=one.deployment,
        to=one.selector,
        policy=one.policy,
        waves=one.wanted_waves,
        intent=one.intent,
        continuous=one.continuous,
        has_begun=one.began_at is not None,
        waits_for=one.waits_for,
        undoes=undoes,
    )


def _policies(client: Client, models: Iterable[str], missing: list[Objection]) -> dict[str, shapes.RetrainingPolicy]:
    policies = {}
    for model in models:
        try:
            policies[model] = client.retraining_policy(model)
        except NotFoundError as error:
            missing.append(Objection(f"#/retraining/{segment(model)}", str(error)))
    return policies


def _digests(client: Client, pins: Iterable[Pin], missing: list[Objection]) -> dict[tuple[str, str], str]:
    """Of each model and variant that a pin names, the digest."""
    digests = {}
    for number, pin in enumerate(pins):
        if pin.to is None or is_digest(pin.to) or (pin.to, pin.variant) in digests:
            continue
        try:
            artifacts = client.version(*split_reference(pin.to)).artifacts
        except NotFoundError as error:
            missing.append(Objection(f"#/pins/{number}/to", str(error)))
            continue
        by_variant = {one.variant: one.digest for one in artifacts}
        if pin.variant in by_variant:
            digests[pin.to, pin.variant] = by_variant[pin.variant]
        else:
            words = f"{pin.to} has no variant {pin.variant[:40]!r}; there are: {', '.join(by_variant) or 'none'}"
            missing.append(Objection(f"#/pins/{number}/variant", words))
    return digests
