"""Reads a CSV file (RFC 4180, UTF-8, first line is the header; gzip too) block by block.

Cells are read as text and converted later, so that one that cannot be read costs its row and not the file. Which line
a row stands in is counted exactly: blank lines and line breaks between quotes count.
"""

import csv
import io
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import UTC, Batch, Cells
from edgeops.data.layout import Header
from edgeops.data.reasons import Reason, Refusal
from edgeops.data.rules import Kind
from edgeops.errors import DatasetError
from fleet_server.datasets.arrow_cells import cells_of
from fleet_server.datasets.text_file import TextFile

Malformed = tuple[Refusal, object]


class CsvFile:
    """A source of rows."""

    def __init__(self, path: Path, *, file_name: str) -> None:
        self._file_name = file_name
        self._text = TextFile(path, file_name=file_name)
        self._blocks = self._text.blocks(quotes=True)
        self._first, self._lines, self._names = self._header()
        self.header = Header(file_name=file_name, names={name: (name,) for name in self._names}, shapes={})

    def place(self, line: int) -> str:
        """Where a row stands, for people."""
        return f"line {line}"

    @property
    def share(self) -> float:
        """How much of the file's bytes was read, 0 to 1."""
        return self._text.share

    def batches(self, _columns: Collection[str], /) -> Iterator[Batch]:
        """All rows; blank lines are none.

        Raises:
            DatasetError: not UTF-8, damaged, or there are no rows.
        """
        rows, lines = 0, self._lines
        for block in itertools.chain([self._first], self._blocks):
            if block:
                batch = self._read(block, rows=rows, lines=lines)
                rows += len(batch.ids) + len(batch.malformed)
                lines += block.count(b"\n")
                yield batch
        if not rows:
            raise DatasetError(f"{self._file_name}: there are no rows below the header")

    def _header(self) -> tuple[bytes, int, tuple[str, ...]]:
        """What is left of the first block, the lines before it, and the names of the columns."""
        block = next(self._blocks, b"")
        text = io.StringIO(self._decoded(block), newline="")
        reader = csv.reader(text, strict=True)
        names: tuple[str, ...] = ()
        try:
            while not names:
                names = tuple(name.strip() for name in next(reader))
        except StopIteration:
            raise DatasetError(f"{self._file_name}: the file is empty; the first line must name the columns") from None
        except csv.Error as error:
            raise DatasetError(f"{self._file_name}, line {reader.line_num}: {error}") from error
        self._check(names)
        return text.read().encode(), reader.line_num, names

    def _check(self, names: tuple[str, ...]) -> None:
        if any("\0" in name for name in names):
            raise DatasetError(f"{self._file_name}, line 1: there is a NUL in it, and CSV is text; export it as CSV")
        if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
            raise DatasetError(f"{self._file_name}, line 1: the columns are not separated by commas: {names[0][:60]!r}")
        if len(names) > limits.MAX_DATASET_COLUMNS:
            raise DatasetError(f"{self._file_name}: {len(names)} columns, the most is {limits.MAX_DATASET_COLUMNS}")
        known = set[str]()
        for place, name in enumerate(names):
            if not name:
                raise DatasetError(f"{self._file_name}, line 1: column {place + 1} has no name")
            if name in known:
                raise DatasetError(f"{self._file_name}, line 1: the column {name!r} appears twice; rename one")
            known.add(name)

    def _decoded(self, block: bytes, *, lines: int = 0) -> str:
        """Its text; `lines` stood before it."""
        try:
            return block.decode()
        except UnicodeDecodeError as error:
            line = lines + block.count(b"\n", 0, error.start) + 1
            raise DatasetError(
                f"{self._file_name}, line {line}: not UTF-8 ({error.reason}); save it as UTF-8"
            ) from error

    def _read(self, block: bytes, *, rows: int, lines: int) -> "_Block":
        """One block; `rows` and `lines` stood before it."""
        # Of a whole block: a malformed row that is not UTF-8 would get lost in pyarrow.
        self._decoded(block, lines=lines)
        odd: list[Any] = []

        def note(row: Any) -> str:
            odd.append(row)
            return "skip"

        try:
            table = pa_csv.read_csv(
                pa.BufferReader(block),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, column_names=self._names, block_size=len(block) + len(self._names) + 64
                ),
                parse_options=pa_csv.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self._names, pa.string()), strings_can_be_null=False, check_utf8=False
                ),
            )
        except pa.ArrowInvalid as error:
            if not block.strip(b"\r\n"):
                return _Block(ids=_none(), lines=_none(), malformed=(), columns={})
            raise DatasetError(f"{self._file_name}, below line {lines}: {error}") from error
        total = table.num_rows + len(odd)
        stands = self._lines_of(block, total) + lines
        bad = np.array([row.number - 1 for row in odd], dtype=np.int64)
        kept = np.delete(np.arange(total), bad)
        return _Block(
            ids=rows + kept,
            lines=stands[kept],
            malformed=tuple(self._malformed(row, int(stands[row.number - 1])) for row in odd),
            columns={
                name: column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
                for name, column in zip(self._names, table.columns, strict=True)
            },
        )

    def _lines_of(self, block: bytes, rows: int) -> NDArray[np.int64]:
        """The line that each row of a block ends in, the first being 1."""
        if block.count(b"\n") + (not block.endswith(b"\n")) == rows:
            return np.arange(1, rows + 1)
        reader = csv.reader(io.StringIO(self._decoded(block), newline=""))
        stands = np.array([reader.line_num for row in reader if row], dtype=np.int64)
        if len(stands) != rows:  # the two readers take a stray quote for different things
            return np.arange(1, rows + 1)
        return stands

    @staticmethod
    def _malformed(row: Any, line: int) -> Malformed:
        what = f"{row.actual_columns} values where the header names {row.expected_columns}"
        return Refusal(line=line, reason=Reason.MALFORMED, column="", value=what), row.text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A batch of rows."""

    ids: NDArray[np.int64]
    lines: NDArray[np.int64]
    malformed: tuple[Malformed, ...]
    columns: dict[str, pa.Array] = field(repr=False)

    def cells(self, column: str, kind: Kind, *, tick: int = 10**9, zone: str = UTC) -> Cells:
        """A column as cells of a kind."""
        if not self.columns:
            return cells_of(pa.array([], pa.string()), kind, tick=tick, zone=zone)
        return cells_of(self.columns[column], kind, tick=tick, zone=zone)

    def row(self, place: int) -> dict[str, Any]:
        """A row as it was read."""
        return {name: column[place].as_py() for name, column in self.columns.items()}


def _none() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)
