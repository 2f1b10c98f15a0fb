"""Reads a zipped folder: each file is a row, its path tells class and group, a reader turns it into numbers."""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import UTC, Batch, Cells
from edgeops.data.layout import Header
from edgeops.data.paths import read_pattern
from edgeops.data.reasons import Reason, Refusal
from edgeops.data.rules import Kind, Rules
from edgeops.errors import DatasetError
from edgeops.folder import Folder, open_folder
from fleet_server.datasets.arrow_cells import cells_of

#: Numbers of a batch, and files.
_CELLS = 1 << 20
_FILES = 1_024


class Reader(Protocol):
    """Turns files of one kind into rows of as many numbers."""

    @property
    def name(self) -> str:
        """What people name all columns by."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What a row has values of."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        ...

    @property
    def rate_hz(self) -> int | None:
        """Of recordings: readings a second."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """How the names of its files end, in lower case."""
        ...

    def read(self, content: bytes, /) -> NDArray[np.float32]:
        """One file as numbers, as many as the shape says.

        Raises:
            DatasetError: it is none, damaged, or unlike the others.
        """
        ...


class FolderSource:
    """A source of rows."""

    def __init__(self, path: Path, rules: Rules, *, file_name: str, reader: Callable[[Folder, Rules], Reader]) -> None:
        self._path = path
        self._file_name = file_name
        self._pattern = read_pattern(rules.pattern)
        self._share = 0.0
        with self._opened() as folder:
            if folder.empty:
                raise DatasetError(f"{file_name}: the folder {folder.empty[0]!r} is empty; fill it, or delete it")
            self._paths = folder.paths
            try:
                self._reader = reader(folder, rules)
            except DatasetError as error:
                raise DatasetError(f"{file_name}: {error}") from error
        reads, told = self._reader, self._pattern.columns
        if len(reads.columns) > limits.MAX_DATASET_COLUMNS:
            raise DatasetError(
                f"{file_name}: {len(reads.columns)} values each, the most is {limits.MAX_DATASET_COLUMNS}; "
                "say a smaller size"
            )
        self.header = Header(
            file_name=file_name,
            names={**{column: (column,) for column in told}, reads.name: reads.columns},
            shapes={reads.name: reads.shape},
            default=(reads.name,),
            clip_hz=reads.rate_hz,
        )

    def place(self, line: int) -> str:
        """Where a row stands, for people."""
        return self._paths[line]

    @property
    def share(self) -> float:
        """How much of the files was read, 0 to 1."""
        return self._share

    def batches(self, _columns: Collection[str], /) -> Iterator[Batch]:
        """All files, by their paths."""
        step = min(_FILES, max(1, _CELLS // math.prod(self._reader.shape)))
        with self._opened() as folder:
            for start in range(0, len(self._paths), step):
                yield self._batch(folder, range(start, min(start + step, len(self._paths))))
                self._share = min(1.0, (start + step) / len(self._paths))

    def _opened(self) -> Folder:
        return open_folder(self._path, file_name=self._file_name)

    def _batch(self, folder: Folder, numbers: range) -> "_Files":
        told = self._pattern.cells([self._paths[number] for number in numbers])
        values = np.empty((len(numbers), math.prod(self._reader.shape)), dtype=np.float32)
        good, malformed = list[int](), list[tuple[Refusal, object]]()
        for place, number in enumerate(numbers):
            try:
                values[place] = self._read(folder, self._paths[number])
                good.append(place)
            except DatasetError as error:
                refusal = Refusal(line=number, reason=Reason.MALFORMED, column="", value=str(error))
                malformed.append((refusal, {column: cells[place] for column, cells in told.items()}))
        return _Files(
            ids=np.array(good, dtype=np.int64) + numbers.start,
            malformed=tuple(malformed),
            values=values[good],
            whole=self._reader.name,
            places={column: place for place, column in enumerate(self._reader.columns)},
            told={column: [cells[place] for place in good] for column, cells in told.items()},
        )

    def _read(self, folder: Folder, path: str) -> NDArray[np.float32]:
        suffixes = self._reader.suffixes
        if PurePosixPath(path).suffix.lower() not in suffixes:
            raise DatasetError(f"the name ends in none of {', '.join(suffixes)}")
        return self._reader.read(folder.read(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """A batch of rows."""

    ids: NDArray[np.int64]
    malformed: tuple[tuple[Refusal, object], ...]
    #: (rows, values)
    values: NDArray[np.float32]
    #: What all of them together are called.
    whole: str
    places: dict[str, int]
    #: What paths say, by column.
    told: dict[str, list[str | None]]

    @property
    def lines(self) -> NDArray[np.int64]:
        """As the ids are: the numbers of the files."""
        return self.ids

    def cells(self, column: str, kind: Kind, *, tick: int = 10**9, zone: str = UTC) -> Cells:
        """A column as cells of a kind."""
        if column in self.told:
            return cells_of(pa.array(self.told[column], pa.string()), kind, tick=tick, zone=zone)
        values = self.values if column == self.whole else self.values[:, self.places[column]]
        if kind is Kind.NUMBER:
            return Cells(values=values.astype(np.float64))
        return cells_of(pa.array(values), kind, tick=tick, zone=zone)

    def row(self, place: int) -> dict[str, Any]:
        """What is known of a file without reading it."""
        return {column: cells[place] for column, cells in self.told.items()}
