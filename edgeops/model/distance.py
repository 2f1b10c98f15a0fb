"""How far the latest rows lie from what was learnt: an anomaly score of several channels together.

The score is the squared distance of Mahalanobis (1936) of the mean of a trailing window, measured by the covariance of
such means over rows that are known to be normal; 1 is the furthest of those. Means of a window, because a fault lasts
and noise does not. The covariance of means and not of rows, because readings in sequence resemble each other: their
means wander more than those of independent rows would. Channels are seen together: pressure that falls while flow does
not is far away, though each alone is usual.

What was learnt is a linear layer. A score is `sum(square(matrix @ mean + offset))`, which any runtime can compute.
Where an alarm begins is not decided here: it needs labelled rows, of other machines if need be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError

Doubles = NDArray[np.float64]
#: In single or double precision; all is computed in double.
Rows = NDArray[np.float32] | NDArray[np.float64]

#: So much of the covariance is replaced by that of channels without any relation (Ledoit & Wolf 2004): directions in
#: which the normal rows hardly moved are not believed to be that narrow.
_SHRINKAGE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distance:
    """A learnt distance; a score sees rows up to its own and none after."""

    #: Rows in a trailing window.
    window_rows: int
    #: (channels, channels) and (channels,): they take a mean to where normal means are round, and the furthest at 1.
    matrix: Doubles
    offset: Doubles

    def score(self, window: Rows) -> float:
        """Of one window (window_rows, channels), as `WindowBuffer` gives it; NaN if a reading is missing."""
        return float(self.scores(window)[-1])

    def scores(self, rows: Rows) -> Doubles:
        """Of every row (n, channels), the same bits as one window at a time; NaN while the first window fills.

        An infinite reading counts as missing.
        """
        scores = np.full(len(rows), np.nan)
        if len(rows) < self.window_rows:
            return scores
        means = trailing_means(np.where(np.isfinite(rows), rows, np.nan), self.window_rows)
        # Column by column: a matrix product may round otherwise for one row than for many.
        mapped = np.tile(self.offset, (len(means), 1))
        for column, weights in enumerate(self.matrix.T):
            mapped += means[:, column, np.newaxis] * weights
        scores[self.window_rows - 1 :] = np.add.reduce(np.square(mapped), axis=1)
        return scores


def learn_distance(rows: Rows, *, window_rows: int) -> Distance:
    """From normal rows (n, channels) in time order.

    Raises:
        InputError: the rows are too few for this window, a reading is missing, or a channel does not change.
    """
    channels = rows.shape[1]
    if len(rows) < window_rows * (channels + 1):
        raise InputError(
            f"{len(rows)} normal rows are too few to learn how {channels} channels move together in means of "
            f"{window_rows}; give {window_rows * (channels + 1)} or a shorter window"
        )
    rows = rows.astype(np.float64)
    return _learn(rows, trailing_means(_whole(rows), window_rows), window_rows)


def learn_from_windows(windows: Rows) -> Distance:
    """From normal windows (n, window_rows, channels), of any number of machines; they may overlap.

    Raises:
        InputError: the windows are too few, a reading is missing, or a channel does not change.
    """
    count, window_rows, channels = windows.shape
    if count <= channels:
        raise InputError(
            f"{count} normal windows are too few to learn how the means of {channels} channels move together; give "
            f"more than {channels}, by more rows or a shorter stride"
        )
    rows = windows.astype(np.float64).reshape(-1, channels)
    return _learn(_whole(rows), windows.mean(axis=1, dtype=np.float64), window_rows)


def _whole(rows: Doubles) -> Doubles:
    if len(missing := np.flatnonzero(~np.isfinite(rows).all(axis=0))):
        raise InputError(f"readings of channel {missing[0]} are missing in the normal rows; leave those rows out")
    if len(constant := np.flatnonzero(np.ptp(rows, axis=0) == 0)):
        raise InputError(f"channel {constant[0]} is always {rows[0, constant[0]]:g} in the normal rows; leave it out")
    return rows


def _learn(rows: Doubles, means: Doubles, window_rows: int) -> Distance:
    """From whole rows and the means of their windows, both (any number, channels)."""
    channels = rows.shape[1]
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    means = (means - centre) / scale
    covariance = np.cov(means, rowvar=False).reshape(channels, channels)
    unrelated = np.eye(channels) * np.trace(covariance) / channels
    factor = np.linalg.cholesky((1 - _SHRINKAGE) * covariance + _SHRINKAGE * unrelated)
    whitening = np.linalg.inv(factor)
    matrix = whitening / np.sqrt(np.square(means @ whitening.T).sum(axis=1).max()) / scale
    return Distance(window_rows=window_rows, matrix=matrix, offset=-matrix @ centre)


def trailing_means(rows: Rows, window_rows: int) -> Doubles:
    """Of each row (n, channels) and those before it, (n - window_rows + 1, channels); always added oldest first."""
    count = len(rows) - window_rows + 1
    sums = rows[:count].astype(np.float64)
    for later in range(1, window_rows):
        sums += rows[later : later + count]
    return sums / window_rows
