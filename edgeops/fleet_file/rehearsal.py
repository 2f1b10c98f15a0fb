"""Asks the server, before anything is changed, what it would refuse of a plan: nothing shall be made by half.

Rollouts are previewed with the groups as the file will have made them. What somebody changes between this and the deed
is refused when its turn comes; so is what no preview tells: the end of a pin that has passed, a group that is to go
and that a rollout still names, a deed that the caller's role does not allow.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgeops import limits
from edgeops.api.client import Client
from edgeops.fleet_file.applying import order_of
from edgeops.fleet_file.document import Document, Group, Pin
from edgeops.fleet_file.plan import Act, Change
from edgeops.rollout.objection import Objection, segment


def objections_to(client: Client, document: Document, changes: Iterable[Change]) -> list[Objection]:
    """Everything that the server would refuse of these changes, with its place in the file.

    Raises:
        ServerError: the server could not tell.
    """
    made = [one for one in changes if one.act in (Act.CREATE, Act.CHANGE)]
    return [*_strangers(client, document, made), *_refused_rollouts(client, document, made)]


def _strangers(client: Client, document: Document, made: Iterable[Change]) -> Iterator[Objection]:
    """Devices of groups and pins that do not belong to the fleet."""
    named = {one.name for one in made if one.noun == "group"}
    groups = {name: group for name, group in (document.groups or {}).items() if name in named and group.devices}
    pins = document.pins or () if any(one.noun == "pin" for one in made) else ()
    if not groups and not pins:
        return
    known = {one.id for one in client.devices()}
    yield from _stranger_members(groups, known)
    yield from _stranger_pins(pins, known)


def _stranger_members(groups: Mapping[str, Group], known: set[str]) -> Iterator[Objection]:
    for name, group in groups.items():
        missing = [device for device in group.devices if device not in known]
        if missing:
            yield Objection(f"#/groups/{segment(name)}", _no_device(*missing[: limits.NAMED_IN_ERRORS]))


def _stranger_pins(pins: Iterable[Pin], known: set[str]) -> Iterator[Objection]:
    for number, pin in enumerate(pins):
        if pin.device not in known:
            yield Objection(f"#/pins/{number}/device", _no_device(pin.device))


def _no_device(*ids: str) -> str:
    return f"no enrolled device with id {', '.join(ids)}; list them with: edgeops devices list"


def _refused_rollouts(client: Client, document: Document, made: Iterable[Change]) -> Iterator[Objection]:
    groups = {name: _members(group) for name, group in (document.groups or {}).items()}
    begun = {one.name for one in made if one.noun == "rollout"}
    for number, rollout in enumerate(document.rollouts):
        if rollout.name in begun:
            preview = client.preview_rollout({**order_of(rollout), "groups": groups}, limit=1)
            for one in preview.problems:
                yield Objection(f"#/rollouts/{number}{_place(one.pointer)}", one.detail)


def _members(group: Group) -> dict[str, Any]:
    return {"selector": group.selector} if group.selector is not None else {"device_ids": list(group.devices)}


def _place(pointer: str) -> str:
    """Where the file has what the order calls so: its version is a part of the model's name."""
    return "/model" if pointer == "#/version" else pointer.removeprefix("#")
