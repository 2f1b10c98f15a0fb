"""Figures of a file with their intervals: in a manifest these are neighbours called `-low` and `-high`."""

from collections.abc import Mapping
from dataclasses import dataclass

_ENDS = ("-low", "-high")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, and where it lies with 95 % certainty."""

    name: str
    value: float
    bounds: tuple[float, float] | None

    def __str__(self) -> str:
        between = "" if self.bounds is None else f" ({self.bounds[0]:.4g} to {self.bounds[1]:.4g})"
        return f"{self.value:.4g}{between}"


def figures_of(metrics: Mapping[str, float]) -> tuple[Figure, ...]:
    """By name."""
    ends = {f"{name}{end}" for name in metrics for end in _ENDS}
    return tuple(Figure(name, metrics[name], _bounds(metrics, name)) for name in sorted(metrics) if name not in ends)


def _bounds(metrics: Mapping[str, float], name: str) -> tuple[float, float] | None:
    low, high = (metrics.get(f"{name}{end}") for end in _ENDS)
    return None if low is None or high is None else (low, high)
