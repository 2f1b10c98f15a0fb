"""Reads a NumPy `.npz` archive: arrays of equal length, never pickles.

Sizes are checked from the archive's directory before anything is unpacked.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import DatasetError
from edgeops.npz import DAMAGED
from fleet_server.datasets.table import Condition, Selection, Table, refuse_absent

#: The array that is learnt from when none is named.
DEFAULT_FEATURES = "X"


def read_npz(path: Path, selection: Selection, *, file_name: str) -> Table:
    """Read the chosen rows and arrays; `file_name` is what errors call the file.

    Raises:
        DatasetError: names what is wrong and where.
    """
    arrays = _Arrays(path, file_name)
    filtered = tuple(condition.column for condition in selection.where)
    refuse_absent((selection.label,), arrays.names, file_name=file_name, what="label array")
    refuse_absent(selection.features + selection.exclude + filtered, arrays.names, file_name=file_name, what="array")
    names = tuple(name for name in selection.features or (DEFAULT_FEATURES,) if name not in selection.exclude)
    refuse_absent(names, arrays.names, file_name=file_name, what="array")
    if selection.label in names:
        raise DatasetError(f"{file_name}: {selection.label!r} is both label and feature; choose")

    labels = arrays.vector(selection.label)
    chosen = np.ones(len(labels), dtype=bool)
    for condition in selection.where:
        chosen &= arrays.matches(condition, rows=len(labels))
    if not chosen.any():
        shown = " and ".join(f"{one.column}={','.join(one.values)}" for one in selection.where)
        raise DatasetError(f"{file_name}: none of its {len(labels)} rows passes the filter {shown}")

    parts, columns, shape = list[NDArray[np.float32]](), list[str](), tuple[int, ...]()
    for name in names:
        values = arrays.numbers(name, rows=len(labels))
        shape = values.shape[1:] or (1,)
        flat = values.reshape(len(values), -1)
        parts.append(flat[chosen].astype(np.float32))
        columns += [name] if values.ndim == 1 else [f"{name}{index}" for index in range(flat.shape[1])]
    if not columns or len(columns) > limits.MAX_DATASET_COLUMNS:
        raise DatasetError(f"{file_name}: {len(columns)} columns; between 1 and {limits.MAX_DATASET_COLUMNS} will do")
    return Table(
        columns=tuple(columns),
        shape=shape if len(names) == 1 else (len(columns),),
        values=np.concatenate(parts, axis=1),
        labels=_texts(labels[chosen], selection.label, file_name),
        ids=np.flatnonzero(chosen).astype(np.int64),
    )


class _Arrays:
    """The arrays of one archive, each read when it is asked for."""

    def __init__(self, path: Path, file_name: str) -> None:
        self._path = path
        self._file = file_name
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except DAMAGED as error:
            size = path.stat().st_size
            what = "the file is empty" if size == 0 else f"not an npz archive ({error})"
            raise DatasetError(f"{file_name}: {what}; write it with numpy.savez") from error
        self.names = tuple(one.filename.removesuffix(".npy") for one in members if one.filename.endswith(".npy"))
        if not self.names:
            raise DatasetError(
                f"{file_name}: the archive holds no arrays; write it with numpy.savez(file, X=..., y=...)"
            )
        unpacked = sum(member.file_size for member in members)
        if unpacked > limits.MAX_DATASET_VALUES * 8:
            raise DatasetError(f"{file_name}: unpacks to {unpacked} bytes, the most is {limits.MAX_DATASET_VALUES * 8}")

    def vector(self, name: str) -> NDArray[Any]:
        """An array of one value per row."""
        array = self._read(name)
        if array.ndim != 1:
            raise DatasetError(f"{self._file}: array {name!r} has shape {array.shape}; one value per row is needed")
        if len(array) == 0:
            raise DatasetError(f"{self._file}: array {name!r} is empty")
        return array

    def numbers(self, name: str, *, rows: int) -> NDArray[Any]:
        """A numeric array with one entry per row; infinite values are refused, NaN is a missing value."""
        array = self._read(name)
        self._refuse_other_length(name, array, rows)
        if array.dtype.kind not in "fiub":
            raise DatasetError(f"{self._file}: array {name!r} holds {array.dtype}, not numbers; leave it out")
        if array.dtype.kind == "f":
            broken = np.argwhere(np.isinf(array) | (np.abs(array) > limits.MAX_FLOAT32))
            if len(broken):
                row = tuple(int(index) for index in broken[0])
                raise DatasetError(
                    f"{self._file}: array {name!r}, entry {list(row)}: {array[row]} does not fit a 32-bit float; "
                    "correct it, or write NaN for a missing value"
                )
        return array

    def matches(self, condition: Condition, *, rows: int) -> NDArray[np.bool_]:
        """Which rows pass a filter."""
        array = self.vector(condition.column)
        self._refuse_other_length(condition.column, array, rows)
        kinds, places = np.unique(array, return_inverse=True)
        accepted = np.array([condition.accepts(str(kind)) for kind in kinds.tolist()], dtype=bool)
        return np.asarray(accepted[places], dtype=np.bool_)

    def _refuse_other_length(self, name: str, array: NDArray[Any], rows: int) -> None:
        if array.ndim == 0 or len(array) != rows:
            length = 0 if array.ndim == 0 else len(array)
            raise DatasetError(f"{self._file}: array {name!r} has {length} rows, the label has {rows}; they must match")

    def _read(self, name: str) -> NDArray[Any]:
        try:
            with np.load(self._path, allow_pickle=False) as archive:
                array: NDArray[Any] = archive[name]
        except DAMAGED as error:
            raise DatasetError(
                f"{self._file}: array {name!r} cannot be read ({error}); pickled objects are refused, "
                "save plain numbers or text"
            ) from error
        if not isinstance(array, np.ndarray):  # a member that does not begin as an array does comes as bytes
            raise DatasetError(f"{self._file}: array {name!r} is no array; write the file with numpy.savez")
        return array


def _texts(labels: NDArray[Any], name: str, file_name: str) -> tuple[str, ...]:
    if labels.dtype.kind == "f":
        if not np.array_equal(labels, np.round(labels)):
            raise DatasetError(f"{file_name}: the label array {name!r} holds fractions; a class is needed")
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iubU":
        raise DatasetError(f"{file_name}: the label array {name!r} holds {labels.dtype}; integers or text are needed")
    return tuple(str(label) for label in labels.tolist())
