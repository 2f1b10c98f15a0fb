"""Reads a Parquet file, some rows at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import UTC, Batch, Cells
from edgeops.data.layout import Header
from edgeops.data.rules import Kind
from edgeops.errors import DatasetError
from fleet_server.datasets.arrow_cells import cells_of, plain

#: Cells of a batch.
_CELLS = 1 << 18
_DAMAGED = (pa.ArrowException, OSError, ValueError)


class ParquetFile:
    """A source of rows."""

    def __init__(self, path: Path, *, file_name: str) -> None:
        self._file_name = file_name
        self._read = 0
        try:
            self._file = pq.ParquetFile(path)
            names = tuple(self._file.schema_arrow.names)
            self._rows = self._file.metadata.num_rows
        except _DAMAGED as error:
            raise DatasetError(f"{file_name}: not a Parquet file, or damaged: {error}") from error
        if len(set(names)) < len(names):
            raise DatasetError(f"{file_name}: a column appears twice; rename one")
        if len(names) > limits.MAX_DATASET_COLUMNS:
            raise DatasetError(f"{file_name}: {len(names)} columns, the most is {limits.MAX_DATASET_COLUMNS}")
        if not self._rows:
            raise DatasetError(f"{file_name}: there are no rows in it")
        self.header = Header(file_name=file_name, names={name: (name,) for name in names}, shapes={})

    def place(self, line: int) -> str:
        """Where a row stands, for people."""
        return f"row {line}"

    @property
    def share(self) -> float:
        """How much of the file was read, 0 to 1."""
        return float(self._read / self._rows)

    def batches(self, columns: Collection[str], /) -> Iterator[Batch]:
        """All rows, with these columns.

        Raises:
            DatasetError: damaged.
        """
        try:
            for batch in self._file.iter_batches(max(1, _CELLS // len(columns)), columns=list(columns)):
                ids = np.arange(self._read, self._read + batch.num_rows)
                self._read += batch.num_rows
                batch.validate(full=True)  # text that is no UTF-8
                yield _Rows(ids=ids, lines=ids, batch=batch)
        except _DAMAGED as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"{self._file_name}, after row {self._read}: damaged: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """A batch of rows."""

    ids: NDArray[np.int64]
    lines: NDArray[np.int64]
    batch: pa.RecordBatch
    malformed: tuple[()] = ()

    def cells(self, column: str, kind: Kind, *, tick: int = 10**9, zone: str = UTC) -> Cells:
        """A column as cells of a kind."""
        return cells_of(self.batch.column(column), kind, tick=tick, zone=zone)

    def row(self, place: int) -> dict[str, Any]:
        """A row as it was read."""
        return {name: plain(self.batch.column(name)[place].as_py()) for name in self.batch.schema.names}
