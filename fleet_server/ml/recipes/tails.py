"""Whether numbers are spread so widely that their logarithm is easier to learn."""

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Transform
from edgeops.errors import ConfigError

AUTO = "auto"


def signed_log1p(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """sign(x) * log(1 + |x|)."""
    return np.sign(values) * np.log1p(np.abs(values))


def asked_for(wanted: str, *, option: str) -> Transform | None:
    """The transform that an option names; None = it is chosen by looking at the numbers.

    Raises:
        ConfigError: there is no such transform.
    """
    if wanted == AUTO:
        return None
    try:
        return Transform(wanted)
    except ValueError:
        known = ", ".join((AUTO, *Transform))
        raise ConfigError(f"option {option} is {wanted!r}; it takes {known}") from None
