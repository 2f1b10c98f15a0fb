"""The reference's rows sketched per answered class: what tells a moved world from a moved mix of classes.

Classes beyond the most frequent `MOST_CLASSES` share one sketch, as do answers that share a bin. This module does not
compare.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.errors import MessageError
from edgeops.limits import HISTOGRAM_BINS
from edgeops.sketch.packing import unpack

#: Sketches; with 64 channels and all of them they take about 40 kB.
MOST_CLASSES = 16


class ClassSketches(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Sketches of the reference rows by the class that the model answered."""

    #: Position of the channel that holds the answer.
    answer: int
    #: Which sketch belongs to each of the answer's 32 bins.
    owner: bytes
    #: `edgeops.sketch.window` packed.
    sketches: tuple[bytes, ...]

    def counts(self) -> NDArray[np.int64]:
        """Histograms (sketches, channels, 32).

        Raises:
            MessageError: one is damaged.
        """
        return np.array([unpack(data).counts for data in self.sketches])

    def check(self, channels: int) -> None:
        """Assert that it fits a profile of so many channels.

        Raises:
            MessageError: it does not.
        """
        if not (1 <= len(self.sketches) <= MOST_CLASSES and 0 <= self.answer < channels):
            raise MessageError(f"{len(self.sketches)} class sketches by channel {self.answer} of {channels}")
        if len(self.owner) != HISTOGRAM_BINS or max(self.owner) >= len(self.sketches):
            raise MessageError("class sketches that do not say which answer is whose")
        if any(unpack(data).channels != channels for data in self.sketches):
            raise MessageError("class sketches with other channels than the profile")


def owners(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Which sketch each bin of the answer's histogram (32,) belongs to: the most frequent first."""
    ranks = np.argsort(-counts, kind="stable").argsort()
    sketches = min(MOST_CLASSES, max(int(np.count_nonzero(counts)), 1))
    return np.minimum(ranks, sketches - 1).astype(np.uint8)
