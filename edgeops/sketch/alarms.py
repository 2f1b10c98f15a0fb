"""How many scores of a sketch were alarms: its bins are cut where alarms begin, so that the count is exact."""

import numpy as np
from numpy.typing import NDArray

from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch


def lowest_alarm(threshold: float) -> np.float32:
    """The lowest score that lies above it."""
    near = np.float32(threshold)
    return near if float(near) > threshold else np.nextafter(near, np.float32(np.inf))


def cut_at(edges: NDArray[np.float32], border: np.float32) -> NDArray[np.float32]:
    """Ascending edges (31,) with one of them moved to `border`: the next one above it, or the last."""
    cut = edges.copy()
    cut[min(int(edges.searchsorted(border)), len(edges) - 1)] = border
    return cut


def alarms_in(sketch: Sketch, reference: ReferenceProfile, channel: int, threshold: float) -> int | None:
    """Alarms among the scores of a channel; None = the reference is not cut where they begin."""
    edges, border = reference.grid.edges[channel], lowest_alarm(threshold)
    if border not in edges:
        return None
    # A value that equals an edge lies above it.
    return int(sketch.counts[channel][int(edges.searchsorted(border, side="right")) :].sum())
