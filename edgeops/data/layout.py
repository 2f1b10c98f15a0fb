"""Which columns of a file play which part under some rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeops import limits
from edgeops.data.clip import Clip, clip_of
from edgeops.data.conditions import Condition, parse_conditions
from edgeops.data.rules import TICKS, ColumnRule, Kind, Rules
from edgeops.errors import DatasetError
from edgeops.model.clock import ClockColumns


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
    #: Of recordings: how many readings a second they have, where the file tells; what the rules say of it is done.
    clip_hz: float | None = None
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
    #: What the moment of a row gives beside them; None = nothing.
    clock: ClockColumns | None
    #: Shape of one row: (inputs,), or that of an image.
    shape: tuple[int, ...]
    #: What a row is, if a recording, and the array whose cells are recordings.
    clip: Clip | None
    clips: str
    conditions: tuple[Condition, ...]
    #: Checked, but not learnt from.
    watched: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of a row that is kept: what is learnt from, those of the clock last."""
        return self.features if self.clock is None else (*self.features, *self.clock.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are read, the label first."""
        rules = self.rules
        chosen = (condition.column for condition in self.conditions)
        learnt = (self.clips,) if self.clip else self.features
        named = (rules.label, *chosen, rules.group, *rules.slices, rules.time, *learnt, *self.watched)
        return tuple(dict.fromkeys(column for column in named if column))

    @property
    def width(self) -> int:
        """Values of a row that are learnt from."""
        return len(self.inputs) * (self.clip.rows if self.clip else 1)

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
    header.require(*rules.features, *rules.exclude, *filtered, *rules.slices, *filter(None, (rules.group, rules.time)))
    for name in filter(None, (rules.label, rules.group, rules.time, *rules.slices, *filtered)):
        if header.names[name] != (name,):
            raise DatasetError(
                f"{header.file_name}: {header.what} {name!r} has {len(header.names[name])} values per row, not one"
            )
    known = {*header.names, *(column for columns in header.names.values() for column in columns)}
    for column in rules.columns:
        if column not in known:
            header.require(column)
    names = _learnt(rules, header, filtered)
    clip = None
    features = tuple(column for name in names for column in header.names[name])
    found = {column: rules.columns.get(column, rules.of(name)) for name in names for column in header.names[name]}
    rate_hz = rules.clip_hz if header.clip_hz is None else header.clip_hz
    if rate_hz is not None:
        clip, features = _clip(header, names, rate_hz=rate_hz)
        found = {names[0]: rules.of(names[0])}
    if not 0 < len(features) <= limits.MAX_DATASET_COLUMNS:
        beside = f" beside the label {rules.label!r}" if rules.label else ""
        raise DatasetError(
            f"{header.file_name}: no column is left to learn from{beside}"
            if not features
            else f"{header.file_name}: {len(features)} columns, the most is {limits.MAX_DATASET_COLUMNS}; "
            "of recordings say how many readings they have a second, with clip_hz"
        )
    clock = ClockColumns(rules.clock, zone=rules.zone) if rules.clock else None
    shape = header.shapes.get(names[0], (1,)) if len(names) == 1 and clip is None else (len(features),)
    if clock is not None:
        if clip is not None or len(shape) > 1:
            what = "recordings" if clip else f"rows of shape {shape}"
            raise DatasetError(f"{header.file_name}: {what} have no place for the hour; leave out the clock")
        shape = _with_clock(clock, features, header)
    _refuse_conversions(rules, header)
    return Layout(
        rules=rules,
        features=features,
        feature_rules=tuple(found.values()),
        clock=clock,
        shape=shape,
        clip=clip,
        clips=names[0] if clip else "",
        conditions=conditions,
        watched=tuple(
            column
            for column, rule in rules.columns.items()
            if column not in (*features, rules.label, rules.group, rules.time, *rules.slices)
            if column in header.names
            if rule.type is Kind.CATEGORY
        ),
    )


def _refuse_conversions(rules: Rules, header: Header) -> None:
    """Refuse units between which there is none, before a row is read."""
    for column, rule in rules.columns.items():
        try:
            rule.conversion  # noqa: B018 - raises where there is none
        except DatasetError as error:
            raise DatasetError(f"{header.file_name}, column {column!r}: {error}") from error


def _with_clock(clock: ClockColumns, features: tuple[str, ...], header: Header) -> tuple[int, ...]:
    """The shape of a row with the columns of the clock."""
    for name in clock.names:
        if name in features:
            raise DatasetError(
                f"{header.file_name}: column {name!r} is called as what the clock gives; exclude it, or rename it"
            )
    return (len(features) + len(clock.names),)


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
    left_out = {rules.label, rules.group, rules.time, *rules.slices, *rules.exclude, *filtered}
    chosen = header.default or tuple(name for name in header.names if rules.of(name).type is Kind.NUMBER)
    return tuple(name for name in chosen if name not in left_out)


def _clip(header: Header, names: tuple[str, ...], *, rate_hz: float) -> tuple[Clip, tuple[str, ...]]:
    """What the recordings of the one array are that is learnt from."""
    arrays = [name for name in names if name in header.shapes]
    if len(names) != 1 or not arrays:
        raise DatasetError(
            f"{header.file_name}: clips are the rows of one array, and there is "
            f"{', '.join(names[:8]) or 'none'} to learn from; name it with features, or leave out clip_hz"
        )
    return clip_of(header.shapes[arrays[0]], rate_hz=rate_hz, where=f"{header.file_name}: {header.what} {arrays[0]!r}")
