"""Points of accuracy that int8 loses against float32, on rows that neither saw."""

import math
from typing import Any

import numpy as np

from bench import _int8

BAR_POINTS = 1.0
BAR_UPPER_POINTS = 2.0


def measure() -> dict[str, Any]:
    """The dataset that loses most, mean of three seeds; the upper bound is of the paired difference (95 %)."""
    losses = {what: _loss(what) for what in dict.fromkeys(pair.what for pair in _int8.pairs())}
    worst = max(losses, key=lambda what: losses[what][0])
    loss, _, accuracy = losses[worst]
    return {
        "name": "int8_loss",
        "value": round(loss, 3),
        "unit": "points",
        "baseline": round(accuracy, 2),
        "bar": "<= 1 point, or upper 95 % bound <= 2",
        "holds": all(loss <= BAR_POINTS or upper <= BAR_UPPER_POINTS for loss, upper, _ in losses.values()),
        "inside": (
            f"both sides through Model.predict; baseline: float32 accuracy of {worst} in percent; "
            + "; ".join(f"{what} {loss:.2f}, upper {upper:.2f}" for what, (loss, upper, _) in losses.items())
        ),
    }


def _loss(what: str) -> tuple[float, float, float]:
    """(loss, its upper bound, float32 accuracy), in points, over all seeds."""
    pairs = [pair for pair in _int8.pairs() if pair.what == what]
    float32 = np.concatenate([pair.right("float32") for pair in pairs])
    difference = float32.astype(float) - np.concatenate([pair.right("int8") for pair in pairs])
    loss = float(difference.mean())
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return 100 * loss, 100 * (loss + 1.645 * error), 100 * float(float32.mean())
