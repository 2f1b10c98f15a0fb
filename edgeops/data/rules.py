"""The rules of a dataset: what is learnt from which columns, which rows are refused, how rows are split.

A TOML file of a person, decoded strictly; what is given on a command line is folded into it. Applying the rules is the
business of `cleaning` and `splits`.
"""

import math
import tomllib
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from edgeops.artifact.manifest import ClockPart, Task
from edgeops.data.paths import read_pattern
from edgeops.data.units import SAME, Linear, conversion
from edgeops.errors import ConfigError, DatasetError
from edgeops.model.clock import zone_named

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=4_096)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=4_096)]


class Kind(StrEnum):
    """What the cells of a column are."""

    #: Learnt from, as a 32-bit float.
    NUMBER = "number"
    #: A name: of a class, a group, or what rows are chosen by. A model has no input of this kind.
    CATEGORY = "category"
    #: ISO 8601, or a number of seconds (or of another unit) since 1970.
    MOMENT = "moment"


class Missing(StrEnum):
    """What becomes of a row with an empty cell."""

    #: The row stays, and the value is missing.
    KEEP = "keep"
    #: The row is refused.
    REFUSE = "refuse"


class Duplicates(StrEnum):
    """What becomes of a row that equals one before it."""

    #: Both stay.
    KEEP = "keep"
    #: The later one is refused.
    REFUSE = "refuse"


class BadRows(StrEnum):
    """What becomes of the whole when rows are refused."""

    #: Nothing is imported.
    ERROR = "error"
    #: The other rows are imported; the refused ones are kept apart, each with its reason.
    QUARANTINE = "quarantine"


class SplitBy(StrEnum):
    """What decides which rows are held out."""

    #: Chance, with a share of each class, or of each tenth of the numbers to be learnt.
    ROW = "row"
    #: Whole groups, such as devices or persons.
    GROUP = "group"
    #: The latest rows are held out; where groups are held out by name, the latest of the others stop the training.
    TIME = "time"


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds for one column."""

    type: Kind = Kind.NUMBER
    #: What it is learnt in; of a moment that is a number: s, ms, us or ns.
    unit: str = ""
    #: What the file has it in.
    from_unit: str = msgspec.field(default="", name="from")
    #: For units that are not known: learnt = multiply * read + add.
    multiply: float | None = None
    add: float | None = None
    #: Bounds of what is allowed, in `unit`.
    minimum: float | None = None
    maximum: float | None = None
    missing: Missing = Missing.KEEP
    #: Of a category; empty = any.
    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what says nothing or two things."""
        numbers = (self.multiply, self.add, self.minimum, self.maximum)
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError("multiply, add, minimum and maximum must be finite; leave out a bound that is not there")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"the minimum {self.minimum} is above the maximum {self.maximum}")
        if self.type is not Kind.NUMBER and (self.from_unit or numbers != (None,) * 4):
            raise ValueError(f"a {self.type} has no range and no conversion")
        if self.type is not Kind.CATEGORY and self.allowed:
            raise ValueError(f"allowed values are for a category, this is a {self.type}")
        if self.type is Kind.MOMENT and self.unit not in TICKS:
            raise ValueError(f"a moment is counted in {', '.join(TICKS)}, not {self.unit!r}")

    @property
    def conversion(self) -> Linear:
        """What makes a reading of a cell.

        Raises:
            DatasetError: there is no conversion between the two units.
        """
        if self.multiply is not None or self.add is not None:
            return Linear(1.0 if self.multiply is None else self.multiply, self.add or 0.0)
        return conversion(self.from_unit, self.unit) if self.from_unit else SAME


#: Nanoseconds of each unit that moments are counted in.
TICKS = {"": 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_ANY = ColumnRule()


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds for a dataset."""

    task: Task = Task.CLASSIFICATION
    #: Column or array that is to be learnt; an anomaly detector needs none.
    label: Annotated[str, msgspec.Meta(max_length=200)] = ""
    #: Of the label, where it is a number.
    units: Annotated[str, msgspec.Meta(max_length=40)] = ""
    #: Column that names the device, person or machine that a row is of.
    group: Annotated[str, msgspec.Meta(max_length=200)] = ""
    #: Further columns that name what a row is of, such as its site: what answers cost is told by each.
    slices: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=8)] = ()
    #: Column with the moment of a row; within a group, moments must go on.
    time: Annotated[str, msgspec.Meta(max_length=200)] = ""
    #: What is learnt of the moment of a row beside what was measured.
    clock: Annotated[tuple[ClockPart, ...], msgspec.Meta(max_length=len(ClockPart))] = ()
    #: Of the IANA database: whose hours and weekdays are meant, and where a moment without an offset was written down.
    zone: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "UTC"
    #: Columns or arrays to learn from; empty = all numbers that nothing else is said of (npz: `X`).
    features: _Names = ()
    exclude: _Names = ()
    #: The array that is learnt from holds a recording in each row, of so many readings a second; None = a reading.
    clip_hz: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] | None = None
    #: Conditions such as `batch=1,2`, which must all hold.
    where: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=20)] = ()
    duplicates: Duplicates = Duplicates.KEEP
    bad_rows: BadRows = BadRows.ERROR
    split: SplitBy = SplitBy.ROW
    #: Groups to hold out by name; empty = a share of them, by chance.
    held_out: _Names = ()
    #: Share of rows, or of groups, that is only judged on.
    hold_out: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.2
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    #: The rows are consecutive rows of one source, oldest first.
    in_time_order: bool = False
    #: Of a folder of files: a regular expression that is looked for in each path; its named parts are columns. Empty =
    #: `<class>/<file>` or `<class>/<group>/<file>`.
    pattern: Annotated[str, msgspec.Meta(max_length=200)] = ""
    #: Of recordings: how long each becomes, cut or padded with silence; None = as long as they are, which is the same.
    seconds: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)] | None = None
    #: Of pictures: (height, width) that all become; None = that of the files, which is the same.
    size: tuple[_Side, _Side] | None = None
    #: Pictures in colour become grey ones.
    grey: bool = False
    columns: Annotated[dict[_Name, ColumnRule], msgspec.Meta(max_length=4_096)] = {}

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if not self.label and self.task is not Task.ANOMALY:
            raise ValueError(
                f"{self.task} needs a label: name the column that is to be learnt, as --label or in the rules"
            )
        if self.split is SplitBy.GROUP and not self.group:
            raise ValueError("a split by group needs a group column")
        if self.split is SplitBy.TIME and not self.time:
            raise ValueError("a split by time needs a time column")
        if self.held_out and (self.split is SplitBy.ROW or not self.group):
            raise ValueError("groups are held out by name in a split by group or time, and need a group column")
        if (self.clock or self.zone != "UTC") and not self.time:
            raise ValueError("a clock, or a zone, needs a time column")
        if len(set(self.clock)) < len(self.clock):
            raise ValueError(f"the clock names a part twice: {', '.join(self.clock)}")
        try:
            zone_named(self.zone)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        roles = [name for name in (self.label, self.group, self.time, *self.slices) if name]
        if len(set(roles)) < len(roles):
            raise ValueError(
                f"label, group, time and slices are columns of their own, not {', '.join(map(repr, roles))}"
            )
        if self.pattern:
            read_pattern(self.pattern)

    def of(self, column: str) -> ColumnRule:
        """What holds for a column; nothing was said = any number, or none."""
        return self.columns.get(column, _ANY)


def read_rules(text: str, *, otherwise: str = "", **given: Any) -> Rules:
    """The rules of a TOML file with those that were given beside it, which come first.

    Args:
        text: the file; empty = only what is given.
        otherwise: the label of a classification where neither names one.
        given: fields of `Rules`; None = not given.

    Raises:
        DatasetError: it is no TOML, names an unknown field, or contradicts itself.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DatasetError(f"the rules are not TOML: {error}") from error
    except RecursionError as error:
        raise DatasetError("the rules are nested too deep") from error
    said |= {name: value for name, value in given.items() if value is not None}
    if otherwise and said.get("task", Task.CLASSIFICATION) == Task.CLASSIFICATION:
        said.setdefault("label", otherwise)
    try:
        return msgspec.convert(said, Rules)
    except msgspec.ValidationError as error:
        raise DatasetError(f"the rules are not understood: {_where(said, error)}") from error


def _where(said: dict[str, Any], error: msgspec.ValidationError) -> str:
    """What is wrong, and in which column: msgspec does not tell the key of a table."""
    columns = said.get("columns")
    for column, rule in columns.items() if isinstance(columns, dict) else ():
        try:
            msgspec.convert(rule, ColumnRule)
        except msgspec.ValidationError as own:
            return f"column {column!r}: {own}"
    return str(error)


def write_rules(rules: Rules) -> str:
    """The TOML of rules, without what is as nobody said anything; `read_rules` reads it back."""
    said = msgspec.to_builtins(rules)
    columns = said.pop("columns", {})
    lines = [f"{name} = {_toml(value)}" for name, value in said.items()]
    for column, rule in columns.items():
        lines += ["", f"[columns.{_toml(column)}]", *(f"{name} = {_toml(value)}" for name, value in rule.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value; TOML's basic strings are JSON's, but for DEL (TOML 1.0, String)."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
