"""What a deployment asks of a source.

The seam between the loop that feeds a deployment and the world. A source has no thread of its own
and does not pace itself: whoever reads decides when.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import InputWindow


class Rows(NamedTuple):
    """Some consecutive rows, oldest first."""

    #: float32, (rows, columns selected).
    values: NDArray[np.float32]
    #: One input id per row.
    ids: Sequence[str]
    #: Position after the last row: where a later start goes on.
    position: int
    #: When each came, in nanoseconds on one clock, of a live source the monotonic one; None = as if at once.
    at_ns: Sequence[int | None] | None = None
    #: When each was measured, in nanoseconds since 1970; None = the source does not say, of one row: it is unknown.
    moments_ns: Sequence[int | None] | None = None


class Source(Protocol):
    """Rows of chosen columns; what was read and not played can be returned to."""

    @property
    def live(self) -> bool:
        """Whether rows come when they come: they are never held back, and cannot be played again after a restart."""

    @property
    def refused(self) -> int:
        """Lines that were no rows and were passed over."""

    def offers(self) -> tuple[str, ...] | None:
        """The columns that can be asked for; None = that is not known beforehand."""

    def select(self, columns: Sequence[str], window: InputWindow | None = None) -> None:
        """From now on deliver these columns in this order; of files, recordings and moments as `window` reads them.

        Raises:
            InputError: the source does not have them, or holds something else than numbers.
        """

    def seek(self, position: int) -> None:
        """Go on after the first `position` rows ever delivered (a loop counts on)."""

    def read(self, limit: int) -> Rows | None:
        """Up to `limit` rows, none when there are none yet; None when the source has ended. Needs `select` before."""

    def close(self, reason: str) -> None:
        """Give back what it holds; `reason` says why before its end, for people."""
