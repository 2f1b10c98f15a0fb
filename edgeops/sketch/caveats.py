"""What a person should know of a reference profile before relying on it."""

from collections.abc import Sequence

import numpy as np

from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch

#: D between a quarter of ordered rows and the rest, from which a person is warned; and independent rows, up to which.
_WANDERS = 0.25
_LEAST_INDEPENDENT = 50.0
#: Channels that a warning names.
_NAMED = 5


def reference_warnings(profile: ReferenceProfile) -> tuple[str, ...]:
    """What a person should know before relying on the profile, a sentence each; none for a good one."""
    summary = profile.summary()
    warnings = [_constant_warning(profile, summary)]
    if profile.ordered:
        warnings += [_wandering_warning(profile), _slow_warning(profile, summary)]
    return tuple(warning for warning in warnings if warning is not None)


def _constant_warning(profile: ReferenceProfile, summary: Sketch) -> str | None:
    constant = [
        channel.name
        for channel, low, high, present in zip(
            profile.channels, summary.low.tolist(), summary.high.tolist(), summary.present.tolist(), strict=True
        )
        if not channel.discrete and (low == high or present == 0)
    ]
    if not constant:
        return None
    return (
        f"{_named(constant)} never changed in these rows: no distribution can be compared with theirs, only that they"
        " begin to change; leave them out, or bring rows in which they move"
    )


def _wandering_warning(profile: ReferenceProfile) -> str | None:
    """The longest blocks still differ: a cycle or trend that the rows do not cover several times."""
    wandering = [
        channel.name
        for channel in profile.channels
        if len(channel.wander) and np.frombuffer(channel.wander, "<f4")[-1] >= _WANDERS
    ]
    if not wandering:
        return None
    return (
        f"{_named(wandering)} differ between the quarters of these rows: they are shorter than the process's cycle, or"
        " follow a trend; drift of that size will not be told; bring rows of several cycles"
    )


def _slow_warning(profile: ReferenceProfile, summary: Sketch) -> str | None:
    slow = [
        channel.name
        for channel, present in zip(profile.channels, summary.present.tolist(), strict=True)
        if present and present * (1 - max(channel.lag1, 0.0)) / (1 + max(channel.lag1, 0.0)) < _LEAST_INDEPENDENT
    ]
    if not slow:
        return None
    return (
        f"{_named(slow)} change so slowly that these rows are worth fewer than {_LEAST_INDEPENDENT:g} independent ones:"
        " expect NOT_ENOUGH_EVIDENCE; bring rows of a longer time"
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
