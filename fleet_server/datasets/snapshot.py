"""The immutable form of a dataset: rows, what is to be learnt of each, splits and a schema in one named blob.

Rows were imported from a file, or bought: nominated by a device and labelled, which `purchases` tells of each. The
blob is an npz archive written so that the same content gives the same bytes (fixed dates, no compression).
`numpy.load` opens it. What the rows mean to a model, and which rows are bought, is not decided here.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Task
from edgeops.errors import DatasetError
from edgeops.learning.labels import LabelSource
from edgeops.npz import DAMAGED
from edgeops.protocol.messages import Digest, Id
from fleet_server.datasets.splits import Split

FORMAT = 2
#: The origin of a row that came from a file.
IMPORTED = -1
_SCHEMA_MEMBER = "schema.json"
_PURCHASES_MEMBER = "purchases.json"
#: The oldest date a zip can hold.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class ColumnStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the training rows say about one column; missing values do not count."""

    minimum: float
    maximum: float
    mean: float
    std: float
    missing: int


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bought row and its label came from."""

    sample: str
    device: Id
    source: LabelSource


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds and how it came about."""

    format: int
    task: Task
    label: str
    #: Of what is to be learnt, where that is a number.
    units: str
    columns: tuple[str, ...]
    #: Shape of one row: (columns,), or (height, width[, channels]) of an image.
    shape: tuple[int, ...]
    #: Names of the classes; empty unless the task is classification.
    classes: tuple[str, ...]
    rows: int
    #: Rows per split, and per class over all splits, in the order of `Split` and `classes`.
    split_rows: tuple[int, int, int]
    class_rows: tuple[int, ...]
    statistics: tuple[ColumnStatistics, ...]
    #: The imported file, and how rows were chosen.
    source: Digest
    where: tuple[str, ...]
    hold_out: float
    seed: int
    #: Whether the file's rows are consecutive rows of one source, oldest first.
    ordered: bool = False
    #: The snapshot that this one extends.
    parent: Digest | None = None
    #: Devices that rows were bought from: what `origin` points into.
    devices: tuple[Id, ...] = ()
    #: Devices left out, with all that descends from them.
    without: tuple[Id, ...] = ()
    #: Bought rows, and how many of them people labelled and the parent did not have; these are the last rows.
    bought_rows: int = 0
    fresh_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of a snapshot: imported ones in the order of their file, then bought ones."""

    #: Row number in that file, int64 (rows,); of bought rows -1 - place among the purchases.
    ids: NDArray[np.int64]
    #: float32 (rows, columns); NaN = missing.
    values: NDArray[np.float32]
    #: What is to be learnt of each, (rows,): class indexes, int64, or of a regression numbers, float32.
    targets: NDArray[Any]
    #: Which of the schema's devices the row was bought from, int64 (rows,); IMPORTED = none.
    origins: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class indexes, int64 (rows,), where the task is classification."""
        assert self.targets.dtype == np.int64, f"targets of type {self.targets.dtype} are no classes"
        return self.targets

    def only(self, rows: NDArray[Any]) -> "Rows":
        """Some of them: a mask or indexes."""
        return Rows(
            ids=self.ids[rows], values=self.values[rows], targets=self.targets[rows], origins=self.origins[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    """A whole snapshot in memory."""

    schema: Schema
    rows: Rows
    splits: NDArray[np.uint8]
    purchases: tuple[Purchase, ...] = ()

    def only(self, split: Split) -> Rows:
        """The rows of one split."""
        return self.rows.only(self.splits == split)


def encode_snapshot(snapshot: SnapshotFile) -> bytes:
    """The blob: the same content gives the same bytes."""
    rows = snapshot.rows
    return _archive(
        {"id": rows.ids, "X": rows.values, "y": rows.targets, "origin": rows.origins, "split": snapshot.splits},
        extra={
            _SCHEMA_MEMBER: msgspec.json.encode(snapshot.schema, order="sorted"),
            _PURCHASES_MEMBER: msgspec.json.encode(snapshot.purchases, order="sorted"),
        },
    )


def read_snapshot(path: Path) -> SnapshotFile:
    """Read a blob that `encode_snapshot` wrote.

    Raises:
        DatasetError: it is something else, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            schema = msgspec.json.decode(archive.read(_SCHEMA_MEMBER), type=Schema)
            purchases = msgspec.json.decode(archive.read(_PURCHASES_MEMBER), type=tuple[Purchase, ...])
        with np.load(path, allow_pickle=False) as arrays:
            rows = Rows(ids=arrays["id"], values=arrays["X"], targets=arrays["y"], origins=arrays["origin"])
            splits = arrays["split"]
    except (*DAMAGED, msgspec.DecodeError) as error:
        raise DatasetError(f"{path.name} is no snapshot, or damaged: {error}; import the dataset again") from error
    if schema.format != FORMAT:
        raise DatasetError(f"snapshot format {schema.format}, this version reads {FORMAT}; import the dataset again")
    return SnapshotFile(schema=schema, rows=rows, splits=splits, purchases=purchases)


def statistics_of(values: NDArray[np.float32]) -> tuple[ColumnStatistics, ...]:
    """Per column of training rows (n, columns); every column has a value somewhere."""
    wide = values.astype(np.float64)
    low, high = np.nanmin(wide, axis=0), np.nanmax(wide, axis=0)
    mean, std = np.nanmean(wide, axis=0), np.nanstd(wide, axis=0)
    missing = np.isnan(wide).sum(axis=0)
    return tuple(
        ColumnStatistics(
            minimum=float(low[place]),
            maximum=float(high[place]),
            mean=float(mean[place]),
            std=float(std[place]),
            missing=int(missing[place]),
        )
        for place in range(wide.shape[1])
    )


def split_rows_of(splits: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Rows per split, in the order of `Split`."""
    train, validation, evaluation = (int((splits == split).sum()) for split in Split)
    return train, validation, evaluation


def export_rows(snapshot: SnapshotFile, split: Split) -> bytes:
    """The rows of one split without their labels, as npz: `id`, `X`, `columns`; in a seeded random order."""
    rows = _shuffled(snapshot, split)
    columns = np.array(snapshot.schema.columns, dtype=np.str_)
    return _archive({"id": rows.ids, "X": rows.values, "columns": columns})


def export_labels(snapshot: SnapshotFile, split: Split) -> bytes:
    """The labels of one split as CSV `id,label,index`; index is what a classifier answers."""
    rows = _shuffled(snapshot, split)
    names = snapshot.schema.classes
    lines = [f"{one},{_quoted(names[index])},{index}" for one, index in zip(rows.ids, rows.classes, strict=True)]
    return ("\n".join(["id,label,index", *lines]) + "\n").encode()


def _shuffled(snapshot: SnapshotFile, split: Split) -> Rows:
    """In file order many datasets are sorted by class, which no sensor is."""
    rows = snapshot.only(split)
    return rows.only(np.random.default_rng(snapshot.schema.seed).permutation(len(rows)))


def _quoted(text: str) -> str:
    """One CSV field (RFC 4180 2.6, 2.7)."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _archive(arrays: dict[str, NDArray[Any]], *, extra: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (extra or {}).items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE), member.getvalue())
    return buffer.getvalue()
