"""Numbers for names, as they are met: of classes and groups of a file that is read batch by batch."""

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import NO_NAME, Cells
from edgeops.errors import DatasetError


class Names:
    """Names in the order in which they were met."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._places)

    def places(self, cells: Cells, good: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(rows,) the number of each cell's name; NO_NAME where it is missing or only in rows that are not good."""
        # The last place is that of a missing name.
        known = np.full(len(cells.names) + 1, NO_NAME, dtype=np.int64)
        for place in _in_order(cells.values[good]):
            if place != NO_NAME:
                known[place] = self._places.setdefault(cells.names[place], len(self._places))
        places: NDArray[np.int64] = known[cells.values]
        return places

    def refuse(self, label: str) -> NoReturn:
        """There are more names than classes may be."""
        raise DatasetError(
            f"the label {label!r} has more than {limits.MAX_CLASSES} classes; is it a measurement rather than a class? "
            "then say task = regression"
        )


def natural(name: str) -> tuple[int, float, str]:
    """Sorts numbers by value, before text by alphabet."""
    try:
        number = float(name)
    except ValueError:
        return (1, 0.0, name)
    return (0, number, name) if number == number else (1, 0.0, name)  # noqa: PLR0124 - NaN has no order


def _in_order(values: NDArray[np.int64]) -> list[int]:
    """Which there are, in the order in which they are met."""
    found, first = np.unique(values, return_index=True)
    return [int(place) for place in found[np.argsort(first)]]
