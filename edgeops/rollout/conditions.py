"""What a selector can ask of a device: keys, how their values are written, and whether a device has one.

A device that has not reported what a condition is about does not meet it, but meets one with `!=`: it has none of the
values, as in the label selectors of Kubernetes. How conditions are put together is in
`edgeops.rollout.selector`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from edgeops.rollout.candidate import Candidate


class Operator(StrEnum):
    """How a value is compared."""

    #: One of the values.
    EQUAL = "="
    #: None of the values.
    UNEQUAL = "!="
    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"


class Kind(StrEnum):
    """How the values of a key are written."""

    #: A text; `*` stands for any characters, `?` for one.
    TEXT = "text"
    #: Numbers with dots; `2.14` is also 2.14.0.
    VERSION = "version"
    #: Bytes, as in `512MiB`.
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be asked."""

    kind: Kind
    #: All that a device has of it.
    of: Callable[[Candidate], Iterable[str | int]]


_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]{0,3})")
_VERSION = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,5})(?![0-9])")
#: The key of a condition on a label.
LABEL = "label."
#: The key of a condition on a group, which `edgeops.rollout.selector.resolve` replaces.
GROUP = "group"


def _facts(name: str) -> Callable[[Candidate], Iterable[str | int]]:
    return lambda one: () if one.facts is None else (getattr(one.facts, name),)


KEYS: dict[str, Key] = {
    "id": Key(Kind.TEXT, lambda one: (one.id,)),
    "name": Key(Kind.TEXT, lambda one: (one.name,)),
    "deployment": Key(Kind.TEXT, lambda one: one.deployments),
    "site": Key(Kind.TEXT, lambda one: [one.labels["site"]] if "site" in one.labels else []),
    "sensor": Key(Kind.TEXT, lambda one: one.sensors),
    "arch": Key(Kind.TEXT, _facts("arch")),
    "board": Key(Kind.TEXT, _facts("board")),
    "os": Key(Kind.TEXT, _facts("os")),
    "runtime": Key(Kind.TEXT, _facts("runtime")),
    "runtime_version": Key(Kind.VERSION, _facts("runtime_version")),
    "python": Key(Kind.VERSION, _facts("python")),
    "agent": Key(Kind.VERSION, lambda one: (one.agent_version,)),
    "memory": Key(Kind.SIZE, _facts("memory_bytes")),
    "disk": Key(Kind.SIZE, _facts("disk_free_bytes")),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One key compared with values."""

    key: str
    operator: Operator
    values: tuple[str, ...]

    def is_met_by(self, one: Candidate) -> bool:
        """Whether a device is such a one."""
        if self.key.startswith(LABEL):
            label = one.labels.get(self.key.removeprefix(LABEL))
            return _compare(Kind.TEXT, self.operator, self.values, () if label is None else (label,))
        key = KEYS[self.key]
        return _compare(key.kind, self.operator, self.values, key.of(one))


def misuse(kind: Kind, operator: Operator, values: tuple[str, ...]) -> str | None:
    """What is wrong with a comparison, for people; None = nothing."""
    if operator not in {Operator.EQUAL, Operator.UNEQUAL}:
        if kind is Kind.TEXT:
            return f"is a text and cannot be compared with {operator}; use = or !="
        if len(values) > 1:
            return f"can be compared with one value by {operator}, not with {', '.join(values)}"
    for value in values:
        if kind is Kind.SIZE and size_bytes(value) is None:
            return f"is a size, not {value!r}; write for example 512MiB or 2GiB"
        if kind is Kind.VERSION and version(value) is None:
            return f"is a version, not {value!r}; write for example 2.14"
    return None


def size_bytes(text: str) -> int | None:
    """Bytes as people write them; None = these are none."""
    match = _SIZE.fullmatch(text)
    unit = None if match is None else _UNITS.get(match[2].lower())
    return None if match is None or unit is None else int(float(match[1]) * unit)


def version(text: str) -> tuple[int, ...] | None:
    """The numbers of a version, what follows them left out (`0.1.0.dev0`); None = it begins with no number."""
    match = _VERSION.match(text)
    return None if match is None else tuple(int(part) for part in match[1].split("."))


def _compare(kind: Kind, operator: Operator, values: tuple[str, ...], has: Iterable[str | int]) -> bool:
    if operator is Operator.UNEQUAL:
        return not any(_is(kind, one, value) for one in has for value in values)
    if operator is Operator.EQUAL:
        return any(_is(kind, one, value) for one in has for value in values)
    return any(_is_ordered(kind, operator, one, values[0]) for one in has)


def _is(kind: Kind, one: str | int, value: str) -> bool:
    match kind:
        case Kind.TEXT:
            return fnmatchcase(str(one), value.replace("[", "[[]"))
        case Kind.SIZE:
            return one == size_bytes(value)
        case Kind.VERSION:
            has, wanted = version(str(one)), version(value)
            return has is not None and wanted is not None and has[: len(wanted)] == wanted


def _is_ordered(kind: Kind, operator: Operator, one: str | int, value: str) -> bool:
    order = _order(kind, one, value)
    if order is None:
        return False
    match operator:
        case Operator.AT_LEAST:
            return order >= 0
        case Operator.AT_MOST:
            return order <= 0
        case Operator.ABOVE:
            return order > 0
        case _:
            return order < 0


def _order(kind: Kind, one: str | int, value: str) -> int | None:
    """Below, at or above 0 as `one` is to `value`; a version is at a shorter one that it begins with."""
    if kind is Kind.SIZE:
        wanted_bytes = size_bytes(value)
        return None if wanted_bytes is None else int(one) - wanted_bytes
    has, wanted = version(str(one)), version(value)
    if has is None or wanted is None:
        return None
    padded = (*has, *(0 for _ in wanted[len(has) :]))[: len(wanted)]
    return (padded > wanted) - (padded < wanted)
