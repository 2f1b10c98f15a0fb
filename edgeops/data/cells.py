"""A batch of rows as columns of typed cells: what every kind of file is read into, and all that cleaning sees of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeops.data.reasons import Refusal
from edgeops.data.rules import Kind

#: A moment that is missing.
NO_MOMENT = int(np.iinfo(np.int64).min)
#: The zone of moments without an offset, unless another one is named.
UTC = "UTC"
#: A name that is missing.
NO_NAME = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One column of a batch."""

    #: (rows,), of recordings (rows, values): numbers, float64, NaN = missing; moments, int64 nanoseconds since 1970,
    #: NO_MOMENT = missing; categories, int64 indexes into `names`, NO_NAME = missing.
    values: NDArray[Any]
    #: Rows whose cell is not of the kind that was asked for; their value is missing.
    broken: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    names: tuple[str, ...] = ()


class Batch(Protocol):
    """Some consecutive rows of a file."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """(rows,) the number of each row in its file, from 0, refused ones counted."""
        ...

    @property
    def lines(self) -> NDArray[np.int64]:
        """(rows,) where each row stands, as people count it."""
        ...

    @property
    def malformed(self) -> Sequence[tuple[Refusal, object]]:
        """Rows that are none, and their text; they are not among the others."""
        ...

    def cells(self, column: str, kind: Kind, *, tick: int = 10**9, zone: str = UTC) -> Cells:
        """A column as cells of a kind.

        Where moments are meant, `tick` is what one of a number is in nanoseconds, and `zone` where a text without an
        offset was written down.
        """
        ...

    def row(self, place: int) -> dict[str, Any]:
        """A row as it was read, for people: JSON values by column."""
        ...
