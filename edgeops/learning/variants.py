"""Which variant of a version to take: the smallest that its promotion gate let pass and that keeps some budgets.

What a variant loses is counted against its float32 sibling, in points: of accuracy, of skill (one is 1 % of what always
answering the median errs by), of F1 or, where no anomaly is labelled, of rows that are an alarm more or less often.
Which variants there are, and what they were measured to do, is decided elsewhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeops.artifact.manifest import Descriptor, Task, Variant

#: What is lost at most unless somebody says otherwise, in points.
USUAL_LOSS_POINTS = 1.0
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20}


def parse_size(text: str) -> int:
    """`100kB` as bytes.

    Raises:
        ValueError: it is no size.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?) ?(B|kB|KiB|MB|MiB|)", text)
    if found is None or (count := round(float(found[1]) * _UNITS[found[2]])) < 1:
        raise ValueError(f"{text!r} is no size; write for example 100kB or 0.5MiB")
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantBudgets:
    """What a variant may cost; None = anything."""

    loss_points: float = USUAL_LOSS_POINTS
    #: Of the file as devices fetch it.
    size_bytes: int | None = None
    #: Where it was judged, one thread.
    p95_latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCost:
    """One variant among its siblings."""

    variant: Variant
    size_bytes: int
    p95_latency_ms: float
    #: Against float32; below 0 = it does better.
    loss_points: float
    #: The same of the recall of each class; empty = the task has none.
    class_losses: dict[str, float]
    #: Whether no sibling is at most as large and loses at most as much, and less of one.
    is_efficient: bool
    #: Why it is not taken, in words; empty = it could be.
    hindrances: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which one, and why not the others."""

    #: None = each has a hindrance.
    chosen: Variant | None
    #: The smallest first.
    costs: tuple[VariantCost, ...]


def choose(descriptors: Sequence[Descriptor], budgets: VariantBudgets) -> Choice:
    """Take the smallest variant without a hindrance; of two of one size the one that loses less.

    `descriptors` are those of all variants of one version, one at least. A version without float32, as somebody may
    bring one, is held against its largest file.
    """
    largest = max(descriptors, key=lambda one: one.size_bytes)
    float32 = next((one for one in descriptors if one.manifest.variant is Variant.FLOAT32), largest)
    by_size = sorted(descriptors, key=lambda one: (one.size_bytes, _loss(one, float32)))
    costs = tuple(
        VariantCost(
            variant=one.manifest.variant,
            size_bytes=one.size_bytes,
            p95_latency_ms=one.latency_p95_ms,
            loss_points=_loss(one, float32),
            class_losses=_class_losses(one, float32),
            is_efficient=not any(_dominates(other, one, float32) for other in descriptors),
            hindrances=_hindrances(one, _loss(one, float32), budgets),
        )
        for one in by_size
    )
    return Choice(chosen=next((one.variant for one in costs if not one.hindrances), None), costs=costs)


def _loss(one: Descriptor, float32: Descriptor) -> float:
    """In points, rounded to a hundredth."""
    new, old = one.manifest.metrics, float32.manifest.metrics
    match one.manifest.task:
        case Task.CLASSIFICATION:
            lost = old["accuracy"] - new["accuracy"]
        case Task.REGRESSION:
            more = new["mae"] - old["mae"]
            lost = more / old["baseline-mae"] if old["baseline-mae"] > 0 else float(more > 0)
        case Task.ANOMALY:
            lost = old["f1"] - new["f1"] if "f1" in old else abs(new["alarm-rate"] - old["alarm-rate"])
    return round(100 * lost, 2)


def _class_losses(one: Descriptor, float32: Descriptor) -> dict[str, float]:
    new, old = one.manifest.metrics, float32.manifest.metrics
    recalls = {name: f"recall.{name}" for name in one.manifest.output.labels}
    return {name: round(100 * (old[key] - new[key]), 2) for name, key in recalls.items() if key in old and key in new}


def _dominates(other: Descriptor, one: Descriptor, float32: Descriptor) -> bool:
    """Pareto: no worse in both, better in one."""
    losses = _loss(other, float32), _loss(one, float32)
    is_no_worse = other.size_bytes <= one.size_bytes and losses[0] <= losses[1]
    return is_no_worse and (other.size_bytes < one.size_bytes or losses[0] < losses[1])


def _hindrances(one: Descriptor, loss: float, budgets: VariantBudgets) -> tuple[str, ...]:
    found = list[str]()
    if not one.promotion.may_be_listed:
        found.append("its promotion gate did not let it pass")
    if loss > budgets.loss_points:
        found.append(f"loses {loss:.2f} points, {budgets.loss_points:g} may be lost")
    if budgets.size_bytes is not None and one.size_bytes > budgets.size_bytes:
        found.append(f"{one.size_bytes} bytes, {budgets.size_bytes} may be")
    if budgets.p95_latency_ms is not None and one.latency_p95_ms > budgets.p95_latency_ms:
        found.append(f"p95 {one.latency_p95_ms:g} ms, {budgets.p95_latency_ms:g} may be")
    return tuple(found)
