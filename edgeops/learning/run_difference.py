"""Tells how two runs differ: what they were asked, where they ran, and what the judge measured of each."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgeops.learning.environment import Environment
from edgeops.learning.reproduction import Change, find_changes

#: What an interval's ends are called in the metrics.
_ENDS = ("-low", "-high")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one variant in both runs; None = a run has none."""

    variant: str
    name: str
    values: tuple[float | None, float | None]
    #: The interval in which each lies, where one was measured.
    intervals: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)


class RunDifference(msgspec.Struct, frozen=True, kw_only=True):
    """From one run to another; what is the same is left out, but all figures are there."""

    #: By name, in the first and the second; None = the recipe's own.
    parameters: dict[str, tuple[Any, Any]]
    environment: tuple[Change, ...]
    metrics: tuple[Measured, ...]


def run_difference(
    parameters: tuple[Mapping[str, Any], Mapping[str, Any]],
    environments: tuple[Environment, Environment],
    metrics: tuple[Mapping[str, Mapping[str, float]], Mapping[str, Mapping[str, float]]],
) -> RunDifference:
    """Compare two runs.

    Args:
        parameters: all that each was asked, by name.
        environments: where each ran.
        metrics: by variant and name.
    """
    old, new = parameters
    return RunDifference(
        parameters={
            name: (old.get(name), new.get(name))
            for name in dict.fromkeys((*old, *new))
            if old.get(name) != new.get(name)
        },
        environment=find_changes(*environments),
        metrics=tuple(_measured(*metrics)),
    )


def _measured(old: Mapping[str, Mapping[str, float]], new: Mapping[str, Mapping[str, float]]) -> Iterator[Measured]:
    for variant in dict.fromkeys((*old, *new)):
        both = old.get(variant, {}), new.get(variant, {})
        for name in dict.fromkeys((*both[0], *both[1])):
            if not name.endswith(_ENDS):
                yield Measured(
                    variant=variant,
                    name=name,
                    values=(both[0].get(name), both[1].get(name)),
                    intervals=(_interval(both[0], name), _interval(both[1], name)),
                )


def _interval(metrics: Mapping[str, float], name: str) -> tuple[float, float] | None:
    low, high = (metrics.get(f"{name}{end}") for end in _ENDS)
    return None if low is None or high is None else (low, high)
