"""Makes a snapshot of another one and of rows that were bought since: the set a healed model learns from.

Bought rows train: validation and evaluation rows stay those that were imported. The fresh ones that people labelled
also judge, out of fold; what a device says of itself judges nothing, nor what was chosen because two models disagreed.
Which labels count is decided elsewhere; here a device that is left out is left out with every row that ever came
from it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.data.cells import NO_MOMENT, NO_NAME
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from edgeops.learning.labels import LabelSource
from edgeops.protocol.messages import Digest, Id
from fleet_server.datasets.snapshot import (
    IMPORTED,
    Purchase,
    Rows,
    SnapshotFile,
    split_rows_of,
    statistics_of,
)


class Bought(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One labelled sample."""

    sample: str
    device: Id
    label: str
    source: LabelSource
    #: Raw readings, float32 little-endian, one per column; empty = those that the snapshot before has.
    values: bytes = b""
    #: Two models disagreed on it, and therefore it was chosen.
    disputed: bool = False

    @property
    def may_judge(self) -> bool:
        """Whether it says something of a model that is judged on it."""
        return self.source is not LabelSource.FEEDBACK and not self.disputed


@dataclass(frozen=True, slots=True)
class _Row:
    purchase: Purchase
    values: NDArray[np.float32]
    label: int


def extend(
    parent: SnapshotFile, bought: Iterable[Bought], *, parent_digest: Digest, without: Collection[str] = ()
) -> SnapshotFile:
    """The parent's imported rows, and the bought ones: those that it had, what devices said since, and the fresh ones.

    Args:
        parent: what is extended.
        bought: every sample whose label counts now, in any order. A bought row of the parent that is not among them
            is gone, one whose label was corrected takes the new label.
        parent_digest: names the parent.
        without: devices left out with all their rows; who was left out of the parent stays out.

    Raises:
        DatasetError: a sample has other columns than the snapshot, a label outside its classes, or no readings.
    """
    without = tuple(sorted({*parent.schema.without, *without}))
    known = _readings(parent)
    counting = sorted(
        (one for one in bought if one.device not in without),
        # By what is in it: its id follows from the random name of a spool, and the order decides what is learnt.
        key=lambda one: (one.device, _content(one, known), one.sample),
    )
    old = [one for one in counting if one.sample in known]
    new = [one for one in counting if one.sample not in known]
    told = [one for one in new if not one.may_judge]
    fresh = [one for one in new if one.may_judge]
    rows = [_row(one, parent, known.get(one.sample)) for one in old + told + fresh]
    return _snapshot(parent, rows, parent_digest=parent_digest, without=without, fresh=len(fresh))


def _readings(parent: SnapshotFile) -> dict[str, NDArray[np.float32]]:
    """Of each bought row, by sample."""
    rows = parent.rows.only(parent.rows.origins != IMPORTED)
    return {parent.purchases[-1 - one].sample: values for one, values in zip(rows.ids, rows.values, strict=True)}


def _content(one: Bought, known: Mapping[str, NDArray[np.float32]]) -> bytes:
    return known[one.sample].astype("<f4").tobytes() if one.sample in known else one.values


def _row(one: Bought, parent: SnapshotFile, known: NDArray[np.float32] | None) -> _Row:
    schema = parent.schema
    if one.label not in schema.classes:
        raise DatasetError(
            f"sample {one.sample} is labelled {one.label[:80]!r}, which is none of the classes of this dataset: "
            f"{', '.join(schema.classes[:20])}; correct the label"
        )
    purchase = Purchase(sample=one.sample, device=one.device, source=one.source)
    return _Row(purchase, _values(one, parent) if known is None else known, schema.classes.index(one.label))


def _values(one: Bought, parent: SnapshotFile) -> NDArray[np.float32]:
    width = parent.rows.values.shape[1]
    if len(one.values) != 4 * width:
        raise DatasetError(
            f"sample {one.sample} has {len(one.values)} bytes of readings, a row of this dataset has {width} values "
            "of 4 bytes; leave out its device"
        )
    values = np.frombuffer(one.values, "<f4").astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _snapshot(
    parent: SnapshotFile, bought: Sequence[_Row], *, parent_digest: Digest, without: tuple[str, ...], fresh: int
) -> SnapshotFile:
    imported = parent.rows.origins == IMPORTED
    devices = tuple(sorted({row.purchase.device for row in bought}))
    old = parent.rows.only(imported)
    rows = Rows(
        ids=np.concatenate([old.ids, -1 - np.arange(len(bought), dtype=np.int64)]),
        values=np.concatenate([old.values, *(row.values[np.newaxis] for row in bought)]),
        targets=np.concatenate([old.classes, np.array([row.label for row in bought], dtype=np.int64)]),
        origins=np.concatenate(
            [old.origins, np.array([devices.index(row.purchase.device) for row in bought], dtype=np.int64)]
        ),
        groups=np.concatenate([old.groups, np.full(len(bought), NO_NAME, dtype=np.int64)]),
        slices=np.concatenate([old.slices, np.full((len(bought), len(parent.slices)), NO_NAME, dtype=np.int64)]),
        times=np.concatenate([old.times, np.full(len(bought), NO_MOMENT, dtype=np.int64)]),
    )
    splits = np.concatenate([parent.splits[imported], np.full(len(bought), Split.TRAIN, dtype=np.uint8)])
    schema = msgspec.structs.replace(
        parent.schema,
        rows=len(rows),
        split_rows=split_rows_of(splits),
        class_rows=tuple(int(count) for count in np.bincount(rows.classes, minlength=len(parent.schema.classes))),
        statistics=statistics_of(rows.values, np.flatnonzero(splits == Split.TRAIN), clip=parent.schema.clip),
        parent=parent_digest,
        devices=devices,
        without=without,
        bought_rows=len(bought),
        fresh_rows=fresh,
    )
    purchases = tuple(row.purchase for row in bought)
    return SnapshotFile(
        schema=schema, rows=rows, splits=splits, purchases=purchases, groups=parent.groups, slices=parent.slices
    )
