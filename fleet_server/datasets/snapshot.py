"""The immutable form of a dataset: rows, what is to be learnt of each, splits and a schema in one named blob.

Rows were imported from a file, or bought: nominated by a device and labelled, which `purchases` tells of each. The
blob is an npz archive written so that the same content gives the same bytes (fixed dates, no compression).
`numpy.load` opens it. What the rows mean to a model, and which rows are bought, is not decided here.
"""

import io
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Task
from edgeops.data.cleaning import UNLABELLED
from edgeops.data.clip import Clip
from edgeops.data.schema import FORMAT, QUANTILES, ColumnStatistics, Schema
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from edgeops.learning.labels import LabelSource
from edgeops.npz import DAMAGED
from edgeops.protocol.messages import Id

#: The origin of a row that came from a file.
IMPORTED = -1
_SCHEMA_MEMBER = "schema.json"
_PURCHASES_MEMBER = "purchases.json"
_GROUPS_MEMBER = "groups.json"
#: Absent where rows are told apart by their group alone.
_SLICES_MEMBER = "slices.json"
#: The oldest date a zip can hold.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
#: Larger members need the larger form of a zip.
_ZIP64_FROM = 1 << 31
_WRITTEN_BYTES = 1 << 22
#: Values of recordings that statistics are of.
_CLIP_VALUES = 1 << 24


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bought row and its label came from."""

    sample: str
    device: Id
    source: LabelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of a snapshot: imported ones in the order of their file, then bought ones."""

    #: Row number in that file, int64 (rows,); of bought rows -1 - place among the purchases.
    ids: NDArray[np.int64]
    #: float32 (rows, columns); NaN = missing. Of recordings (rows, clip.rows * columns), one reading after the other.
    values: NDArray[np.float32]
    #: What is to be learnt of each, (rows,): class indexes, int64; of a regression numbers, float32; of an anomaly
    #: detector 0 normal, 1 anomaly, UNLABELLED, int64.
    targets: NDArray[Any]
    #: Which of the schema's devices the row was bought from, int64 (rows,); IMPORTED = none.
    origins: NDArray[np.int64]
    #: Which group of the snapshot the row is of, int64 (rows,); NO_NAME = none.
    groups: NDArray[np.int64]
    #: Which of the snapshot's slices it is of, by each of the rules' columns of slices, int64 (rows, columns); NO_NAME
    #: = none.
    slices: NDArray[np.int64]
    #: Nanoseconds since 1970, int64 (rows,); NO_MOMENT = none.
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class indexes, int64 (rows,), where the task is classification."""
        assert self.targets.dtype == np.int64, f"targets of type {self.targets.dtype} are no classes"
        return self.targets

    def readings(self, schema: Schema) -> NDArray[np.float32]:
        """(n, columns): the rows, or all readings of all recordings."""
        return self.values.reshape(-1, len(schema.columns))

    def only(self, rows: NDArray[Any]) -> "Rows":
        """Some of them: a mask or indexes."""
        return Rows(
            ids=self.ids[rows],
            values=self.values[rows],
            targets=self.targets[rows],
            origins=self.origins[rows],
            groups=self.groups[rows],
            slices=self.slices[rows],
            times=self.times[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    """A whole snapshot, in memory or mapped."""

    schema: Schema
    rows: Rows
    splits: NDArray[np.uint8]
    purchases: tuple[Purchase, ...] = ()
    #: What the rows' groups point into.
    groups: tuple[str, ...] = ()
    #: The same of the rows' slices, by column.
    slices: tuple[tuple[str, ...], ...] = ()

    def with_schema(self, **changes: Any) -> "SnapshotFile":
        """The same rows, of which something else is told."""
        return replace(self, schema=msgspec.structs.replace(self.schema, **changes))

    def only(self, split: Split) -> Rows:
        """The rows of one split."""
        return self.rows.only(self.splits == split)


def write_snapshot(snapshot: SnapshotFile, path: Path) -> None:
    """Write the blob piece by piece: the same content gives the same bytes."""
    with path.open("wb") as file:
        _write(snapshot, file)


def encode_snapshot(snapshot: SnapshotFile) -> bytes:
    """The blob in memory, for a snapshot that is small."""
    buffer = io.BytesIO()
    _write(snapshot, buffer)
    return buffer.getvalue()


def _write(snapshot: SnapshotFile, file: BinaryIO) -> None:
    rows = snapshot.rows
    arrays: dict[str, NDArray[Any]] = {
        "id": rows.ids,
        "X": rows.values,
        "y": rows.targets,
        "origin": rows.origins,
        "split": snapshot.splits,
        "group": rows.groups,
        "time": rows.times,
    }
    extra = {
        _SCHEMA_MEMBER: msgspec.json.encode(snapshot.schema, order="sorted"),
        _PURCHASES_MEMBER: msgspec.json.encode(snapshot.purchases, order="sorted"),
        _GROUPS_MEMBER: msgspec.json.encode(snapshot.groups),
    }
    if snapshot.slices:
        arrays["slice"] = rows.slices
        extra[_SLICES_MEMBER] = msgspec.json.encode(snapshot.slices)
    _write_archive(file, arrays, extra=extra)


def read_snapshot(path: Path) -> SnapshotFile:
    """Read a blob that `encode_snapshot` wrote.

    Raises:
        DatasetError: it is something else, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            schema = msgspec.json.decode(archive.read(_SCHEMA_MEMBER), type=Schema)
            purchases = msgspec.json.decode(archive.read(_PURCHASES_MEMBER), type=tuple[Purchase, ...])
            groups = msgspec.json.decode(archive.read(_GROUPS_MEMBER), type=tuple[str, ...])
            slices = _slices(archive)
        with np.load(path, allow_pickle=False) as arrays:
            rows = Rows(
                ids=arrays["id"],
                values=arrays["X"],
                targets=arrays["y"],
                origins=arrays["origin"],
                groups=arrays["group"],
                slices=arrays["slice"] if slices else np.empty((len(arrays["id"]), 0), dtype=np.int64),
                times=arrays["time"],
            )
            splits = arrays["split"]
    except (*DAMAGED, msgspec.DecodeError) as error:
        raise DatasetError(f"{path.name} is no snapshot, or damaged: {error}; import the dataset again") from error
    if schema.format != FORMAT:
        raise DatasetError(f"snapshot format {schema.format}, this version reads {FORMAT}; import the dataset again")
    return SnapshotFile(schema=schema, rows=rows, splits=splits, purchases=purchases, groups=groups, slices=slices)


def read_groups(path: Path) -> frozenset[str]:
    """The groups and slices of a blob and the devices that rows were bought from, without reading a row.

    Raises:
        DatasetError: it is something else, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            schema = msgspec.json.decode(archive.read(_SCHEMA_MEMBER), type=Schema)
            groups = msgspec.json.decode(archive.read(_GROUPS_MEMBER), type=tuple[str, ...])
            slices = _slices(archive)
    except (*DAMAGED, msgspec.DecodeError) as error:
        raise DatasetError(f"{path.name} is no snapshot, or damaged: {error}; import the dataset again") from error
    return frozenset((*groups, *(name for names in slices for name in names), *schema.devices))


def _slices(archive: zipfile.ZipFile) -> tuple[tuple[str, ...], ...]:
    if _SLICES_MEMBER not in archive.namelist():
        return ()
    return msgspec.json.decode(archive.read(_SLICES_MEMBER), type=tuple[tuple[str, ...], ...])


def statistics_of(
    values: NDArray[np.float32], rows: NDArray[np.int64], *, clip: Clip | None = None
) -> tuple[ColumnStatistics, ...]:
    """Per column of some rows (indexes) of (n, columns); every column has a value somewhere.

    Of recordings per channel; where these are many, some of them, evenly over all.
    """
    if clip is None:
        return tuple(_statistics_of(values[rows, place]) for place in range(values.shape[1]))
    most = max(1, _CLIP_VALUES // values.shape[1])
    chosen = values[rows[:: -(-len(rows) // most)]]
    channels = values.shape[1] // clip.rows
    return tuple(_statistics_of(chosen[:, place::channels].reshape(-1)) for place in range(channels))


def _statistics_of(column: NDArray[np.float32]) -> ColumnStatistics:
    known = np.sort(column[~np.isnan(column)])
    wide = known.astype(np.float64)
    # Of a sorted column, without sorting it again.
    places = np.array(QUANTILES) * (len(known) - 1)
    return ColumnStatistics(
        minimum=float(known[0]),
        maximum=float(known[-1]),
        mean=float(wide.mean()),
        std=float(wide.std()),
        missing=len(column) - len(known),
        quantiles=tuple(np.interp(places, np.arange(len(wide)), wide).tolist()),
    )


def split_rows_of(splits: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Rows per split, in the order of `Split`."""
    train, validation, evaluation = (int((splits == split).sum()) for split in Split)
    return train, validation, evaluation


def export_rows(snapshot: SnapshotFile, split: Split) -> bytes:
    """The rows of one split without their labels, as npz; without moments in a seeded random order.

    Arrays: `id`, `X`, `columns`, and where rows have moments these under the name of their column (datetime64, UTC). Of
    recordings `X` is (rows, readings, columns), and `rate_hz` tells how many readings there are a second.
    """
    rows, schema = _exported(snapshot, split), snapshot.schema
    arrays: dict[str, NDArray[Any]] = {}
    if schema.rules is not None and schema.rules.time:
        arrays[schema.rules.time] = rows.times.astype("datetime64[ns]")
    # Behind the moments, whose column may be called anything.
    arrays |= {"id": rows.ids, "X": rows.values, "columns": np.array(schema.columns, dtype=np.str_)}
    if schema.clip:
        arrays["X"] = rows.values.reshape(len(rows), schema.clip.rows, len(schema.columns))
        arrays["rate_hz"] = np.array([schema.clip.rate_hz])
    return _archive(arrays)


def export_labels(snapshot: SnapshotFile, split: Split) -> bytes:
    """The labels of one split as CSV `id,label`; a classification's also with `index`, which a classifier answers."""
    rows = _exported(snapshot, split)
    if snapshot.schema.task is not Task.CLASSIFICATION:
        if snapshot.schema.task is Task.ANOMALY:
            rows = rows.only(rows.targets != UNLABELLED)
        lines = ["id,label", *(f"{one},{target}" for one, target in zip(rows.ids, rows.targets, strict=True))]
    else:
        names = snapshot.schema.classes
        lines = [f"{one},{_quoted(names[index])},{index}" for one, index in zip(rows.ids, rows.classes, strict=True)]
        lines.insert(0, "id,label,index")
    return ("\n".join(lines) + "\n").encode()


def _exported(snapshot: SnapshotFile, split: Split) -> Rows:
    """What has moments stays in order; in file order many other datasets are sorted by class, which no sensor is."""
    rows = snapshot.only(split)
    if snapshot.schema.rules is not None and snapshot.schema.rules.time:
        return rows
    return rows.only(np.random.default_rng(snapshot.schema.seed).permutation(len(rows)))


def _quoted(text: str) -> str:
    """One CSV field (RFC 4180 2.6, 2.7)."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _archive(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    _write_archive(buffer, arrays, extra={})
    return buffer.getvalue()


def _write_archive(file: BinaryIO, arrays: dict[str, NDArray[Any]], *, extra: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in extra.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            with archive.open(info, "w", force_zip64=array.nbytes > _ZIP64_FROM) as member:
                header = np.lib.format.header_data_from_array_1_0(np.empty((0,), array.dtype)) | {"shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                rows = max(1, _WRITTEN_BYTES * len(array) // max(1, array.nbytes))
                for start in range(0, len(array), rows):
                    member.write(np.ascontiguousarray(array[start : start + rows]).tobytes())
