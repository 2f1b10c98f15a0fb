"""A curve in one line of text, for terminals."""

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 60


def sparkline(values: Sequence[float]) -> str:
    """The highest is a whole bar; of many values some are left out, never the last; what is no number is a gap."""
    every = math.ceil(len(values) / _WIDEST) if values else 1
    shown = [*values[:-1:every], *values[-1:]]
    finite = [one for one in shown if math.isfinite(one)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return " "
        return _BARS[round((value - low) / (high - low) * (len(_BARS) - 1)) if high > low else 0]

    return "".join(bar(one) for one in shown)
