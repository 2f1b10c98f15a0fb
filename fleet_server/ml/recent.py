"""The samples of devices that people labelled, as windows that judge a version which did not learn from them.

Which labels count is decided elsewhere; here what a version or its champion learnt from is told apart, by the sample
or by its values, and a device that was left out of either stays out.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.data.cells import NO_NAME
from edgeops.data.seen import fingerprints
from fleet_server.datasets.buying import Bought
from fleet_server.ml.champion import Champions, Learnt
from fleet_server.ml.frames import Bring, Build
from fleet_server.ml.windows import WindowedSnapshot, Windows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecentSamples:
    """Single rows that a snapshot does not hold."""

    #: Each of the device that `origins` counts.
    windows: Windows
    #: Which of them the champion never learnt from (n,).
    unseen: NDArray[np.bool_]


def recent_samples(task: Build | Bring, windows: WindowedSnapshot, champions: Champions) -> RecentSamples | None:
    """Those that judge a classifier of single rows; None = there are none."""
    snapshot, window = windows.snapshot, windows.window
    if task.recent is None or window.rows > 1 or window.clock:
        return None
    listed = msgspec.msgpack.decode(Path(task.recent).read_bytes(), type=list[Bought])
    learnt = champions.learnt
    without = {*snapshot.schema.without, *(() if learnt is None else learnt.without)}
    known = {one.sample for one in snapshot.purchases}
    fitting = [
        one
        for one in listed
        if one.device not in without
        and one.sample not in known
        and one.label in snapshot.schema.classes
        and len(one.values) == 4 * len(window.columns)
    ]
    if not fitting:
        return None
    values = np.array([np.frombuffer(one.values, "<f4") for one in fitting], dtype=np.float32)
    values[~np.isfinite(values)] = np.nan
    devices = sorted({one.device for one in fitting})
    rows = Windows(
        values=values[:, np.newaxis],
        targets=np.array([snapshot.schema.classes.index(one.label) for one in fitting], np.int64),
        origins=np.array([devices.index(one.device) for one in fitting], np.int64),
        groups=np.full(len(fitting), NO_NAME, np.int64),
        slices=np.full((len(fitting), len(snapshot.slices)), NO_NAME, np.int64),
    )
    # A dataset may have been made of samples: what judges there needs not judge twice.
    is_new = ~np.isin(fingerprints(values), fingerprints(snapshot.rows.values))
    if not is_new.any():
        return None
    unseen = _unseen(fitting, values, learnt)
    return RecentSamples(windows=rows.only(is_new), unseen=unseen[is_new])


def _unseen(listed: list[Bought], values: NDArray[np.float32], learnt: Learnt | None) -> NDArray[np.bool_]:
    if learnt is None:
        return np.zeros(len(listed), dtype=np.bool_)
    is_bought = np.array([one.sample in learnt.samples for one in listed], dtype=np.bool_)
    return np.asarray(~is_bought & ~np.isin(fingerprints(values), learnt.rows))
