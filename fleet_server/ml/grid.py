"""A snapshot put on the grid of its model, so that it is learnt from as a device will see it.

Within one stretch of a split and group at a time: what is on a grid of the rows that are learnt from depends on no row
that judges. What is to be learnt of a row of the grid, and whose it is, is that of the last row before it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import InputWindow
from edgeops.data.cells import NO_MOMENT
from edgeops.errors import DatasetError
from edgeops.model.resampling import resample
from fleet_server.datasets.snapshot import IMPORTED, SnapshotFile

Integers = NDArray[np.int64]


def on_grid(snapshot: SnapshotFile, window: InputWindow) -> SnapshotFile:
    """The imported rows of a snapshot, resampled; they are sorted by group.

    Raises:
        DatasetError: a row has no time, or no stretch is longer than a step.
    """
    imported = np.flatnonzero(snapshot.rows.origins == IMPORTED)
    rows, splits = snapshot.rows.only(imported), snapshot.splits[imported]
    if window.max_gap_s is None or (rows.times == NO_MOMENT).any():
        raise DatasetError("rows without times cannot be put on a grid; import them with a time column")
    order = np.argsort(rows.groups, kind="stable")
    rows, splits = rows.only(order), splits[order]
    found = resample(window, rows.values, rows.times, groups=stretches(rows.groups, splits))
    if not len(found.times):
        raise DatasetError(f"no row lies on a grid of {window.rate_hz:g} rows a second; give a higher rate")
    gridded = replace(rows.only(found.sources), values=found.values, times=found.times)
    return replace(snapshot, rows=gridded, splits=splits[found.sources])


def stretches(groups: Integers, splits: NDArray[np.uint8]) -> Integers:
    """(rows,) a number for rows of one group that lie in one split without one of another split between them."""
    order = np.argsort(groups, kind="stable")
    begins = (np.diff(groups[order]) != 0) | (np.diff(splits[order].astype(np.int64)) != 0)
    found = np.zeros(len(groups), dtype=np.int64)
    found[order[1:]] = np.cumsum(begins)
    return found
