"""Turns readings of one unit into another, where a multiply and an add will do (SI brochure, 9th edition)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Linear:
    """`multiply` * reading + `add`."""

    multiply: float
    add: float

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert readings of any shape; missing ones stay missing."""
        return values if self == SAME else values * self.multiply + self.add


SAME = Linear(1.0, 0.0)
#: By quantity: what makes the first unit of each of the others.
_TO_FIRST: tuple[dict[str, Linear], ...] = (
    {"K": SAME, "degC": Linear(1.0, 273.15), "degF": Linear(5 / 9, 273.15 - 32 * 5 / 9)},
    {"Pa": SAME, "hPa": Linear(1e2, 0.0), "kPa": Linear(1e3, 0.0), "bar": Linear(1e5, 0.0), "psi": Linear(6894.757, 0)},
    {"m/s2": SAME, "g": Linear(9.80665, 0.0), "mg": Linear(9.80665e-3, 0.0)},
    {"m": SAME, "mm": Linear(1e-3, 0.0), "cm": Linear(1e-2, 0.0), "km": Linear(1e3, 0.0), "in": Linear(0.0254, 0.0)},
    {"m/s": SAME, "mm/s": Linear(1e-3, 0.0), "km/h": Linear(1 / 3.6, 0.0)},
    {"V": SAME, "mV": Linear(1e-3, 0.0)},
    {"A": SAME, "mA": Linear(1e-3, 0.0)},
    {"W": SAME, "kW": Linear(1e3, 0.0)},
    {"Hz": SAME, "kHz": Linear(1e3, 0.0), "rpm": Linear(1 / 60, 0.0)},
    {"1": SAME, "%": Linear(1e-2, 0.0)},
)


def conversion(source: str, target: str) -> Linear:
    """What turns readings in `source` into `target`.

    Raises:
        DatasetError: a unit is not known, or the two measure different things.
    """
    for quantity in _TO_FIRST:
        if source in quantity and target in quantity:
            first, wanted = quantity[source], quantity[target]
            return Linear(first.multiply / wanted.multiply, (first.add - wanted.add) / wanted.multiply)
    known = "; ".join(", ".join(quantity) for quantity in _TO_FIRST)
    raise DatasetError(
        f"there is no conversion from {source!r} to {target!r}; known are: {known}; "
        "else give the column `multiply` and `add`"
    )
