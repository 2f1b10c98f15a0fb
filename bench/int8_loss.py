"""Points that int8 loses against float32, on rows that neither saw: every recipe, task and dataset there is.

A point is one of 100 answers, or alarms, that is wrong in int8 alone; of numbers, 1 % of the error of always answering
the median. The table goes to docs/int8.md.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import _int8
from bench.int8_size import bound

BAR_POINTS = 1.0
BAR_UPPER_POINTS = 2.0
PAGE = Path(__file__).parents[1] / "docs/int8.md"
#: Of the normal distribution: one-sided 95 %.
_Z_95 = 1.645

_HEAD = f"""# What int8 costs

Written by `make bench NAME=int8_loss`. Both files of a training answer rows that neither saw, through `Model.predict`,
for {len(_int8.SEEDS)} seeds. A point is one of 100 answers, or alarms, that is right in float32 and wrong in int8; of
numbers, 1 % of the error of always answering the median, and `float32` is 100 less the error that is left. The bar is
a loss of {BAR_POINTS:g} point, or {BAR_UPPER_POINTS:g} at the upper 95 % bound of the paired difference. Bytes are
those of the `.tflite` without its zip; int8 may have .27 x the float weights + 24 B for each scale of a channel +
8 KiB.

| data | recipe | task | answers | float32 | loss | upper | int8 B | float32 B | bound B |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Loss:
    """What one recipe loses on one dataset, in points, over all seeds."""

    what: str
    recipe: str
    task: str
    #: Answers that were judged.
    rows: int
    float32: float
    loss: float
    #: Of the paired difference, 95 %.
    upper: float
    int8_bytes: int
    float32_bytes: int
    bound_bytes: int

    @property
    def holds(self) -> bool:
        """Whether it is within the bar."""
        return self.loss <= BAR_POINTS or self.upper <= BAR_UPPER_POINTS


def measure() -> dict[str, Any]:
    """The recipe and dataset that lose most, mean of three seeds."""
    named: dict[tuple[str, str], list[_int8.Pair]] = {}
    for pair in _int8.pairs():
        named.setdefault((pair.recipe, pair.what), []).append(pair)
    losses = [_loss(pairs) for pairs in named.values()]
    if _int8.is_whole():
        PAGE.write_text(page(losses))
    worst = max(losses, key=lambda one: one.loss)
    return {
        "name": "int8_loss",
        "value": round(worst.loss, 3),
        "unit": "points",
        "baseline": round(worst.float32, 2),
        "bar": "<= 1 point, or upper 95 % bound <= 2",
        "holds": all(one.holds for one in losses),
        "inside": (
            f"both sides through Model.predict; baseline: float32 of {worst.what} by {worst.recipe}, in points; "
            + "; ".join(f"{one.what} {one.recipe} {one.loss:.2f}, upper {one.upper:.2f}" for one in losses)
        ),
    }


def page(losses: Iterable[Loss]) -> str:
    """docs/int8.md."""
    lines = [
        f"| {one.what} | `{one.recipe}` | {one.task} | {one.rows:,} | {one.float32:.2f} | {one.loss:.2f} | "
        f"{one.upper:.2f} | {one.int8_bytes:,} | {one.float32_bytes:,} | {one.bound_bytes:,} |"
        for one in losses
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _loss(pairs: list[_int8.Pair]) -> Loss:
    float32 = np.concatenate([pair.worth("float32") for pair in pairs])
    difference = float32 - np.concatenate([pair.worth("int8") for pair in pairs])
    loss, error = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))
    first = pairs[0]
    is_number = float32.min() < 0
    return Loss(
        what=first.what,
        recipe=first.recipe,
        task=first.task,
        rows=len(float32),
        float32=100 * (float(float32.mean()) + is_number),
        loss=100 * loss,
        upper=100 * (loss + _Z_95 * error),
        int8_bytes=len(first.tflite("int8")),
        float32_bytes=len(first.tflite("float32")),
        bound_bytes=bound(first),
    )
