"""Reads a CSV file (RFC 4180, UTF-8, first line is the header; gzip too) row by row.

Every error names file, line, column and value. Which rows become training rows is not decided here.
"""

import csv
import gzip
import math
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np

from edgeops import limits
from edgeops.errors import DatasetError
from fleet_server.datasets.table import Condition, Selection, Table, refuse_absent

_GZIP_MAGIC = b"\x1f\x8b"
_MISSING = frozenset({"", "nan", "na", "null", "none"})


def read_csv(path: Path, selection: Selection, *, file_name: str) -> Table:
    """Read the chosen rows and columns; `file_name` is what errors call the file.

    Raises:
        DatasetError: names what is wrong and where.
    """
    with _open_text(path) as text:
        try:
            return _read(csv.reader(text, strict=True), selection, file_name)
        except UnicodeDecodeError as error:
            raise DatasetError(f"{file_name}: not UTF-8 ({error.reason}); save it as UTF-8") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DatasetError(f"{file_name}: the gzip file is damaged or cut off: {error}") from error


class _Reader(Protocol):
    """What `csv.reader` gives."""

    @property
    def line_num(self) -> int: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where in a row the wanted things stand."""

    width: int
    label: int
    features: tuple[int, ...]
    columns: tuple[str, ...]
    where: tuple[tuple[int, Condition], ...]


def _read(reader: _Reader, selection: Selection, file_name: str) -> Table:
    layout = _layout(_header(reader, file_name), selection, file_name)
    values, labels, ids = array("f"), list[str](), array("q")
    number = -1
    for row in _rows(reader, file_name):
        number += 1
        if len(row) != layout.width:
            raise DatasetError(
                f"{file_name}, line {reader.line_num}: {len(row)} values where the header names {layout.width}"
            )
        if not all(condition.accepts(row[place]) for place, condition in layout.where):
            continue
        label = row[layout.label].strip()
        if not label:
            raise DatasetError(
                f"{file_name}, line {reader.line_num}: the label column {selection.label!r} is empty; "
                "give every row a class"
            )
        for place, column in zip(layout.features, layout.columns, strict=True):
            values.append(_number(row[place], f"{file_name}, line {reader.line_num}, column {column!r}"))
        labels.append(label)
        ids.append(number)
        if len(values) > limits.MAX_DATASET_VALUES:
            raise DatasetError(f"{file_name}: more than {limits.MAX_DATASET_VALUES} values; import fewer rows")
    if number < 0:
        raise DatasetError(f"{file_name}: there are no rows below the header")
    if not labels:
        shown = " and ".join(f"{one.column}={','.join(one.values)}" for one in selection.where)
        raise DatasetError(f"{file_name}: none of its {number + 1} rows passes the filter {shown}")
    width = len(layout.columns)
    return Table(
        columns=layout.columns,
        shape=(width,),
        values=np.array(values, dtype=np.float32).reshape(len(labels), width),
        labels=tuple(labels),
        ids=np.array(ids, dtype=np.int64),
    )


def _header(reader: _Reader, file_name: str) -> tuple[str, ...]:
    header = tuple(name.strip() for name in next(_rows(reader, file_name), []))
    if not header:
        raise DatasetError(f"{file_name}: the file is empty; the first line must name the columns")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise DatasetError(f"{file_name}, line 1: the columns are not separated by commas: {header[0][:60]!r}")
    if len(header) > limits.MAX_DATASET_COLUMNS:
        raise DatasetError(f"{file_name}: {len(header)} columns, the most is {limits.MAX_DATASET_COLUMNS}")
    for place, name in enumerate(header):
        if not name:
            raise DatasetError(f"{file_name}, line 1: column {place + 1} has no name")
        if name in header[:place]:
            raise DatasetError(f"{file_name}, line 1: the column {name!r} appears twice; rename one")
    return header


def _layout(header: tuple[str, ...], selection: Selection, file_name: str) -> _Layout:
    filtered = tuple(condition.column for condition in selection.where)
    refuse_absent((selection.label,), header, file_name=file_name, what="label column")
    refuse_absent(selection.features + selection.exclude + filtered, header, file_name=file_name, what="column")
    # A column that rows were chosen by is a key, not a measurement, unless it is asked for by name.
    left_out = {selection.label, *selection.exclude}
    if not selection.features:
        left_out.update(filtered)
    columns = tuple(name for name in selection.features or header if name not in left_out)
    if not columns:
        raise DatasetError(f"{file_name}: no column is left to learn from beside the label {selection.label!r}")
    return _Layout(
        width=len(header),
        label=header.index(selection.label),
        features=tuple(header.index(name) for name in columns),
        columns=columns,
        where=tuple((header.index(condition.column), condition) for condition in selection.where),
    )


def _number(text: str, where: str) -> float:
    """A cell as float32; an empty one is a missing value."""
    if text.strip().lower() in _MISSING:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise DatasetError(
            f"{where}: {text[:40]!r} is not a number; correct it, or leave the column out with exclude"
        ) from None
    if abs(value) > limits.MAX_FLOAT32:
        raise DatasetError(f"{where}: {text[:40]!r} does not fit a 32-bit float; correct it, or leave the cell empty")
    return value


def _rows(reader: _Reader, file_name: str) -> Iterator[list[str]]:
    """The rows; blank lines are skipped."""
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DatasetError(f"{file_name}, line {reader.line_num}: {error}") from error
        if row:
            yield row


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open("r", encoding="utf-8-sig", newline="")
