"""Makes a snapshot of an uploaded file: reads it, checks that it can be learnt from, splits it.

A classifier needs two classes or more with enough rows each, and columns that hold values. Where the
snapshot is kept is not decided here.
"""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.digest import digest_file
from edgeops.errors import DatasetError
from fleet_server.datasets.csv_file import read_csv
from fleet_server.datasets.npz_file import read_npz
from fleet_server.datasets.snapshot import (
    FORMAT,
    IMPORTED,
    Rows,
    Schema,
    SnapshotFile,
    split_rows_of,
    statistics_of,
)
from fleet_server.datasets.splits import Split, split_rows
from fleet_server.datasets.table import Selection, Table, parse_conditions


def import_file(
    path: Path,
    *,
    file_name: str,
    label: str,
    features: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    where: tuple[str, ...] = (),
    hold_out: float = 0.2,
    seed: int = 0,
    in_time_order: bool = False,
) -> SnapshotFile:
    """Read a CSV or npz file into a snapshot.

    Args:
        path: where the file lies now.
        file_name: how its owner calls it; errors do too.
        label: column or array that holds the class.
        features: columns, or npz arrays; empty = all columns but label and filters (npz: `X`).
        exclude: columns that are not learnt from.
        where: filters such as `batch=1,2`.
        hold_out: share of each class that only judges.
        seed: of the split.
        in_time_order: the file's rows are consecutive rows of one source, oldest first.

    Raises:
        DatasetError: names what is wrong and where.
    """
    selection = Selection(label=label, features=features, exclude=exclude, where=parse_conditions(where))
    read = read_npz if zipfile.is_zipfile(path) or file_name.endswith(".npz") else read_csv
    table = read(path, selection, file_name=file_name)
    names, classes = _classes(table, file_name, label)
    splits = split_rows(classes, hold_out=hold_out, seed=seed)
    train = table.values[splits == Split.TRAIN]
    _refuse_empty_columns(table, train, file_name)
    schema = Schema(
        format=FORMAT,
        task=Task.CLASSIFICATION,
        label=label,
        units="",
        columns=table.columns,
        shape=table.shape,
        classes=names,
        rows=len(classes),
        split_rows=split_rows_of(splits),
        class_rows=tuple(int(count) for count in np.bincount(classes, minlength=len(names))),
        statistics=statistics_of(train),
        source=digest_file(path),
        where=where,
        hold_out=hold_out,
        seed=seed,
        ordered=in_time_order,
    )
    origins = np.full(len(classes), IMPORTED, dtype=np.int64)
    rows = Rows(ids=table.ids, values=table.values, targets=classes, origins=origins)
    return SnapshotFile(schema=schema, rows=rows, splits=splits)


def _classes(table: Table, file_name: str, label: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    counts = Counter(table.labels)
    names = tuple(sorted(counts, key=_natural))
    if len(names) < 2:
        raise DatasetError(
            f"{file_name}: the label {label!r} has one class only, {names[0]!r}; a classifier needs two or more"
        )
    if len(names) > limits.MAX_CLASSES:
        raise DatasetError(
            f"{file_name}: the label {label!r} has {len(names)} classes, the most is {limits.MAX_CLASSES}; "
            "is it a measurement rather than a class?"
        )
    rarest = min(names, key=lambda name: (counts[name], _natural(name)))
    if counts[rarest] < limits.MIN_ROWS_PER_CLASS:
        raise DatasetError(
            f"{file_name}: class {rarest!r} of label {label!r} has {counts[rarest]} rows, at least "
            f"{limits.MIN_ROWS_PER_CLASS} are needed; add rows or leave the class out with a filter"
        )
    index = {name: place for place, name in enumerate(names)}
    return names, np.array([index[text] for text in table.labels], dtype=np.int64)


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers by value, before text by alphabet."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _refuse_empty_columns(table: Table, train: NDArray[np.float32], file_name: str) -> None:
    empty = np.flatnonzero(np.isnan(train).all(axis=0))
    if len(empty):
        raise DatasetError(
            f"{file_name}: column {table.columns[empty[0]]!r} has no value in any training row; "
            "leave it out with exclude"
        )
