"""Reads the plain values of one entry as a typed one, field by field, so that each one that is wrong has its place.

It knows no section of a fleet file.
"""

import re
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from edgeops.rollout.objection import Objection, guess, segment

#: Where msgspec says that an item of a list is wrong.
_ITEM = re.compile(r"`\$\[(\d+)\]")


def read_fields(kind: Any, pointer: str, value: Any, objections: list[Objection]) -> Any:
    """A struct of `kind` out of a table at `pointer`; None where something is wrong, which is added to `objections`."""
    if not isinstance(value, dict):
        objections.append(Objection(pointer, "is a table of values"))
        return None
    fields = {one.name: one for one in msgspec.structs.fields(kind)}
    read: dict[str, Any] = {}
    for name, one in value.items():
        place = f"{pointer}/{segment(name)}"
        if name not in fields:
            words = f"no such value{guess(name, tuple(fields))}; known are {', '.join(fields)}"
            objections.append(Objection(place, words))
            continue
        try:
            read[name] = _in_utc(msgspec.convert(_first_moment(one), fields[name].type, strict=True))
        except (msgspec.ValidationError, OverflowError) as error:
            objections.append(Objection(place + _item(str(error)), f"{one!r:.60} cannot be used: {error}"))
    missing = [name for name, one in fields.items() if one.required and name not in value]
    objections += [Objection(pointer, f"{name} is missing") for name in missing]
    return None if missing or len(read) < len(value) else kind(**read)


def with_waves(value: Any) -> Any:
    """An entry whose waves are text: YAML reads a number of devices as a number."""
    if not isinstance(value, dict) or not isinstance(value.get("waves"), list):
        return value
    return value | {"waves": [str(one) if type(one) is int else one for one in value["waves"]]}


def _item(error: str) -> str:
    """Which item of a list msgspec means, as the end of a pointer; empty = none."""
    found = _ITEM.search(error)
    return "" if found is None else f"/{found[1]}"


def _first_moment(value: Any) -> Any:
    """A day is its first moment."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _in_utc(value: Any) -> Any:
    """A moment as the server tells it; one without offset is UTC."""
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
