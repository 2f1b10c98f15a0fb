"""Plays a file: CSV with a header, JSON lines, npz with `X` and perhaps `id` and `columns`, or a folder of files.

An npz may hold recordings instead of rows (`device_agent.sources.recordings`), and moments under their column's name.

The columns that the model declares are taken by name; whatever else is in the file, a label above
all, is never read into a row. An input's id is its `id` in the file, else its row number from 0.
When a row was measured is read where the model asks for it; how fast rows are played is the reader's business.
"""

import csv
import math
import zipfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_agent.sources.cells import ID, checked_id, json_object, moment, number, positions
from device_agent.sources.folder import is_folder, read_folder
from device_agent.sources.recordings import Recording, recording_of
from device_agent.sources.source import Rows
from edgeops.artifact.manifest import InputWindow, TimeColumn
from edgeops.data.cells import NO_MOMENT
from edgeops.errors import DatasetError
from edgeops.limits import MAX_REPLAY_BYTES
from edgeops.model.clock import zone_named
from edgeops.npz import DAMAGED


class Table(NamedTuple):
    """What a model reads of a file."""

    #: float32 (rows, columns).
    values: NDArray[np.float32]
    #: One per row; None = the file has none.
    ids: list[str] | None
    #: (rows,) nanoseconds since 1970, NO_MOMENT = missing; None = the file has none, or nobody asks.
    moments: NDArray[np.int64] | None


class _Asked(NamedTuple):
    """Of a file."""

    columns: Sequence[str]
    time: TimeColumn | None
    zone: tzinfo


class _Cells(NamedTuple):
    """Of one row; None = the file has none."""

    id: str | None
    moment_ns: int | None
    values: list[float]


class ReplaySource:
    """A file as a source; rows are in memory, only the selected columns of them."""

    live = False
    #: A file with a bad line is refused as a whole.
    refused = 0

    def __init__(self, path: Path, *, loop: bool = False) -> None:
        self._path = path
        self._loop = loop
        self._position = 0
        self._table = Table(np.empty((0, 0), np.float32), None, None)
        self._recording: Recording | None = None

    def offers(self) -> tuple[str, ...] | None:
        """The columns of a CSV file by its header; of what cannot be read, and of other files, nothing is known."""
        if self._path.suffix.lower() != ".csv":
            return None
        try:
            with self._path.open(newline="", encoding="utf-8-sig") as file:
                header = next(csv.reader(file), None)
        except (OSError, UnicodeDecodeError, csv.Error):
            return None
        return None if header is None else tuple(name.strip() for name in header)

    def select(self, columns: Sequence[str], window: InputWindow | None = None) -> None:
        """Read the file for `columns`, recordings and moments for `window`; the position stays.

        Raises:
            DatasetError: unreadable, empty, a column missing, or something else than a number or moment.
        """
        self._table = read_table(self._path, columns, window)
        self._recording = recording_of(self._path, window)

    def seek(self, position: int) -> None:
        """Go on after `position` rows, counted over all rounds of a loop."""
        self._position = position

    def read(self, limit: int) -> Rows | None:
        """Up to `limit` rows, never across the end of the file; None after the last of a single round."""
        values, ids, moments = self._table
        total = len(values)
        if not self._loop and self._position >= total:
            return None
        first = self._position % total
        last = min(first + limit, total)
        begin = self._position
        self._position += last - first
        names = [str(row) for row in range(first, last)] if ids is None else ids[first:last]
        known = None
        if moments is not None:
            known = [None if one == NO_MOMENT else one for one in moments[first:last].tolist()]
        came = known if self._recording is None else self._recording.at_ns(begin, self._position)
        return Rows(values[first:last], names, self._position, came, known)

    def close(self, reason: str) -> None:
        """Nothing to give back."""


def read_table(path: Path, columns: Sequence[str], window: InputWindow | None = None) -> Table:
    """The named columns of a file as float32, its ids if it has an `id`, and the moments of a time column it has.

    `window` is what recordings become, and tells which the time column is.

    Raises:
        DatasetError: unreadable, unknown format, empty, a column missing, or something else than a number or moment.
        ConfigError: this machine does not know the zone of the moments.
    """
    readers: dict[str, Callable[[Path, _Asked], Table]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".npz": _read_npz,
    }
    if is_folder(path):
        readers[path.suffix.lower()] = partial(_read_folder, window=window)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{path}: cannot replay {path.suffix or 'a file without suffix'!r}; use {', '.join(readers)}, or a folder "
            "of pictures or recordings"
        )
    time = None if window is None else window.time
    try:
        table = reader(path, _Asked(columns, time, UTC if time is None else zone_named(time.zone)))
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a {path.suffix[1:].upper()} file: {error}") from error
    if len(table.values) == 0:
        raise DatasetError(f"{path} holds no rows; there is nothing to replay")
    return table


def _read_folder(path: Path, asked: _Asked, *, window: InputWindow | None) -> Table:
    """Nothing in a folder says when a file was measured."""
    return Table(*read_folder(path, asked.columns, window), moments=None)


def _read_csv(path: Path, asked: _Asked) -> Table:
    columns, time, zone = asked
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        header = next(lines, None)
        if header is None:
            raise DatasetError(f"{path} is empty; expected a header line and rows")
        header = [name.strip() for name in header]
        picks = positions(str(path), header, columns)
        id_at = header.index(ID) if ID in header and ID not in columns else None
        time_at = header.index(time.name) if time is not None and time.name in header else None

        def rows() -> Iterator[_Cells]:
            for cells in lines:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DatasetError(
                        f"{path}, line {lines.line_num}: {len(cells)} cells, the header has {len(header)}"
                    )
                where = f"{path}, line {lines.line_num}"
                yield _Cells(
                    None if id_at is None else cells[id_at],
                    None if time is None or time_at is None else moment(cells[time_at], time, zone, where),
                    [number(cells[at], path, lines.line_num, header[at]) for at in picks],
                )

        return _gather(rows(), path, len(columns))


def _read_jsonl(path: Path, asked: _Asked) -> Table:
    columns, time, zone = asked
    with path.open(encoding="utf-8") as file:

        def rows() -> Iterator[_Cells]:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                item = json_object(f"{path}, line {line}", text)
                where = f"{path}, line {line}"
                positions(where, item, columns)
                yield _Cells(
                    str(item[ID]) if ID in item and ID not in columns else None,
                    moment(item[time.name], time, zone, where) if time is not None and time.name in item else None,
                    [number(item[name], path, line, name) for name in columns],
                )

        return _gather(rows(), path, len(columns))


def _read_npz(path: Path, asked: _Asked) -> Table:
    columns, time = asked.columns, asked.time
    arrays = _arrays(path, also=None if time is None else time.name)
    stored = arrays["X"]
    names = [str(name) for name in arrays["columns"]] if "columns" in arrays else None
    ids = [checked_id(str(name), f"{path}, row {at}") for at, name in enumerate(arrays[ID])] if ID in arrays else None
    if stored.ndim < 2 or stored.dtype.kind not in "fiub":
        raise DatasetError(
            f"{path}: `X` is {stored.dtype} of shape {stored.shape}; expected numbers of (rows, columns)"
        )
    if ids is not None and len(ids) != len(stored):
        raise DatasetError(f"{path}: {len(ids)} ids for {len(stored)} rows")
    moments = _moments(arrays[time.name], asked, path) if time is not None and time.name in arrays else None
    if moments is not None and len(moments) != len(stored):
        raise DatasetError(f"{path}: {len(moments)} moments for {len(stored)} rows")
    recording = recording_of(path)
    if recording is None:
        stored = stored.reshape(len(stored), math.prod(stored.shape[1:]))
    else:
        ids = [name for name in ids or map(str, range(len(stored))) for _ in range(recording.readings)]
        moments = None if moments is None else np.repeat(moments, recording.readings)
        stored = stored.reshape(len(stored) * recording.readings, -1)
    if names is not None:
        stored = stored[:, positions(str(path), names, columns)]
    elif stored.shape[1] != len(columns):
        raise DatasetError(
            f"{path}: `X` has {stored.shape[1]} columns, the model takes {len(columns)}; of recordings store "
            "`rate_hz`, too"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which counts as missing
        return Table(np.ascontiguousarray(stored, dtype=np.float32), ids, moments)


def _moments(stored: NDArray[Any], asked: _Asked, path: Path) -> NDArray[np.int64]:
    """(rows,) of an array of `datetime64`, numbers or texts; what it lacks is NO_MOMENT, as NaT is stored."""
    if stored.dtype.kind == "M":
        return stored.astype("datetime64[ns]").astype(np.int64)
    time, zone = asked.time, asked.zone
    assert time is not None, "somebody asked"
    cells = enumerate(stored.reshape(len(stored), -1)[:, 0].tolist())
    return np.array([moment(cell, time, zone, f"{path}, row {at}") for at, cell in cells], np.int64)


def _arrays(path: Path, *, also: str | None) -> dict[str, NDArray[Any]]:
    """`X`, and `columns`, `id` and what is asked for besides where the file has them."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        if "X" not in sizes:
            raise DatasetError(f"{path} has no array `X` but {', '.join(sizes) or 'nothing'}; store the rows as `X`")
        if sum(sizes.values()) > 2 * MAX_REPLAY_BYTES:  # float64 becomes half as large
            raise _too_large(path)
        with np.load(path, allow_pickle=False) as file:
            wanted = ("X", "columns", ID, *(() if also is None else (also,)))
            arrays = {name: file[name] for name in wanted if name in file}
    except DAMAGED as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    for name, stored in arrays.items():
        # A member that does not begin as an array does comes as bytes.
        if not isinstance(stored, np.ndarray) or stored.ndim == 0:
            raise DatasetError(f"{path}: `{name}` is no array of rows; write the file with numpy.savez")
    return arrays


def _gather(rows: Iterator[_Cells], path: Path, width: int) -> Table:
    values, moments = array("f"), array("q")
    ids: list[str] | None = []
    has_moments = False
    for at, (row_id, moment_ns, row) in enumerate(rows):
        has_moments = has_moments or moment_ns is not None
        moments.append(NO_MOMENT if moment_ns is None else moment_ns)
        if row_id is None:
            ids = None
        elif ids is not None:
            ids.append(checked_id(row_id, f"{path}, row {at}"))
        values.extend(row)
        if 4 * len(values) > MAX_REPLAY_BYTES:
            raise _too_large(path)
    table = np.frombuffer(values, dtype=np.float32).reshape(-1, width) if values else np.empty((0, width), np.float32)
    return Table(table, ids, np.frombuffer(moments, dtype=np.int64) if has_moments else None)


def _too_large(path: Path) -> DatasetError:
    return DatasetError(f"{path} holds more than {MAX_REPLAY_BYTES // 2**20} MiB of values; split it")
