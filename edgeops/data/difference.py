"""Tells how two snapshots differ: rows, columns, classes, what the training rows say of each column, and the rules."""

from typing import Any

import msgspec

from edgeops.data.schema import ColumnStatistics, Schema

#: A mean that moved by less, or a spread by a smaller factor, is not told.
_SHIFT_STD = 0.1
_SPREAD = 1.1


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A column whose training rows changed."""

    column: str
    #: By how much the mean went up, in standard deviations of the old rows; None = the old rows had one value.
    shift_std: float | None
    #: New standard deviation over the old one; None = as above.
    spread: float | None
    #: Missing values, old and new, as a share of the training rows.
    missing: tuple[float, float]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """From an old snapshot to a new one; what is empty did not change."""

    #: Old and new.
    rows: tuple[int, int]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    #: Rows by class, old and new, of each class that has more or fewer.
    classes: dict[str, tuple[int, int]]
    #: Those that moved most come first.
    moved: tuple[Moved, ...]
    #: By rule, old and new, where one is as if nothing was said it is null.
    rules: dict[str, tuple[Any, Any]]


def difference(old: Schema, new: Schema) -> Difference:
    """Compare two snapshots by what they say of themselves."""
    before, after = (dict(zip(one.columns, one.statistics, strict=True)) for one in (old, new))
    moved = [
        found
        for column in old.columns
        if column in after and (found := _moved(column, before[column], after[column], old, new)) is not None
    ]
    return Difference(
        rows=(old.rows, new.rows),
        columns_added=tuple(column for column in new.columns if column not in before),
        columns_removed=tuple(column for column in old.columns if column not in after),
        classes=_changed(_class_rows(old), _class_rows(new), absent=0),
        moved=tuple(sorted(moved, key=_size, reverse=True)),
        rules=_changed(_said(old), _said(new), absent=None),
    )


def _moved(column: str, before: ColumnStatistics, after: ColumnStatistics, old: Schema, new: Schema) -> Moved | None:
    shift = (after.mean - before.mean) / before.std if before.std > 0 else None
    spread = after.std / before.std if before.std > 0 else None
    missing = before.missing / max(1, old.split_rows[0]), after.missing / max(1, new.split_rows[0])
    if shift is None or spread is None:
        same = (before.mean, before.std) == (after.mean, after.std)
    else:
        same = abs(shift) < _SHIFT_STD and 1 / _SPREAD < spread < _SPREAD
    if same and missing[0] == missing[1]:
        return None
    return Moved(column=column, shift_std=shift, spread=spread, missing=missing)


def _size(moved: Moved) -> float:
    return float("inf") if moved.shift_std is None else abs(moved.shift_std)


def _class_rows(schema: Schema) -> dict[str, int]:
    return dict(zip(schema.classes, schema.class_rows, strict=True))


def _said(schema: Schema) -> dict[str, Any]:
    """What the rules say, one entry for each column as well."""
    said: dict[str, Any] = {} if schema.rules is None else msgspec.to_builtins(schema.rules)
    columns = said.pop("columns", {})
    return said | {f"columns.{column}": rule for column, rule in columns.items()}


def _changed(old: dict[str, Any], new: dict[str, Any], *, absent: Any) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (old.get(name, absent), new.get(name, absent)) for name in (*old, *new)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
