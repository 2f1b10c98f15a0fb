"""Reads a NumPy `.npz` archive: arrays of equal length, never pickles.

Sizes are checked from the archive's directory before anything is unpacked.
"""

import math
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import UTC, Batch, Cells
from edgeops.data.layout import Header
from edgeops.data.rules import Kind
from edgeops.errors import DatasetError
from edgeops.npz import DAMAGED
from fleet_server.datasets.arrow_cells import cells_of, plain

#: The array that is learnt from when none is named.
DEFAULT_FEATURES = "X"
#: Of NumPy: floats, integers, truth values, text, moments.
_KINDS = "fiubUM"
#: Cells of a batch.
_CELLS = 1 << 20


class NpzFile:
    """A source of rows."""

    def __init__(self, path: Path, *, file_name: str) -> None:
        self._path = path
        self._file = file_name
        self._share = 0.0
        found = self._shapes()
        shapes = {name: shape or () for name, shape in found.items()}
        self.header = Header(
            file_name=file_name,
            names={name: _columns(name, shape) for name, shape in shapes.items()},
            shapes={name: shape[1:] for name, shape in shapes.items() if len(shape) > 1},
            what="array",
            default=(DEFAULT_FEATURES,),
            lengths={name: shape[0] for name, shape in found.items() if shape},
        )

    def place(self, line: int) -> str:
        """Where a row stands, for people."""
        return f"row {line}"

    @property
    def share(self) -> float:
        """How much of the rows was read, 0 to 1."""
        return self._share

    def batches(self, columns: Collection[str], /) -> Iterator[Batch]:
        """All rows of the arrays that these columns are of; the cells of a whole array are recordings (rows, values).

        Raises:
            DatasetError: an array cannot be read, or has another length.
        """
        of = {column: name for name, parts in self.header.names.items() for column in parts}
        named = dict.fromkeys(of.get(column, column) for column in columns)
        arrays = {name: self._read(name) for name in named}
        first = next(iter(arrays))
        rows = len(arrays[first])
        for name, array in arrays.items():
            if len(array) != rows:
                raise DatasetError(
                    f"{self._file}: array {name!r} has {len(array)} rows, {first!r} has {rows}; they must match"
                )
        if not rows:
            raise DatasetError(f"{self._file}: array {first!r} is empty")
        parts: dict[str, NDArray[Any]] = {}
        for name, array in arrays.items():
            flat = array.reshape(rows, -1)
            if name in columns and array.ndim > 1:
                if array.dtype.kind not in "fiub":
                    raise DatasetError(f"{self._file}: array {name!r} holds text; recordings are numbers")
                parts[name] = flat
            else:
                parts |= {column: flat[:, place] for place, column in enumerate(self.header.names[name])}
        step = max(1, _CELLS // max(1, sum(part[0].size for part in parts.values())))
        for start in range(0, rows, step):
            self._share = start / rows
            yield _Slice(ids=np.arange(start, min(start + step, rows)), parts=parts, start=start)

    def _shapes(self) -> dict[str, tuple[int, ...] | None]:
        """Of each array, by its header alone; None of what is no array of rows."""
        try:
            with zipfile.ZipFile(self._path) as archive:
                members = archive.infolist()
                unpacked = sum(member.file_size for member in members)
                if unpacked > limits.MAX_DATASET_VALUES * 8:
                    raise DatasetError(
                        f"{self._file}: unpacks to {unpacked} bytes, the most is {limits.MAX_DATASET_VALUES * 8}"
                    )
                found = {
                    one.filename.removesuffix(".npy"): self._shape(archive, one)
                    for one in members
                    if one.filename.endswith(".npy")
                }
        except DAMAGED as error:
            size = self._path.stat().st_size
            what = "the file is empty" if size == 0 else f"not an npz archive ({error})"
            raise DatasetError(f"{self._file}: {what}; write it with numpy.savez") from error
        if not found:
            raise DatasetError(
                f"{self._file}: the archive holds no arrays; write it with numpy.savez(file, X=..., y=...), or a "
                "table as CSV"
            )
        return found

    def _shape(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[int, ...] | None:
        """None is an error only when somebody asks for the array."""
        try:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, kind = read(file)
        except DAMAGED:
            return None
        is_rows = shape and math.prod(shape[1:]) <= limits.MAX_CLIP_VALUES and kind.kind in _KINDS
        return shape if is_rows else None

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
        if array.dtype.kind not in _KINDS:
            raise DatasetError(
                f"{self._file}: array {name!r} holds {array.dtype}, neither numbers nor text; leave it out"
            )
        if array.ndim == 0 or array.shape[1:] != self.header.shapes.get(name, ()):
            raise DatasetError(
                f"{self._file}: array {name!r} has shape {array.shape}; rows of {limits.MAX_CLIP_VALUES} values "
                "at most are needed"
            )
        return array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """A batch of rows."""

    ids: NDArray[np.int64]
    #: By column, whole.
    parts: dict[str, NDArray[Any]]
    start: int
    malformed: tuple[()] = ()

    @property
    def lines(self) -> NDArray[np.int64]:
        """As the ids are: arrays have no lines."""
        return self.ids

    def cells(self, column: str, kind: Kind, *, tick: int = 10**9, zone: str = UTC) -> Cells:
        """A column as cells of a kind."""
        part = self.parts[column][self.start : self.start + len(self.ids)]
        if kind is Kind.NUMBER and part.dtype.kind in "fiub":
            return Cells(values=part.astype(np.float64))
        if part.dtype.kind == "M":
            part = part.astype("datetime64[ns]")
        if part.dtype == np.float16:
            part = part.astype(np.float32)
        # Arrow counts NaN as a value, but a missing label is none.
        return cells_of(pa.array(np.ascontiguousarray(part), from_pandas=True), kind, tick=tick, zone=zone)

    def row(self, place: int) -> dict[str, Any]:
        """A row as it was read."""
        row = {name: part[self.start + place] for name, part in self.parts.items()}
        return {name: value.tolist() if value.ndim else plain(value.item()) for name, value in row.items()}


def _columns(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    return (name,) if len(shape) < 2 else tuple(f"{name}{place}" for place in range(math.prod(shape[1:])))
