"""A snapshot as its model will see it: cut into input windows, each within one split, group and stretch of time.

A window that would hold rows of another split is not made, so that nothing which judges was learnt from. What is to be
learnt of a window is what is to be learnt of its last row. Single rows are windows of one row, and recordings are
windows as they are.
"""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import InputWindow, Task
from edgeops.data.cells import NO_MOMENT, NO_NAME
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from edgeops.learning.anomaly import ANOMALY
from edgeops.model.windowing import window_places
from fleet_server.datasets.snapshot import IMPORTED, Rows, SnapshotFile
from fleet_server.ml.grid import on_grid, stretches
from fleet_server.ml.recipes.rounding import rounded
from fleet_server.ml.recipes.window import GAP_STEPS

Integers = NDArray[np.int64]

_NANOSECONDS = 1e9
#: The median of so many steps is a rate, and rates within this factor of each other are one.
_RATE_STEPS = 32
_SAME_RATE = 1.25
_FOR = {Split.TRAIN: "that are learnt from", Split.VALIDATION: "that stop the training", Split.EVALUATION: "that judge"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Some windows of a snapshot."""

    #: Raw readings, float32 (windows, rows, columns); NaN = missing.
    values: NDArray[np.float32]
    #: What is to be learnt of each (windows,), as in `Rows`.
    targets: NDArray[Any]
    #: Which device each was bought from (windows,), as in `Rows`.
    origins: Integers
    #: Which group of the snapshot each is of (windows,), as in `Rows`.
    groups: Integers
    #: Which slices of the snapshot each is of (windows, columns of slices), as in `Rows`.
    slices: Integers

    def __len__(self) -> int:
        return len(self.values)

    @property
    def classes(self) -> Integers:
        """Class indexes, int64 (windows,), where the task is classification."""
        assert self.targets.dtype == np.int64, f"targets of type {self.targets.dtype} are no classes"
        return self.targets

    def with_values(self, values: NDArray[np.float32]) -> "Windows":
        """The same windows with other readings."""
        return replace(self, values=values)

    def only(self, windows: NDArray[Any]) -> "Windows":
        """Some of them: a mask or indexes."""
        return Windows(
            values=self.values[windows],
            targets=self.targets[windows],
            origins=self.origins[windows],
            groups=self.groups[windows],
            slices=self.slices[windows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowedSnapshot:
    """All windows of a snapshot; `cut_windows` makes one."""

    snapshot: SnapshotFile
    window: InputWindow
    #: (windows, window.rows): places among the snapshot's rows, oldest first; of recordings (windows, 1).
    places: Integers
    #: Which windows hold rows of several classes (windows,).
    is_mixed: NDArray[np.bool_]

    @property
    def is_ordered(self) -> bool:
        """Whether windows that follow each other were one after the other in time.

        Windows of several rows are: whoever asks for them says that rows which follow each other belong together. And
        they overlap, so that taking them for independent ones would promise far too much.
        """
        return self.snapshot.schema.ordered or self.places.shape[1] > 1

    def only(self, split: Split) -> Windows:
        """The windows of one split; nobody learns from a window of several classes."""
        return self.at(self.of(split))

    def of(self, split: Split) -> Integers:
        """The numbers of these windows."""
        is_of = self.snapshot.splits[self.places[:, -1]] == split
        return np.flatnonzero(is_of if split is Split.EVALUATION else is_of & ~self.is_mixed)

    def in_order(self) -> Integers:
        """The numbers of all imported windows, group by group in time order."""
        rows, ends = self.snapshot.rows, self.places[:, -1]
        imported = np.flatnonzero(rows.origins[ends] == IMPORTED)
        if self.snapshot.schema.ordered:
            return imported
        return imported[np.argsort(rows.groups[ends[imported]], kind="stable")]

    def normal(self, numbers: Integers) -> Integers:
        """Those of these windows that hold no row which is known to be anomalous."""
        if self.snapshot.schema.task is not Task.ANOMALY:
            return numbers
        is_normal: NDArray[np.bool_] = ~(self.snapshot.rows.targets[self.places[numbers]] == ANOMALY).any(axis=1)
        return numbers[is_normal]

    def at(self, numbers: Integers) -> Windows:
        """The windows of these numbers."""
        rows, places = self.snapshot.rows, self.places[numbers]
        ends = places[:, -1]
        values = rows.values[places].reshape(len(places), self.window.rows, len(self.window.columns))
        return Windows(
            values=values,
            targets=rows.targets[ends],
            origins=rows.origins[ends],
            groups=rows.groups[ends],
            slices=rows.slices[ends],
        )

    @property
    def words(self) -> tuple[str, ...]:
        """What a person should know of the windows; nothing of single rows."""
        window = self.window
        if window.rows == 1:
            return ()
        train, validation, evaluation = (len(self.of(split)) for split in Split)
        pace = "" if window.rate_hz is None else f", at {window.rate_hz:g} rows a second"
        every = f", every {window.stride} rows"
        what, every = ("recordings", "") if self.snapshot.schema.clip else ("windows", every)
        cut = f"{what} of {window.rows} rows{every}{pace}"
        told = f"{cut}: {train} to learn from, {validation} to stop on, {evaluation} to judge"
        if mixed := int(self.is_mixed.sum()):
            return told, f"{mixed} windows hold rows of several classes, and nothing is learnt from them"
        return (told,)


def paced(window: InputWindow, snapshot: SnapshotFile) -> InputWindow:
    """The window with the rate that rows usually come at, or are put on, and the gap that begins a new one; by times.

    A window that has a rate and takes rows as they come, as that of recordings does, stays as it is.

    Raises:
        DatasetError: some rows come at another rate, and are not to be resampled.
    """
    if window.rate_hz is not None and window.resampling is None:
        return window
    rows, names = snapshot.rows, snapshot.groups
    order = np.argsort(rows.groups, kind="stable")
    groups, times = rows.groups[order], rows.times[order]
    is_step = (np.diff(groups) == 0) & (times[1:] != NO_MOMENT) & (times[:-1] != NO_MOMENT)
    # Of two moments that are missing the difference is no step, and the mask leaves it out.
    steps = (times[1:] - times[:-1])[is_step]
    usual_s = float(np.median(steps)) / _NANOSECONDS if len(steps) else 0.0
    if usual_s <= 0:
        return window
    if window.resampling is not None:
        assert window.rate_hz is not None, "it was asked for"
        return msgspec.structs.replace(window, max_gap_s=rounded(GAP_STEPS * max(usual_s, 1 / window.rate_hz)))
    _refuse_mixed(rows.only(order), is_step, usual_s, names)
    return msgspec.structs.replace(window, rate_hz=rounded(1 / usual_s), max_gap_s=rounded(GAP_STEPS * usual_s))


def cut_windows(snapshot: SnapshotFile, window: InputWindow) -> WindowedSnapshot:
    """Find the windows of a snapshot.

    Windows of several rows are made of imported rows only: of what devices nominate, each row stands alone.

    Raises:
        DatasetError: a split has no window, a class none to learn from, or there would be too many.
    """
    if window.resampling is not None:
        snapshot = on_grid(snapshot, window)
    rows = snapshot.rows
    if snapshot.schema.clip or window.rows == window.stride == 1:
        places = np.arange(len(rows), dtype=np.int64)[:, np.newaxis]
        return WindowedSnapshot(
            snapshot=snapshot, window=window, places=places, is_mixed=np.zeros(len(places), dtype=np.bool_)
        )
    _refuse_too_many(snapshot, window)
    imported = np.flatnonzero(rows.origins == IMPORTED)
    runs = stretches(rows.groups[imported], snapshot.splits[imported])
    times = rows.times[imported]
    found = window_places(window, len(imported), times=times if (times != NO_MOMENT).any() else None, groups=runs)
    places = imported[found]
    is_mixed = np.zeros(len(places), dtype=np.bool_)
    if snapshot.schema.task is not Task.REGRESSION:
        targets = rows.targets[places]
        if snapshot.schema.task is Task.ANOMALY:  # what nobody labelled is taken for normal until somebody does
            targets = targets == ANOMALY
        is_mixed = (targets != targets[:, :1]).any(axis=1)
    cut = WindowedSnapshot(snapshot=snapshot, window=window, places=places, is_mixed=is_mixed)
    _refuse_empty(cut)
    return cut


def _refuse_mixed(rows: Rows, is_step: NDArray[np.bool_], usual_s: float, names: tuple[str, ...]) -> None:
    """Refuse rows, sorted by group, that come at another rate for a while; a row that is lost, or late, is no rate."""
    places = np.flatnonzero(is_step)
    steps_s = (rows.times[places + 1] - rows.times[places]) / _NANOSECONDS
    groups = rows.groups[places]
    for first in np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1)):
        own = np.flatnonzero(groups == groups[first])
        for start in range(0, len(own) - _RATE_STEPS + 1, _RATE_STEPS):
            step_s = float(np.median(steps_s[own[start : start + _RATE_STEPS]]))
            if not 1 / _SAME_RATE <= step_s / usual_s <= _SAME_RATE:
                place = places[own[start]]
                of = f" of group {names[groups[first]]!r}" if groups[first] != NO_NAME else ""
                raise DatasetError(
                    f"from row {rows.ids[place]}{of} on, rows come every {step_s:g} s, usually every {usual_s:g} s; "
                    "put all on one grid with --rate, or import those apart"
                )


def _refuse_too_many(snapshot: SnapshotFile, window: InputWindow) -> None:
    values = (len(snapshot.rows) // window.stride + 1) * window.rows * len(window.columns)
    if values > limits.MAX_DATASET_VALUES:
        raise DatasetError(
            f"windows of {window.rows} rows every {window.stride} rows hold about {values} values, the most is "
            f"{limits.MAX_DATASET_VALUES}; give a longer stride or fewer rows to a window"
        )


def _refuse_empty(cut: WindowedSnapshot) -> None:
    schema, rows = cut.snapshot.schema, cut.window.rows
    for split in Split:
        if not len(cut.of(split)):
            raise DatasetError(
                f"no window of {rows} rows fits into the rows {_FOR[split]}: split by group or time when importing, "
                "for rows dealt by chance do not follow each other, or take shorter windows"
            )
    learnt = set(cut.at(cut.of(Split.TRAIN)).targets.tolist()) if schema.classes else set()
    for place, name in enumerate(schema.classes):
        if place not in learnt:
            raise DatasetError(
                f"no window of {rows} rows that is learnt from is all of class {name!r}; take shorter windows, or "
                "leave the class out with a filter"
            )
