"""Which columns of a file play which part under some rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeops import limits
from edgeops.data.conditions import Condition, parse_conditions
from edgeops.data.rules import TICKS, ColumnRule, Kind, Rules
from edgeops.errors import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file has, before a row is read."""

    #: How its owner calls the file.
    file_name: str
    #: What people may name, and the columns that each stands for: itself, or those of an array.
    names: Mapping[str, tuple[str, ...]]
    #: Shape of one row of an array; a name that is absent is one column.
    shapes: Mapping[str, tuple[int, ...]]
    #: What a name names: `column` or `array`.
    what: str = "column"
    #: What is learnt from when nothing was said; empty = all that is left.
    default: tuple[str, ...] = ()
    #: Rows of each array that can be read; empty = all names are of the same rows.
    lengths: Mapping[str, int] = field(default_factory=dict)

    def require(self, *names: str, what: str | None = None) -> None:
        """Refuse names that the file does not have.

        Raises:
            DatasetError: names the file, the absent name and what there is.
        """
        present = tuple(self.names)
        for name in names:
            if name not in self.names:
                shown = ", ".join(present[:20]) + (f" ... ({len(present)} in all)" if len(present) > 20 else "")
                raise DatasetError(f"{self.file_name}: no {what or self.what} {name!r}; there are: {shown}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The part of each column."""

    rules: Rules
    #: Learnt from, in order, and the rule of each.
    features: tuple[str, ...]
    feature_rules: tuple[ColumnRule, ...]
    #: Shape of one row: (features,), or that of an image.
    shape: tuple[int, ...]
    conditions: tuple[Condition, ...]
    #: Checked, but not learnt from.
    watched: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are read, the label first."""
        rules = self.rules
        chosen = (condition.column for condition in self.conditions)
        named = (rules.label, *chosen, rules.group, rules.time, *self.features, *self.watched)
        return tuple(dict.fromkeys(column for column in named if column))

    @property
    def time_tick(self) -> int:
        """Nanoseconds of one, where moments are numbers."""
        return TICKS[self.rules.of(self.rules.time).unit]


def lay_out(rules: Rules, header: Header) -> Layout:
    """Find the columns that the rules name.

    Raises:
        DatasetError: one is not there, plays two parts, or cannot be learnt from.
    """
    conditions = parse_conditions(rules.where)
    filtered = tuple(condition.column for condition in conditions)
    header.require(*filter(None, (rules.label,)), what=f"label {header.what}")
    header.require(*rules.features, *rules.exclude, *filtered, *filter(None, (rules.group, rules.time)))
    for name in filter(None, (rules.label, rules.group, rules.time, *filtered)):
        if header.names[name] != (name,):
            raise DatasetError(
                f"{header.file_name}: {header.what} {name!r} has {len(header.names[name])} values per row, not one"
            )
    known = {*header.names, *(column for columns in header.names.values() for column in columns)}
    for column in rules.columns:
        if column not in known:
            header.require(column)
    names = _learnt(rules, header, filtered)
    features = tuple(column for name in names for column in header.names[name])
    if not 0 < len(features) <= limits.MAX_DATASET_COLUMNS:
        beside = f" beside the label {rules.label!r}" if rules.label else ""
        raise DatasetError(
            f"{header.file_name}: no column is left to learn from{beside}"
            if not features
            else f"{header.file_name}: {len(features)} columns, the most is {limits.MAX_DATASET_COLUMNS}"
        )
    found = {column: rules.columns.get(column, rules.of(name)) for name in names for column in header.names[name]}
    for rule in {id(rule): rule for rule in (*rules.columns.values(), *found.values())}.values():
        rule.conversion  # noqa: B018 - raises where there is none, before a row is read
    return Layout(
        rules=rules,
        features=features,
        feature_rules=tuple(found.values()),
        shape=header.shapes.get(names[0], (1,)) if len(names) == 1 else (len(features),),
        conditions=conditions,
        watched=tuple(
            column
            for column, rule in rules.columns.items()
            if column not in (*features, rules.label, rules.group, rules.time) and column in header.names
            if rule.type is Kind.CATEGORY
        ),
    )


def _learnt(rules: Rules, header: Header, filtered: tuple[str, ...]) -> tuple[str, ...]:
    """The names that stand for what is learnt from."""
    if rules.features:
        if rules.label in rules.features:
            raise DatasetError(f"{header.file_name}: {rules.label!r} is both label and feature; choose")
        for name in rules.features:
            if rules.of(name).type is not Kind.NUMBER:
                raise DatasetError(
                    f"{header.file_name}: {header.what} {name!r} is a {rules.of(name).type}, and a model reads "
                    "numbers; write it as numbers, or leave it out of the features"
                )
        return tuple(name for name in rules.features if name not in rules.exclude)
    header.require(*header.default)
    # A column that rows were chosen by is a key, not a measurement, unless it is asked for by name.
    left_out = {rules.label, rules.group, rules.time, *rules.exclude, *filtered}
    chosen = header.default or tuple(name for name in header.names if rules.of(name).type is Kind.NUMBER)
    return tuple(name for name in chosen if name not in left_out)
