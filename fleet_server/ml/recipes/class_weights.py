"""How much each class counts in a training: a rare one may count as much as a frequent one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import ConfigError
from fleet_server.ml.recipes.rounding import rounded

#: What `plan_class_weights` reads of a recipe's options.
CLASS_OPTION = "class-weights"
_NONE, _BALANCED = "none", "balanced"
_MOST = 1e6


def plan_class_weights(
    classes: tuple[str, ...], targets: NDArray[np.int64], options: Mapping[str, float | str]
) -> tuple[float, ...] | None:
    """Per class; None = all count the same.

    The option `class-weights` is none, balanced or pairs as `worn=5,idle=2`, where a class that is not named counts 1.
    Balanced = rows / (classes * rows of the class), so that all classes count the same together (King & Zeng 2001).

    Args:
        classes: names.
        targets: class index of each training row (n,), every class among them.
        options: by name.

    Raises:
        ConfigError: the option names no class, or a weight is no positive number.
    """
    wanted = str(options.get(CLASS_OPTION, _NONE))
    if wanted == _NONE:
        return None
    if wanted == _BALANCED:
        counts = np.bincount(targets, minlength=len(classes))
        return tuple(rounded(len(targets) / (len(classes) * max(count, 1))) for count in counts.tolist())
    named = dict(_pair(pair, classes) for pair in wanted.split(","))
    return tuple(named.get(name, 1.0) for name in classes)


def _pair(text: str, classes: tuple[str, ...]) -> tuple[str, float]:
    name, _, given = text.rpartition("=")
    if name not in classes:
        raise ConfigError(
            f"option {CLASS_OPTION} has {text!r}; it takes {_NONE}, {_BALANCED}, or CLASS=WEIGHT with one of "
            f"{', '.join(classes[:20])}"
        )
    try:
        weight = float(given)
    except ValueError:
        weight = 0.0
    if not 0 < weight <= _MOST:
        raise ConfigError(f"option {CLASS_OPTION}: {name} is to count {given!r}; give a number above 0 up to {_MOST:g}")
    return name, weight
