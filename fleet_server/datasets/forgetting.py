"""Makes a snapshot of another one without all rows of a group, and its quarantine without what that refused of it.

A group is what the group column of the imported file names (a device, a person), or one of its columns of slices, or
a device that rows were bought from. The other rows stay in the part that they were in. Which snapshots and models know
the group is not decided here.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.data.cells import NO_NAME
from edgeops.data.conditions import Condition
from edgeops.data.leaks import find_leaks
from edgeops.data.reasons import Reason, Refusal
from edgeops.data.rules import Rules
from edgeops.data.schema import Schema
from edgeops.data.seen import fingerprints
from edgeops.data.splits import Split
from edgeops.digest import digest_file
from edgeops.errors import DatasetError
from edgeops.protocol.messages import Id
from fleet_server.datasets.quarantine import Quarantine
from fleet_server.datasets.snapshot import (
    IMPORTED,
    Rows,
    SnapshotFile,
    read_snapshot,
    split_rows_of,
    statistics_of,
    write_snapshot,
)

_PARTS = {Split.TRAIN: "trains", Split.VALIDATION: "stops the training", Split.EVALUATION: "judges"}


def forget_group(parent: Path, group: str, *, quarantine: Path | None, folder: Path) -> Schema:
    """Write `snapshot.npz` and, if anything that was refused is left, `refused.jsonl.gz` into a folder.

    Args:
        parent: the snapshot that knows the group.
        group: its name.
        quarantine: what was refused when the parent was imported; None = nothing.
        folder: where the two files go.

    Raises:
        DatasetError: what is left cannot be learnt from.
    """
    known = read_snapshot(parent)
    left = without_group(known, group)
    rules = known.schema.rules
    columns = () if rules is None else (rules.group, *rules.slices)
    if quarantine is not None:
        refused = folder / "refused.jsonl.gz"
        with Quarantine(refused) as kept:
            for refusal, row in _refused(quarantine):
                if not any(_is_of(row, column, group) for column in columns):
                    kept.keep(refusal, row)
        counts = dict(sorted(kept.counts.items()))
        left = left.with_schema(refused=counts, quarantine=digest_file(refused) if counts else None)
    write_snapshot(left, folder / "snapshot.npz")
    return left.schema


def without_group(parent: SnapshotFile, group: str) -> SnapshotFile:
    """The rows of all other groups, and of devices of other names.

    Raises:
        DatasetError: no row is left for a part, no training row for a class, or no value for a column.
    """
    schema = parent.schema
    kept = ~(_are(parent.rows.groups, parent.groups, group) | _are(parent.rows.origins, schema.devices, group))
    for place, names in enumerate(parent.slices):
        kept &= ~_are(parent.rows.slices[:, place], names, group)
    rows, splits = parent.rows.only(kept), parent.splits[kept]
    bought = rows.origins != IMPORTED
    purchases = tuple(parent.purchases[-1 - one] for one in rows.ids[bought])
    rows = Rows(
        ids=np.where(bought, -np.cumsum(bought), rows.ids),
        values=rows.values,
        targets=rows.targets,
        origins=_renumbered(rows.origins, schema.devices, group),
        groups=_renumbered(rows.groups, parent.groups, group),
        slices=_slices(rows.slices, parent.slices, group),
        times=rows.times,
    )
    train = np.flatnonzero(splits == Split.TRAIN)
    _refuse_unlearnable(schema, rows, splits, group)
    leaks = find_leaks(splits, fingerprints(rows.values), groups=rows.groups, times=rows.times)
    groups = _without(parent.groups, group)
    told = tuple(one for one in schema.warnings if one not in schema.leaks.words)
    left = msgspec.structs.replace(
        schema,
        rows=len(rows),
        split_rows=split_rows_of(splits),
        class_rows=tuple(np.bincount(rows.classes, minlength=len(schema.classes)).tolist()) if schema.classes else (),
        statistics=statistics_of(rows.values, train, clip=schema.clip),
        rules=_rules(schema.rules, group),
        groups=len(groups),
        leaks=leaks,
        warnings=(*told, *leaks.words),
        devices=_without(schema.devices, group),
        # What descends from it buys nothing more from a device of this name.
        without=tuple(sorted({*schema.without, *_device(group)})),
        bought_rows=int(bought.sum()),
        # The last rows are the fresh ones.
        fresh_rows=int(kept[len(kept) - schema.fresh_rows :].sum()),
    )
    slices = tuple(_without(names, group) for names in parent.slices)
    return SnapshotFile(schema=left, rows=rows, splits=splits, purchases=purchases, groups=groups, slices=slices)


def _are(places: NDArray[np.int64], names: tuple[str, ...], group: str) -> NDArray[np.bool_]:
    return places == names.index(group) if group in names else np.zeros(len(places), dtype=bool)


def _without(names: tuple[str, ...], group: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != group)


def _renumbered(places: NDArray[np.int64], names: tuple[str, ...], group: str) -> NDArray[np.int64]:
    """Places among the names that are left; what is of no name (-1) stays so."""
    assert NO_NAME == IMPORTED == -1, "both are what a subtraction must not touch"
    return places - (places > names.index(group)) if group in names else places


def _slices(places: NDArray[np.int64], names: tuple[tuple[str, ...], ...], group: str) -> NDArray[np.int64]:
    left = places.copy()
    for place, known in enumerate(names):
        left[:, place] = _renumbered(places[:, place], known, group)
    return left


def _device(group: str) -> tuple[Id, ...]:
    """The group as a device, if one may be called so."""
    try:
        return (msgspec.convert(group, Id),)
    except msgspec.ValidationError:
        return ()


def _rules(rules: Rules | None, group: str) -> Rules | None:
    return None if rules is None else msgspec.structs.replace(rules, held_out=_without(rules.held_out, group))


def _refuse_unlearnable(schema: Schema, rows: Rows, splits: NDArray[np.uint8], group: str) -> None:
    hint = "import the dataset again without it, with other groups held out"
    for split in Split:
        if not (splits == split).any():
            raise DatasetError(f"without {group!r} no row is left that {_PARTS[split]}; {hint}")
    train = splits == Split.TRAIN
    for place, name in enumerate(schema.classes):
        if not (rows.classes[train] == place).any():
            raise DatasetError(f"without {group!r} no training row is of class {name!r}; {hint}")
    for place, column in enumerate(schema.columns):
        if np.isnan(rows.values[train, place]).all():
            raise DatasetError(f"without {group!r} no training row has a value in column {column!r}; {hint}")


def _refused(quarantine: Path) -> Iterator[tuple[Refusal, Any]]:
    with gzip.open(quarantine) as lines:
        for line in lines:
            told = msgspec.json.decode(line)
            column, reason = told["column"] or "", Reason(told["reason"])
            yield Refusal(line=told["line"], reason=reason, column=column, value=told["value"]), told["row"]


def _is_of(row: Any, column: str, group: str) -> bool:
    """Whether a refused row is, or may be, of a group; of one that has no columns any mention of it counts."""
    if not isinstance(row, dict):
        return group in str(row)
    return Condition(column, (group,)).accepts(str(row.get(column, "")).strip())
