"""What is asked of a file and what was read from it, before any split.

Values only: `csv_file` and `npz_file` fill a `Table`, `importing` makes a snapshot of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` has one of `values`."""

    column: str
    values: tuple[str, ...]

    def accepts(self, text: str) -> bool:
        """Whether a value passes: equal as text, or equal as a number (`1` and `1.0`)."""
        return text in self.values or any(_equal_numbers(text, value) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows and columns of a file are wanted."""

    label: str
    features: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The chosen rows of one file, in file order."""

    columns: tuple[str, ...]
    #: Shape of one row: (columns,), or that of an image.
    shape: tuple[int, ...]
    #: float32 (rows, columns); NaN = missing.
    values: NDArray[np.float32]
    #: The class of each row as text.
    labels: tuple[str, ...]
    #: Row number in the file, from 0 (a CSV's header does not count).
    ids: NDArray[np.int64]


def parse_conditions(texts: tuple[str, ...]) -> tuple[Condition, ...]:
    """Read filters such as `batch=1,2`; a row must pass all of them.

    Raises:
        DatasetError: not `column=value[,value...]`.
    """
    return tuple(_parse_condition(text) for text in texts)


def refuse_absent(wanted: tuple[str, ...], present: tuple[str, ...], *, file_name: str, what: str) -> None:
    """Refuse names that the file does not have.

    Raises:
        DatasetError: names the file, the absent name and what there is.
    """
    for name in wanted:
        if name not in present:
            shown = ", ".join(present[:20]) + (f" ... ({len(present)} in all)" if len(present) > 20 else "")
            raise DatasetError(f"{file_name}: no {what} {name!r}; there are: {shown}")


def _parse_condition(text: str) -> Condition:
    column, equals, values = text.partition("=")
    chosen = tuple(value.strip() for value in values.split(","))
    if not equals or not column.strip() or not all(chosen):
        raise DatasetError(f"the filter {text!r} is not understood; write column=value or column=value,value")
    return Condition(column.strip(), chosen)


def _equal_numbers(left: str, right: str) -> bool:
    try:
        return float(left) == float(right)
    except ValueError:
        return False
