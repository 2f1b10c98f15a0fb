"""Which devices a rollout concerns: those that a selector names and that report the deployment.

Selectors: `all`, `id=a,b`, `name=a,b`, `label.key=value`. The answer is in the order in which the
devices are asked. It does not judge whether a model fits a device; the device does.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edgeops.errors import InputError

_SYNTAX = "use all, id=<id>,<id>, name=<name>,<name> or label.<key>=<value>"
_LABEL = re.compile(r"label\.([A-Za-z0-9_.-]{1,63})")
_NAMED_IN_ERRORS = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled device as far as choosing needs it."""

    id: str
    name: str
    online: bool
    labels: Mapping[str, str]
    #: Deployments that the device reports.
    deployments: frozenset[str]


@dataclass(frozen=True, slots=True)
class All:
    """Every device that reports the deployment."""


@dataclass(frozen=True, slots=True)
class ById:
    """These devices, each of which must exist."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByName:
    """Devices with one of these names, each of which must exist."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByLabel:
    """Devices that carry a label."""

    key: str
    value: str


Selector = All | ById | ByName | ByLabel


def parse_selector(text: str) -> Selector:
    """Read a selector.

    Raises:
        InputError: not one of the four forms.
    """
    if text.strip() == "all":
        return All()
    kind, equals, value = text.partition("=")
    kind, values = kind.strip(), tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not equals or not values:
        raise InputError(f"not a selector: {text[:120]!r}; {_SYNTAX}")
    if kind == "id":
        return ById(values)
    if kind == "name":
        return ByName(values)
    label = _LABEL.fullmatch(kind)
    if label is None:
        raise InputError(f"unknown selector {kind[:60]!r} in {text[:120]!r}; {_SYNTAX}")
    return ByLabel(label[1], value.strip())


def choose(selector: Selector, deployment: str, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The devices to ask, those online first, then by id.

    Raises:
        InputError: no device is left, or one that was named does not exist or lacks the deployment.
    """
    if not candidates:
        raise InputError("no device is enrolled; enrol one with: edgeops-agent enrol URL --token TOKEN")
    matching = _matching(selector, candidates)
    fitting = [candidate for candidate in matching if deployment in candidate.deployments]
    lacking = [candidate for candidate in matching if deployment not in candidate.deployments]
    if not matching:
        raise InputError(f"no enrolled device matches; enrolled are {_names(candidates)}")
    if not fitting or (lacking and isinstance(selector, ById | ByName)):
        known = sorted({name for candidate in lacking for name in candidate.deployments})
        have = f"they report {', '.join(known)}" if known else "they report none"
        raise InputError(
            f"no deployment {deployment!r} on {_names(lacking)}; {have}. Start it on the device with:"
            f" edgeops-agent replay FILE --deployment {deployment}"
        )
    return tuple(sorted(fitting, key=lambda candidate: (not candidate.online, candidate.id)))


def _matching(selector: Selector, candidates: Sequence[Candidate]) -> list[Candidate]:
    match selector:
        case All():
            return list(candidates)
        case ById(ids):
            _require(ids, {candidate.id for candidate in candidates}, candidates, what="id")
            return [candidate for candidate in candidates if candidate.id in ids]
        case ByName(names):
            _require(names, {candidate.name for candidate in candidates}, candidates, what="name")
            return [candidate for candidate in candidates if candidate.name in names]
        case ByLabel(key, value):
            return [candidate for candidate in candidates if candidate.labels.get(key) == value]


def _require(wanted: Collection[str], known: set[str], candidates: Sequence[Candidate], *, what: str) -> None:
    unknown = [value for value in wanted if value not in known]
    if unknown:
        raise InputError(f"no enrolled device with {what} {', '.join(unknown)}; enrolled are {_names(candidates)}")


def _names(candidates: Sequence[Candidate]) -> str:
    shown = ", ".join(candidate.id for candidate in candidates[:_NAMED_IN_ERRORS])
    more = len(candidates) - _NAMED_IN_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown
