"""What has to change until a fleet is as its file says: a pure comparison, whose second run finds nothing to do.

What the file does not speak of stays, unless pruning is asked for; what a rollout demanded when it began is never
changed, so a difference there is told and not acted on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from edgeops.fleet_file.document import Document, Group, Pin, Rollout, is_digest, split_reference
from edgeops.learning.triggers import RetrainPolicy
from edgeops.rollout.objection import Objection
from edgeops.rollout.terms import read_terms


class Act(StrEnum):
    """What is done about one thing."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    #: Nothing: it differs, and no file can change it.
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as the file says."""

    act: Act
    #: `group`, `pin`, `retraining`, `rollout`.
    noun: str
    name: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    #: What else a person should know.
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentPin:
    """A pin that is there."""

    device: str
    deployment: str | None
    digest: str | None
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentRollout:
    """The newest rollout of a deployment and selector, or the newest that has begun."""

    id: str
    state: str
    model: str
    version: int
    variant: str
    deployment: str
    to: str
    policy: Mapping[str, Any]
    waves: tuple[str, ...]
    intent: str
    continuous: bool = False
    has_begun: bool = True
    #: What leads it out of its state, in words.
    waits_for: str = ""
    #: The rollout that this one undoes.
    undoes: "PresentRollout | None" = None

    @property
    def brings(self) -> tuple[str, str]:
        """Model and variant."""
        return f"{self.model}@{self.version}", self.variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The fleet as it is, as far as the file speaks of it."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    pins: tuple[PresentPin, ...] = ()
    retraining: Mapping[str, RetrainPolicy] = field(default_factory=dict)
    rollouts: tuple[PresentRollout, ...] = ()
    #: (model@version, variant) -> digest, of those that pins name.
    digests: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: (noun, name) -> the edition that was read, of all but rollouts: what is another by now is not overwritten.
    editions: Mapping[tuple[str, str], int | str] = field(default_factory=dict)
    #: What pins and policies name and nobody knows, with its place in the file: those are not compared.
    missing: tuple[Objection, ...] = ()


def plan(document: Document, present: Present, *, prune: bool) -> tuple[Change, ...]:
    """What is to be done, in the order in which it can be: groups before the rollouts that name them."""
    return (
        *_groups(document, present),
        *_pins(document, present, prune=prune),
        *_retraining(document, present),
        *_rollouts(document, present),
        *_pruned_groups(document, present, prune=prune),
    )


def pin_name(device: str, deployment: str | None) -> str:
    """What a pin is known by."""
    return device if deployment is None else f"{device}/{deployment}"


def _groups(document: Document, present: Present) -> Iterator[Change]:
    for name, group in sorted((document.groups or {}).items()):
        yield from _compared("group", name, present.groups.get(name), group)


def _pruned_groups(document: Document, present: Present, *, prune: bool) -> Iterator[Change]:
    """Last, because a rollout that this apply replaces may still name one."""
    if prune and document.groups is not None:
        for name in sorted(set(present.groups) - set(document.groups)):
            yield Change(Act.REMOVE, "group", name, _plain(present.groups[name]), None)


def _pins(document: Document, present: Present, *, prune: bool) -> Iterator[Change]:
    there = {(one.device, one.deployment): one for one in present.pins}
    wanted = {(one.device, one.deployment): _resolved(one, present) for one in document.pins or ()}
    for key, pin in wanted.items():
        if pin is not None:
            yield from _compared("pin", pin_name(*key), there.get(key), pin)
    if prune and document.pins is not None:
        for key in sorted(set(there) - set(wanted), key=str):
            yield Change(Act.REMOVE, "pin", pin_name(*key), _plain(there[key]), None)


def _resolved(pin: Pin, present: Present) -> PresentPin | None:
    """The pin as the server would keep it; None where nobody knows what it names."""
    digest = pin.to
    if digest is not None and not is_digest(digest):
        digest = present.digests.get((digest, pin.variant))
        if digest is None:
            return None
    return PresentPin(device=pin.device, deployment=pin.deployment, digest=digest, reason=pin.reason, until=pin.until)


def _retraining(document: Document, present: Present) -> Iterator[Change]:
    for model, policy in sorted((document.retraining or {}).items()):
        if model in present.retraining:
            yield from _compared("retraining", model, present.retraining[model], policy)


def _rollouts(document: Document, present: Present) -> Iterator[Change]:
    for rollout in document.rollouts:
        wanted = (_normal(rollout.model), rollout.variant)
        there = [one for one in present.rollouts if (one.deployment, one.to) == (rollout.deployment, rollout.to)]
        found = _deciding(there, wanted)
        if found is None:
            yield Change(Act.CREATE, "rollout", rollout.name, None, _plain(rollout))
        elif found.brings == wanted:
            yield from _differing(rollout, found)
        elif found.undoes is not None and found.undoes.brings == wanted:
            remark = (
                f"rollout {found.id} undid {found.undoes.id}, which brought that; name another model, or bring it"
                " again: edgeops rollout create"
            )
            yield Change(Act.DIFFERS, "rollout", rollout.name, _brought(found), _brought(found.undoes), remark)
        else:
            yield Change(Act.CREATE, "rollout", rollout.name, _brought(found), _plain(rollout))


def _deciding(newest_first: Sequence[PresentRollout], wanted: tuple[str, str]) -> PresentRollout | None:
    """The newest; but another one that waits, or was denied, does not make anew what has begun and is wanted."""
    if not newest_first:
        return None
    newest, begun = newest_first[0], newest_first[-1]
    return begun if not newest.has_begun and newest.brings != wanted and begun.brings == wanted else newest


def _differing(rollout: Rollout, found: PresentRollout) -> Iterator[Change]:
    """It brought the same model on other terms, ended badly, has not begun, or stands still."""
    wanted = _terms(rollout, rollout.policy)
    has = _terms(found, found.policy)
    # An undo has terms of its own, which no file names.
    if wanted != has and found.undoes is None:
        remark = f"rollout {found.id} began on other terms, which stay; a new one takes them: edgeops rollout create"
        yield Change(Act.DIFFERS, "rollout", rollout.name, has, wanted, remark)
    if found.state in {"failed", "aborted", "denied", "rolled-back", "rolling-back", "finished-with-regressions"}:
        remark = f"rollout {found.id} is {found.state}; begin another: edgeops rollout create"
        yield Change(Act.DIFFERS, "rollout", rollout.name, {"state": found.state}, {"state": "finished"}, remark)
    elif found.state in {"draft", "awaiting-approval", "scheduled", "awaiting-blessing"}:
        remark = f"rollout {found.id} is {found.state}, and waits for {found.waits_for}"
        yield Change(Act.DIFFERS, "rollout", rollout.name, {"state": found.state}, {"state": "running"}, remark)
    elif found.state == "paused":
        remark = f"rollout {found.id} is paused, and a person decides; it says why: edgeops rollout status {found.id}"
        yield Change(Act.DIFFERS, "rollout", rollout.name, {"state": found.state}, {"state": "running"}, remark)


def _terms(of: Rollout | PresentRollout, values: Mapping[str, Any]) -> dict[str, Any]:
    policy, _ = read_terms(values)
    waves = [wave.strip() for wave in of.waves]
    return {"policy": msgspec.to_builtins(policy), "waves": waves, "intent": of.intent, "continuous": of.continuous}


def _compared(noun: str, name: str, before: object, after: object) -> Iterator[Change]:
    if before is None:
        yield Change(Act.CREATE, noun, name, None, _plain(after))
    elif _plain(before) != _plain(after):
        yield Change(Act.CHANGE, noun, name, _plain(before), _plain(after))


def _plain(value: object) -> dict[str, Any]:
    found = msgspec.to_builtins(value)
    assert isinstance(found, dict), "every thing of a fleet file has fields"
    return found


def _normal(reference: str) -> str:
    model, version = split_reference(reference)
    return f"{model}@{version}"


def _brought(found: PresentRollout) -> dict[str, Any]:
    model, variant = found.brings
    return {"model": model, "variant": variant, "rollout": found.id}
