"""Proposes rules for a file that was inspected: valid ones, to begin with and to be edited."""

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.data.inspection import ColumnFound, Inspection, Suspicion
from edgeops.data.layout import Header
from edgeops.data.rules import BadRows, ColumnRule, Kind, Rules

#: What a label is usually called.
_LABELS = ("label", "class", "target", "y")
#: What is not learnt from unless a person says so.
_USELESS = frozenset({Suspicion.EMPTY, Suspicion.CONSTANT, Suspicion.ID})


def inspected(header: Header) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that can be looked at side by side, and the arrays that are left out.

    These are of other rows, of none, or too wide for a table.
    """
    if not header.lengths:
        return tuple(column for columns in header.names.values() for column in columns), ()
    default = next((name for name in header.default if name in header.lengths), None)
    rows = header.lengths[default] if default else max(header.lengths.values())
    chosen = [
        name
        for name, parts in header.names.items()
        if header.lengths.get(name) == rows and len(parts) <= limits.MAX_DATASET_COLUMNS
    ]
    columns = tuple(column for name in chosen for column in header.names[name])
    return columns, tuple(name for name in header.names if name not in chosen)


def propose(found: Inspection, header: Header) -> Rules:
    """Rules that the file can be imported by; without what looks like a label, an anomaly detector's."""
    single = [one for one in found.columns if header.names.get(one.column) == (one.column,)]
    label = _label(single)
    times = [one for one in single if Suspicion.TIME in one.suspicions]
    time = times[0] if len(times) == 1 and times[0].ascending and not times[0].missing else None
    columns = {one.column: rule for one in single if one.column != label and (rule := _rule(one)) is not None}
    exclude = [one.column for one in single if one.column not in columns and _USELESS.intersection(one.suspicions)]
    odd = found.malformed or any(one.odd for one in found.columns)
    return Rules(
        task=Task.CLASSIFICATION if label else Task.ANOMALY,
        label=label,
        time=time.column if time else "",
        features=_features(found, header, label, {*columns, *exclude}),
        exclude=() if header.default else tuple(exclude),
        bad_rows=BadRows.QUARANTINE if odd else BadRows.ERROR,
        columns=columns,
    )


def _label(columns: list[ColumnFound]) -> str:
    likely = [one.column for one in columns if Suspicion.LABEL in one.suspicions]
    for name in _LABELS:
        for column in likely:
            if column.lower() == name:
                return column
    return likely[-1] if likely else ""


def _rule(one: ColumnFound) -> ColumnRule | None:
    """What a number that is learnt from does not need."""
    if Suspicion.EMPTY in one.suspicions:
        return None
    if Suspicion.TIME in one.suspicions:
        return ColumnRule(type=Kind.MOMENT, unit=one.unit)
    return ColumnRule(type=Kind.CATEGORY) if one.type is Kind.CATEGORY else None


def _features(found: Inspection, header: Header, label: str, others: set[str]) -> tuple[str, ...]:
    """Arrays to learn from, where the usual one is not there; empty = as nobody said anything."""
    if not header.default or all(name in header.names for name in header.default):
        return ()
    numbers = {one.column for one in found.columns if one.type is Kind.NUMBER}
    chosen = (name for name in header.names if name != label and name not in others)
    return tuple(name for name in chosen if numbers.issuperset(header.names[name]))
