"""Makes a snapshot of an uploaded file: reads it batch by batch, cleans it, splits it, checks that it can be learnt.

Rows lie in files on disk while they become more, never all in memory. Where the snapshot is kept is not decided here.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.data.cleaning import Cleaner, Kept
from edgeops.data.layout import Layout, lay_out
from edgeops.data.leaks import find_leaks
from edgeops.data.names import natural
from edgeops.data.reasons import Refusal
from edgeops.data.rules import BadRows, Rules
from edgeops.data.schema import FORMAT, Schema
from edgeops.data.seen import fingerprints
from edgeops.data.splits import Split, bins_of, split_rows
from edgeops.digest import digest_file
from edgeops.errors import DatasetError
from fleet_server.datasets.arrow_cells import MISSING
from fleet_server.datasets.quarantine import Quarantine
from fleet_server.datasets.snapshot import (
    IMPORTED,
    Rows,
    SnapshotFile,
    split_rows_of,
    statistics_of,
    write_snapshot,
)
from fleet_server.datasets.source import Source, open_source

#: Tells a step's name and the share done.
Report = Callable[[str, float], None]

_READING = 0.8
#: Of a split by time or group, a class has at least so many rows; of a regression there are so many in all.
_FEWEST_ROWS = 30
_VALUES_AT_ONCE = 1 << 20


def import_file(
    path: Path,
    rules: Rules,
    *,
    file_name: str,
    destination: Path,
    quarantine: Path,
    report: Report = lambda _step, _share: None,
) -> Schema:
    """Read a file into a snapshot.

    Args:
        path: where the file lies now.
        rules: what is learnt, and which rows are refused.
        file_name: how its owner calls it; errors do too.
        destination: where the snapshot goes.
        quarantine: where refused rows go; an empty file is there when none was.
        report: is told how far it is.

    Raises:
        DatasetError: names what is wrong and where.
    """
    source = open_source(path, rules, file_name=file_name)
    layout = lay_out(rules, source.header)
    with (
        tempfile.TemporaryDirectory(prefix="import-", dir=destination.parent) as folder,
        _Growing(Path(folder), width=layout.width) as growing,
        Quarantine(quarantine) as refused,
    ):
        cleaner = Cleaner(layout)
        wanted = _read(source, layout, cleaner, growing, refused, report=report)
        _refuse(rules, source, refused, wanted=wanted)
        report("splitting the rows", _READING)
        snapshot = _snapshot(path, layout, cleaner, growing, source)
        report("writing the snapshot", 0.9)
        if refused.counts:
            refused.close()
            counts = dict(sorted(refused.counts.items()))
            snapshot = snapshot.with_schema(refused=counts, quarantine=digest_file(quarantine))
        write_snapshot(snapshot, destination)
    return snapshot.schema


class _Growing:
    """The rows that are kept, on disk: a file per array."""

    _ARRAYS = ("ids", "values", "targets", "groups", "slices", "times")

    def __init__(self, folder: Path, *, width: int) -> None:
        self.rows = 0
        self._width = width
        self._folder = folder
        self._files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in self._ARRAYS}
        self._types: dict[str, np.dtype[Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, kept: Kept) -> None:
        """Append rows."""
        self.rows += len(kept.ids)
        for name, file in self._files.items():
            array = getattr(kept, name)
            self._types[name] = array.dtype
            file.write(memoryview(array).cast("B") if array.size else b"")

    def array(self, name: str) -> NDArray[Any]:
        """All that was appended, (rows,)."""
        self._files[name].flush()
        return np.fromfile(self._folder / name, dtype=self._types[name])

    def values(self) -> NDArray[np.float32]:
        """(rows, width), left on disk."""
        self._files["values"].flush()
        shape = (self.rows, self._width)
        return np.memmap(self._folder / "values", dtype=np.float32, mode="r", shape=shape)


def _read(
    source: Source, layout: Layout, cleaner: Cleaner, growing: _Growing, refused: Quarantine, *, report: Report
) -> int:
    """Clean everything; how many rows passed the filters."""
    file_name, wanted, seen = source.header.file_name, 0, 0
    for batch in source.batches(layout.columns):
        kept = cleaner.clean(batch)
        growing.add(kept)
        for refusal, row in kept.refused:
            refused.keep(refusal, row)
        wanted += kept.wanted
        seen += len(batch.ids) + len(batch.malformed)
        if growing.rows * layout.width > limits.MAX_DATASET_VALUES:
            raise DatasetError(f"{file_name}: more than {limits.MAX_DATASET_VALUES} values; import fewer rows")
        report("reading the file", _READING * source.share)
    if not wanted:
        shown = " and ".join(f"{one.column}={','.join(one.values)}" for one in layout.conditions)
        raise DatasetError(f"{file_name}: none of its {seen} rows passes the filter {shown}")
    return wanted


def _refuse(rules: Rules, source: Source, refused: Quarantine, *, wanted: int) -> None:
    """Fail if rows were refused and may not be, or if they are most of the file."""
    total = refused.counts.total()
    if not total:
        return
    told = [_told(refusal, refused, source) for refusal in refused.first.values()]
    shown = f"{source.header.file_name}, {'; '.join(told)}"
    if 2 * total > wanted:
        raise DatasetError(f"{shown}; {total} of {wanted} rows are refused: are these the right rules for the file?")
    if rules.bad_rows is BadRows.ERROR:
        raise DatasetError(
            f"{shown}; correct the file, leave a column out with exclude, or keep refused rows apart with "
            "bad_rows = quarantine"
        )


def _told(refusal: Refusal, refused: Quarantine, source: Source) -> str:
    count = refused.counts[refusal.reason]
    more = f" (and {count - 1} more rows: {refusal.reason})" if count > 1 else ""
    return refusal.words(source.place(refusal.line)) + more


def _snapshot(path: Path, layout: Layout, cleaner: Cleaner, growing: _Growing, source: Source) -> SnapshotFile:
    rules, file_name = layout.rules, source.header.file_name
    targets, groups, times = (growing.array(name) for name in ("targets", "groups", "times"))
    learnt = _learnt(rules, cleaner, targets, file_name)
    group_names = cleaner.groups.names
    splits = split_rows(rules, learnt.strata, groups=groups, names=group_names, times=times)
    _refuse_unlearnt(learnt, splits, file_name)
    values = growing.values()
    train = np.flatnonzero(splits == Split.TRAIN)
    _refuse_one_number(rules, targets[train], file_name)
    _refuse_empty_columns(layout, values, train, file_name)
    statistics = statistics_of(values, train, clip=layout.clip)
    leaks = find_leaks(splits, _fingerprints(values), groups=groups, times=times)
    # Of a picture no pixel can be left out.
    constant = tuple(
        f"column {column!r} has the same value {one.minimum:g} in every training row; leave it out with exclude"
        for column, one in zip(layout.inputs, statistics, strict=True)
        if one.minimum == one.maximum and len(layout.shape) == 1
    )
    schema = Schema(
        format=FORMAT,
        task=rules.task,
        label=rules.label,
        units=rules.units or rules.of(rules.label).unit,
        columns=layout.inputs,
        shape=layout.shape,
        clip=layout.clip,
        classes=learnt.names,
        rows=growing.rows,
        split_rows=split_rows_of(splits),
        class_rows=learnt.class_rows,
        statistics=statistics,
        source=digest_file(path),
        where=rules.where,
        hold_out=rules.hold_out,
        seed=rules.seed,
        ordered=rules.in_time_order,
        rules=rules,
        groups=len(group_names),
        leaks=leaks,
        warnings=(*_called_missing(rules, learnt), *constant, *leaks.words),
    )
    rows = Rows(
        ids=growing.array("ids"),
        values=values,
        targets=learnt.targets,
        origins=np.full(growing.rows, IMPORTED, dtype=np.int64),
        groups=groups,
        slices=growing.array("slices").reshape(growing.rows, len(rules.slices)),
        times=times,
    )
    slices = tuple(one.names for one in cleaner.slices)
    return SnapshotFile(schema=schema, rows=rows, splits=splits, groups=group_names, slices=slices)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learnt:
    """What is to be learnt."""

    targets: NDArray[Any]
    names: tuple[str, ...]
    class_rows: tuple[int, ...]
    #: (rows,) what a split has a share of each of.
    strata: NDArray[np.int64]


def _learnt(rules: Rules, cleaner: Cleaner, targets: NDArray[Any], file_name: str) -> _Learnt:
    if rules.task is not Task.CLASSIFICATION:
        if len(targets) < _FEWEST_ROWS:
            raise DatasetError(f"{file_name}: {len(targets)} rows are too few, at least {_FEWEST_ROWS} are needed")
        strata = bins_of(targets) if rules.task is Task.REGRESSION else targets
        return _Learnt(targets=targets, names=(), class_rows=(), strata=strata)
    met = cleaner.classes.names
    names = tuple(sorted(met, key=natural))
    classes = np.array([names.index(name) for name in met], dtype=np.int64)[targets]
    counts = np.bincount(classes, minlength=len(names))
    if len(names) < 2:
        raise DatasetError(
            f"{file_name}: the label {rules.label!r} has one class only, {names[0]!r}; a classifier needs two or more"
        )
    rarest = int(np.argmin(counts))
    if counts[rarest] < limits.MIN_ROWS_PER_CLASS:
        raise DatasetError(
            f"{file_name}: class {names[rarest]!r} of label {rules.label!r} has "
            f"{counts[rarest]} row{'s' if counts[rarest] > 1 else ''}, at least {limits.MIN_ROWS_PER_CLASS} are "
            f"needed; add rows, or name the classes that shall be learnt: --where {rules.label}=A,B"
        )
    return _Learnt(targets=classes, names=names, class_rows=tuple(counts.tolist()), strata=classes)


def _refuse_unlearnt(learnt: _Learnt, splits: NDArray[np.uint8], file_name: str) -> None:
    """Whole groups or the latest rows are held out: then a class may judge that nobody learnt."""
    met = set(learnt.targets[splits == Split.TRAIN].tolist()) if learnt.names else set()
    for place, name in enumerate(learnt.names):
        if place not in met:
            raise DatasetError(
                f"{file_name}: no training row is of class {name!r}, which is in the rows that judge or stop the "
                "training; hold out other groups or fewer rows, or leave the class out with --where"
            )


def _refuse_one_number(rules: Rules, targets: NDArray[Any], file_name: str) -> None:
    if rules.task is Task.REGRESSION and targets.min() == targets.max():
        raise DatasetError(
            f"{file_name}: the label {rules.label!r} has the same value {targets[0]:g} in every training row: "
            "there is nothing to learn; add other rows, or hold out others"
        )


def _called_missing(rules: Rules, learnt: _Learnt) -> list[str]:
    """A class is a name, and such names are words for a value that is not there."""
    return [
        f"class {name!r} of {rows} rows is called as what is missing; if it is, name the classes that there are "
        f"with allowed, of the column {rules.label!r}"
        for name, rows in zip(learnt.names, learnt.class_rows, strict=True)
        if name.lower() in MISSING
    ]


def _refuse_empty_columns(
    layout: Layout, values: NDArray[np.float32], train: NDArray[np.int64], file_name: str
) -> None:
    filled = np.zeros(values.shape[1], dtype=bool)
    step = max(1, _VALUES_AT_ONCE // values.shape[1])
    for start in range(0, len(train), step):
        if filled.all():
            return
        filled |= ~np.isnan(values[train[start : start + step]]).all(axis=0)
    if not filled.all():
        column = layout.inputs[int(np.argmin(filled))]
        raise DatasetError(
            f"{file_name}: column {column!r} has no value in any training row; leave it out with exclude"
        )


def _fingerprints(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    step = max(1, _VALUES_AT_ONCE // values.shape[1])
    parts = [fingerprints(values[start : start + step]) for start in range(0, len(values), step)]
    return np.concatenate(parts)
