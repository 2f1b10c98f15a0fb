"""How a channel moved, as a word: what a person sees when two histograms lie on each other."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from edgeops.drift.statistics import cumulative

#: One direction counts as the direction when the other is less than a third of it.
_CLEAR = 3


class Movement(StrEnum):
    """Where the values of a window lie, seen from the reference."""

    NONE = "none"
    HIGHER = "higher"
    LOWER = "lower"
    #: More at both ends.
    WIDER = "wider"
    #: More in the middle.
    NARROWER = "narrower"
    #: Classes, which know no order, come in other shares.
    MIX = "mix"


def movement(reference: Sequence[int], window: Sequence[int], *, discrete: bool = False) -> Movement:
    """How counts in the reference's bins, which ascend, differ from the reference's own; `discrete` = of classes."""
    if not sum(reference) or not sum(window):
        return Movement.NONE
    # Above 0: up to this bin the window has more, so its values lie lower.
    ahead = cumulative(np.array(window)) - cumulative(np.array(reference))
    lower, higher = float(max(ahead.max(), 0)), float(max(-ahead.min(), 0))
    if not lower and not higher:
        return Movement.NONE
    if discrete:
        return Movement.MIX
    if higher >= _CLEAR * lower:
        return Movement.HIGHER
    if lower >= _CLEAR * higher:
        return Movement.LOWER
    more_first, more_last = int(ahead.argmax()), int(ahead.argmin())
    return Movement.WIDER if more_first < more_last else Movement.NARROWER
