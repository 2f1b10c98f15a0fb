"""Numbers to learn: how they become what a network learns, and how its last layer gives them back.

A network learns best what has mean 0 and deviation 1. Undoing that is one multiply-add, so it goes into the last layer
and the file itself answers in units. A logarithm is undone behind the file, by `edgeops.model.postprocess`, and what
its inverse makes of an overshoot is cut off at the numbers that were learnt: without that, a few rows of thousands
spoil the mean error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Transform
from edgeops.errors import DatasetError
from fleet_server.ml.recipes.head import ANSWER
from fleet_server.ml.recipes.rounding import rounded
from fleet_server.ml.recipes.tails import AUTO, asked_for, signed_log1p

#: What `plan_target` reads of a recipe's options.
TARGET_OPTION = "target-transform"
#: Numbers span two decades when 1 + |x| of the largest is so many times that of the smallest, 5 % left out at both
#: ends. Over less the mean error suffers: 12.5 instead of 11.2 ppm on gas sensors at 20 to 450.
_DECADES = 100.0
_TAIL_PERCENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is learnt of a number x: (transform(x) - centre) / spread."""

    transform: Transform
    centre: float
    spread: float
    #: Lowest and highest answer, in units; None = none.
    bounds: tuple[float, float] | None

    def learnt(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a network learns of numbers (n,) in their units."""
        return ((_transformed(numbers, self.transform) - self.centre) / self.spread).astype(np.float32)

    def fold_into(self, network: Any) -> None:
        """Let the last layer answer with transform(x) instead."""
        layer = network.get_layer(ANSWER)
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * np.float32(self.spread), bias * np.float32(self.spread) + np.float32(self.centre)])


def plan_target(numbers: NDArray[np.float32], options: Mapping[str, float | str]) -> Target:
    """Decide from the training rows' numbers (n,), in their units.

    The option `target-transform` is auto, none or signed-log1p; auto takes the logarithm of numbers that span two
    decades: of these it is relative errors that count.

    Raises:
        DatasetError: there is nothing to learn.
        ConfigError: the option names no transform.
    """
    if not np.isfinite(numbers).all():
        wrong = int((~np.isfinite(numbers)).sum())
        raise DatasetError(f"{wrong} of {len(numbers)} training rows have no number to learn; leave these rows out")
    transform = asked_for(str(options.get(TARGET_OPTION, AUTO)), option=TARGET_OPTION)
    if transform is None:
        transform = Transform.SIGNED_LOG1P if _spans_decades(numbers) else Transform.NONE
    values = _transformed(numbers, transform)
    centre, spread = float(values.mean()), float(values.std())
    if spread <= 1e-9 * max(abs(centre), 1e-30):
        raise DatasetError(f"every training row has the number {numbers[0]:g}; there is nothing to learn")
    bounds = None if transform is Transform.NONE else (float(numbers.min()), float(numbers.max()))
    return Target(transform=transform, centre=rounded(centre), spread=rounded(spread), bounds=bounds)


def _transformed(numbers: NDArray[np.float32], transform: Transform) -> NDArray[np.float64]:
    wide = numbers.astype(np.float64)
    return signed_log1p(wide) if transform is Transform.SIGNED_LOG1P else wide


def _spans_decades(numbers: NDArray[np.float32]) -> bool:
    low, high = np.percentile(np.abs(numbers.astype(np.float64)), (_TAIL_PERCENT, 100 - _TAIL_PERCENT))
    return bool((1 + high) / (1 + low) >= _DECADES)
