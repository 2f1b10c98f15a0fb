"""Reads the policy of a rollout as somebody wrote it, and tells every value that cannot be used, with its place.

It knows the bounds of single values; what only a fleet makes impossible is told by `edgeops.rollout.order`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from edgeops import limits
from edgeops.errors import InputError
from edgeops.protocol.messages import Maintenance
from edgeops.rollout.maintenance import parse_window, words
from edgeops.rollout.objection import Objection, guess, segment
from edgeops.rollout.policy import HealthPolicy, Policy

_LONG = limits.MAX_POLICY_SPAN
_SHARE = (0.0, 1.0)
#: Of what may become worse: that nothing may, not even by chance, can never be shown.
_LIMIT = (0.001, 0.5)
_NONE = timedelta(0)
_SECOND = timedelta(seconds=1)

#: Field -> the least and the most that it may be; both included.
_BOUNDS: dict[str, tuple[Any, Any]] = {
    "trial_inferences": (1, limits.MAX_TRIAL_INFERENCES),
    "bake": (_NONE, _LONG),
    "evidence_timeout": (_NONE, _LONG),
    "min_success": (0.01, 1.0),
    "max_failure": (0.0, 0.99),
    "min_devices": (1, limits.MAX_WAVE_DEVICES),
    "offer_timeout": (_SECOND, _LONG),
    "progress_timeout": (_SECOND, _LONG),
    "wave_timeout": (_SECOND, _LONG),
    "blessing_timeout": (_SECOND, _LONG),
    "max_in_flight": (1, limits.MAX_WAVE_DEVICES),
    "rate_per_minute": (1, limits.MAX_WAVE_DEVICES),
    "retries": (0, limits.MAX_INSTALLATION_RETRIES),
    "retry_after": (_NONE, _LONG),
    "shadow_share": _SHARE,
    "shadow_cpu": (0.01, 1.0),
    "control_share": (0.0, 0.5),
    "min_rows": (1, 1_000_000),
    "max_loss": _LIMIT,
    "labels": (0, limits.MAX_NOMINEES),
    "max_error_rise": _LIMIT,
    "max_latency_ratio": (1.01, 1_000.0),
    "min_latency_rise_ms": (0.0, 60_000.0),
    "max_memory_ratio": (1.01, 1_000.0),
    "alpha": (0.0001, 0.5),
}


def read_terms(values: Mapping[str, object]) -> tuple[Policy, tuple[Objection, ...]]:
    """A policy from plain values (durations in ISO 8601 or seconds); what is not named or cannot be used is default."""
    plain = {key: value for key, value in values.items() if key not in {"health", "maintenance"}}
    read, objections = _read(Policy, plain, "#/policy")
    read["maintenance"], wrong = _windows(values.get("maintenance", ()))
    objections += wrong
    health = values.get("health", {})
    if isinstance(health, Mapping):
        of_health, more = _read(HealthPolicy, health, "#/policy/health")
        read["health"] = HealthPolicy(**of_health)
        objections += more
    else:
        objections.append(Objection("#/policy/health", f"is a table of values, not {health!r:.60}"))
    return Policy(**read), tuple(objections)


def write_terms(policy: Policy) -> dict[str, Any]:
    """Plain values as `read_terms` reads them, windows as people write them."""
    return {**msgspec.to_builtins(policy), "maintenance": [words(window) for window in policy.maintenance]}


def _windows(values: object) -> tuple[tuple[Maintenance, ...], list[Objection]]:
    """Maintenance windows; all of them, or none when one cannot be used."""
    place = "#/policy/maintenance"
    if not isinstance(values, list | tuple):
        return (), [Objection(place, f"is a list of windows, not {values!r:.60}")]
    if len(values) > limits.MAX_MAINTENANCE_WINDOWS:
        return (), [Objection(place, f"{len(values)} windows; a device takes {limits.MAX_MAINTENANCE_WINDOWS}")]
    windows: list[Maintenance] = []
    objections: list[Objection] = []
    for number, value in enumerate(values):
        try:
            windows.append(_window(value))
        except (InputError, msgspec.ValidationError) as error:
            objections.append(Objection(f"{place}/{number}", str(error)))
    return (() if objections else tuple(windows)), objections


def _window(value: object) -> Maintenance:
    """A window as people write it, or as it is stored: the array that travels.

    Raises:
        InputError, msgspec.ValidationError: it is none.
    """
    return parse_window(value) if isinstance(value, str) else msgspec.convert(value, Maintenance)


def _read(
    kind: type[msgspec.Struct], values: Mapping[str, object], place: str
) -> tuple[dict[str, Any], list[Objection]]:
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    read: dict[str, Any] = {}
    objections: list[Objection] = []
    for name, value in values.items():
        pointer = f"{place}/{segment(name[:80])}"
        if name not in known:
            objections.append(Objection(pointer, _unknown(name, list(known))))
            continue
        try:
            found = msgspec.convert(value, known[name].type, strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            objections.append(Objection(pointer, f"{value!r:.60} cannot be used: {error}"))
            continue
        outside = _outside(name, found)
        if outside is None:
            read[name] = found
        else:
            objections.append(Objection(pointer, outside))
    return read, objections


def _outside(name: str, value: object) -> str | None:
    if name not in _BOUNDS or value is None:
        return None
    least, most = _BOUNDS[name]
    # Not the other way round: NaN is neither.
    if least <= value <= most:
        return None
    return f"{_shown(value)} is not between {_shown(least)} and {_shown(most)}"


def _shown(value: object) -> str:
    return f"{value.total_seconds():g} s" if isinstance(value, timedelta) else str(value)


def _unknown(name: str, known: Sequence[str]) -> str:
    return f"no such value{guess(name, known)}; known are {', '.join(known)}"
