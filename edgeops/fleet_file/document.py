"""What a fleet file says: groups, pins, policies of retraining, rollouts. It judges no fleet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from edgeops import limits
from edgeops.api import shapes
from edgeops.digest import digest_hex
from edgeops.errors import InputError, MessageError
from edgeops.fleet_file.fields import read_fields, with_waves
from edgeops.fleet_file.source import Source
from edgeops.learning.triggers import RetrainPolicy, read_policy
from edgeops.protocol.messages import Id
from edgeops.rollout.objection import Objection, guess, segment
from edgeops.rollout.selector import groups_of, misnamed, parse_selector
from edgeops.rollout.terms import read_terms
from edgeops.rollout.waves import DEFAULT_WAVES, parse_waves


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices under a name."""

    selector: str | None = None
    devices: tuple[Id, ...] = ()


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device, or one deployment of it, that stays on a model."""

    device: Id
    deployment: Id | None = None
    #: `model@version` or a digest; None = what it runs.
    to: str | None = None
    variant: str = "int8"
    reason: str = ""
    until: datetime | None = None


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that shall have been offered to the devices that a selector means."""

    #: `model@version`.
    model: str
    deployment: Id
    to: str = "all"
    variant: str = "int8"
    waves: tuple[str, ...] = DEFAULT_WAVES
    intent: str = "improve"
    policy: dict[str, Any] = {}
    continuous: bool = False

    @property
    def name(self) -> str:
        """What it is known by."""
        return f"{self.deployment} on {self.to}"


@dataclass(frozen=True, slots=True)
class Document:
    """A whole fleet file; None = the file does not speak of it."""

    groups: Mapping[str, Group] | None = None
    pins: tuple[Pin, ...] | None = None
    retraining: Mapping[str, RetrainPolicy] | None = None
    rollouts: tuple[Rollout, ...] = field(default=())


_SECTIONS = ("groups", "pins", "retraining", "rollouts")
#: Where an entry has what a request calls otherwise: the version is a part of the model's name.
_OTHER_PLACES = {"#/version": "/model", "#/device_ids": "/devices"}


def read_document(source: Source) -> Document:
    """What the file says.

    Raises:
        InputError: values that cannot be used; every one is told with its line and pointer.
    """
    values = {} if source.values is None else source.values
    if not isinstance(values, dict):
        raise source.refusal([Objection("#", f"a fleet file is a table of {', '.join(_SECTIONS)}")])
    objections = [
        Objection(f"#/{key}", f"unknown section{guess(key, _SECTIONS)}; known are {', '.join(_SECTIONS)}")
        for key in values
        if key not in _SECTIONS
    ]
    document = Document(
        groups=_table(values, "groups", _group, objections),
        pins=_list(values, "pins", _pin, objections),
        retraining=_table(values, "retraining", _policy, objections),
        rollouts=_list(values, "rollouts", _rollout, objections) or (),
    )
    objections += _impossible_groups(document)
    objections += _twice(document)
    if objections:
        raise source.refusal(objections)
    return document


def split_reference(text: str) -> tuple[str, int]:
    """The model and version of `model@version`.

    Raises:
        InputError: it is none.
    """
    model, at, version = text.partition("@")
    if not at or not version.isdecimal() or not 1 <= len(version) <= 9 or int(version) == 0:
        raise InputError(f"{text[:80]!r} is not MODEL@VERSION; write for example digits@1")
    return model, int(version)


def is_digest(text: str) -> bool:
    """Whether what a pin names is meant as a digest, and not as `model@version`."""
    return text.startswith("sha256:")


def order_of(rollout: Rollout) -> dict[str, Any]:
    """The request that begins it.

    Raises:
        InputError: its model is no reference.
    """
    model, version = split_reference(rollout.model)
    values = {
        name: getattr(rollout, name) for name in ("deployment", "to", "variant", "intent", "policy", "continuous")
    }
    return {"model": model, "version": version, "waves": list(rollout.waves), **values}


def place_of(entry: str, pointer: str) -> str:
    """Where the entry at `entry` has what a request for it has at `pointer`."""
    return entry + _OTHER_PLACES.get(pointer, pointer.removeprefix("#"))


# -- sections ----------------------------------------------------------------------------


def _table(values: dict[str, Any], name: str, read: Any, objections: list[Objection]) -> dict[str, Any] | None:
    if values.get(name) is None:
        return {} if name in values else None
    if not isinstance(values[name], dict):
        objections.append(Objection(f"#/{name}", "is a table: a name and what it means"))
        return {}
    found = {}
    for key, value in values[name].items():
        item = _item(f"#/{name}/{segment(key)}", value, read, objections)
        if item is not None:
            found[key] = item
    return found


def _list(values: dict[str, Any], name: str, read: Any, objections: list[Objection]) -> tuple[Any, ...] | None:
    if values.get(name) is None:
        return () if name in values else None
    if not isinstance(values[name], list):
        objections.append(Objection(f"#/{name}", "is a list"))
        return ()
    items = [_item(f"#/{name}/{number}", value, read, objections) for number, value in enumerate(values[name])]
    return tuple(item for item in items if item is not None)


def _item(pointer: str, value: Any, read: Any, objections: list[Objection]) -> Any:
    """One entry, or None where something is wrong with it."""
    before = len(objections)
    found = read(pointer, value, objections)
    return found if len(objections) == before else None


def _group(pointer: str, value: Any, objections: list[Objection]) -> Group | None:
    if isinstance(value, str | list):
        value = {"selector": value} if isinstance(value, str) else {"devices": value}
    group: Group | None = read_fields(Group, pointer, value, objections)
    if group is None:
        return None
    if (group.selector is None) == (not group.devices):
        objections.append(Objection(pointer, "give a selector or devices, not both"))
    elif group.selector is not None and _selects(f"{pointer}/selector", group.selector, objections):
        named = groups_of(parse_selector(group.selector))
        if named:
            words = f"a group names no other group, and this names {', '.join(sorted(named))}"
            objections.append(Objection(f"{pointer}/selector", words))
    group = msgspec.structs.replace(group, devices=tuple(dict.fromkeys(group.devices)))
    objections += _unfit(shapes.GroupRequest, pointer, {"device_ids": group.devices}) if group.devices else ()
    return group


def _pin(pointer: str, value: Any, objections: list[Objection]) -> Pin | None:
    pin: Pin | None = read_fields(Pin, pointer, value, objections)
    if pin is None:
        return None
    if pin.to is not None:
        read = digest_hex if is_digest(pin.to) else split_reference
        objections += _wrong(f"{pointer}/to", lambda to=pin.to: read(to))
    objections += _unfit(shapes.PinRequest, pointer, {"reason": pin.reason, "until": pin.until})
    return pin


def _policy(pointer: str, value: Any, objections: list[Objection]) -> RetrainPolicy | None:
    if isinstance(value, dict) and value.get("mode") is False:
        value = value | {"mode": "off"}  # YAML 1.1 reads the word `off` as a truth value
    try:
        policy = read_policy(with_waves(value))
    except InputError as error:
        objections += [Objection(place_of(pointer, place), words) for place, words in error.fields]
        return None
    objections += _unfit(shapes.RetrainingPolicyRequest, pointer, msgspec.to_builtins(policy))
    return policy


def _rollout(pointer: str, value: Any, objections: list[Objection]) -> Rollout | None:
    rollout: Rollout | None = read_fields(Rollout, pointer, with_waves(value), objections)
    if rollout is None:
        return None
    before = len(objections)
    objections += _wrong(f"{pointer}/model", lambda: split_reference(rollout.model))
    _selects(f"{pointer}/to", rollout.to, objections)
    for number, wave in enumerate(rollout.waves):
        objections += _wrong(f"{pointer}/waves/{number}", lambda wave=wave: parse_waves([wave]))
    _, wrong = read_terms(rollout.policy)
    objections += [Objection(pointer + one.pointer.removeprefix("#"), one.detail) for one in wrong]
    if len(objections) == before:
        objections += _unfit(shapes.RolloutRequest, pointer, order_of(rollout))
    return rollout


def _selects(pointer: str, text: str, objections: list[Objection]) -> bool:
    wrong = list(_wrong(pointer, lambda: parse_selector(text)))
    objections += wrong
    return not wrong


def _wrong(pointer: str, read: Any) -> Iterator[Objection]:
    try:
        read()
    except (InputError, MessageError) as error:
        yield Objection(pointer, str(error))


def _unfit(request: type[shapes.Request], pointer: str, values: Mapping[str, object]) -> Iterator[Objection]:
    """What the server would refuse of the entry at `pointer` before it looks at the fleet: its shape does so here."""
    found = shapes.checked(request, values)
    for one in found if isinstance(found, tuple) else ():
        yield Objection(place_of(pointer, one.pointer), one.detail)


def _impossible_groups(document: Document) -> Iterator[Objection]:
    """Groups that no server takes, told before anything is changed."""
    if len(document.groups or {}) > limits.MAX_GROUPS:
        yield Objection("#/groups", f"{len(document.groups or {})} groups; a fleet has {limits.MAX_GROUPS} at most")
    for name in document.groups or {}:
        wrong = misnamed(name)
        if wrong is not None:
            yield Objection(f"#/groups/{segment(name)}", wrong)


def _twice(document: Document) -> Iterator[Objection]:
    """Two entries about the same thing contradict each other, or one is superfluous."""
    said: tuple[tuple[str, list[tuple[str, str | None]]], ...] = (
        ("pins", [(one.device, one.deployment) for one in document.pins or ()]),
        ("rollouts", [(one.deployment, one.to) for one in document.rollouts]),
    )
    for name, keys in said:
        for number, key in enumerate(keys):
            earlier = [place for place, other in enumerate(keys[:number], start=1) if other == key]
            if earlier:
                words = f"says again what entry {earlier[0]} says: {', '.join(str(part) for part in key)}"
                yield Objection(f"#/{name}/{number}", words)
