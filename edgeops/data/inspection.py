"""Finds out what a file holds, batch by batch in one pass: the kind of each column, its range, what is odd about it.

A guess for a person to edit: nothing is refused here. What rules follow from it is the business of `proposal`.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import NO_MOMENT, NO_NAME, Batch, Cells
from edgeops.data.distinct import Distinct
from edgeops.data.folder_inspection import FolderFound
from edgeops.data.rules import TICKS, Kind
from edgeops.data.seen import Fingerprints, fingerprints

#: A column is of a kind if at most this share of its cells is not.
_ODD_SHARE = 0.2
#: So few different values look like classes, if each has so many rows on average.
_MOST_CLASSES = 20
_ROWS_PER_CLASS = 3
#: All different by chance is no sign of an id below this.
_FEWEST_IDS = 10
#: Numbers within these moments count time since 1970.
_EARLIEST_S = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_LATEST_S = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 40


class Suspicion(StrEnum):
    """What a person should look at before they learn from a column."""

    #: No cell has a value.
    EMPTY = "empty"
    #: All cells have the same value.
    CONSTANT = "constant"
    #: Whole numbers, no two alike: they name rows and measure nothing.
    ID = "id"
    #: Few different values: classes, a mode, a device.
    LABEL = "label"
    #: Moments, or numbers that count time since 1970.
    TIME = "time"


class Odd(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that is not of the kind of its column."""

    #: The line or row number in its file.
    line: int
    value: str


class ColumnFound(msgspec.Struct, frozen=True, kw_only=True):
    """What one column holds."""

    column: str
    type: Kind
    rows: int
    missing: int
    #: Different values; `distinct.MOST` = so many or more.
    distinct: int
    #: Of numbers, and of moments (RFC 3339); None of categories, and where there is no value.
    minimum: float | str | None = None
    maximum: float | str | None = None
    #: Cells that are not of the type, and the first of them.
    odd: int = 0
    example: Odd | None = None
    suspicions: tuple[Suspicion, ...] = ()
    #: Of numbers that count time since 1970: s, ms, us or ns.
    unit: str = ""
    #: Each value is greater than those before it.
    ascending: bool = False


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    rows: int
    #: Rows that are none: more or fewer values than columns, no JSON object, or a file that cannot be read.
    malformed: int
    columns: tuple[ColumnFound, ...]
    #: Arrays that are no rows beside the others.
    apart: tuple[str, ...] = ()
    #: Of a folder, which has no columns: what its files are.
    folder: FolderFound | None = None
    #: Rules to begin with, as TOML.
    rules: str = ""


class Inspector:
    """Looks at the columns of one file."""

    def __init__(self, columns: Iterable[str]) -> None:
        self._columns = {column: _Column() for column in columns}
        self._rows = 0
        self._malformed = 0

    def add(self, batch: Batch) -> None:
        """Look at some rows."""
        self._rows += len(batch.ids)
        self._malformed += len(batch.malformed)
        if len(batch.ids):
            for name, column in self._columns.items():
                column.add(batch, name)

    def inspection(self, *, apart: tuple[str, ...] = ()) -> Inspection:
        """What was found, without rules."""
        found = tuple(column.found(name, rows=self._rows) for name, column in self._columns.items())
        return Inspection(rows=self._rows, malformed=self._malformed, columns=found, apart=apart)


@dataclass(slots=True)
class _Reading:
    """The cells of a column, read as one kind."""

    filled: int = 0
    odd: int = 0
    example: Odd | None = None
    low: float | int | None = None
    high: float | int | None = None
    ascending: bool = True

    def add(self, values: NDArray[Any]) -> None:
        """Take in cells that have a value of the kind."""
        self.filled += len(values)
        if not len(values):
            return
        last = self.high
        low, high = values.min().item(), values.max().item()
        self.ascending &= (last is None or low > last) and bool((np.diff(values) > 0).all())
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if last is None else max(last, high)

    def refuse(self, cells: Cells, batch: Batch, column: str) -> None:
        """Count cells that are not of the kind."""
        self.odd += len(cells.broken)
        if self.example is None and len(cells.broken):
            place = int(cells.broken[0])
            value = str(batch.row(place).get(column))[:_SHOWN]
            self.example = Odd(line=int(batch.lines[place]), value=value)

    @property
    def fits(self) -> bool:
        """Whether the column is of this kind."""
        return self.filled > 0 and self.odd <= _ODD_SHARE * (self.filled + self.odd)

    def found(
        self,
        name: str,
        kind: Kind,
        *,
        rows: int,
        distinct: int,
        bound: Callable[[float | None], float | str | None],
        suspicions: tuple[Suspicion, ...],
        unit: str = "",
    ) -> ColumnFound:
        """What the column holds, read so; `bound` writes the lowest and the highest."""
        return ColumnFound(
            column=name,
            type=kind,
            rows=rows,
            missing=rows - self.filled - self.odd,
            distinct=distinct,
            minimum=bound(self.low),
            maximum=bound(self.high),
            odd=self.odd,
            example=self.example,
            suspicions=suspicions,
            unit=unit,
            ascending=self.filled > 1 and self.ascending,
        )


class _Column:
    """What is known of a column so far.

    Moments and names are looked for only in batches that hold more than numbers: there a number is both as well.
    """

    def __init__(self) -> None:
        self._numbers, self._moments = _Reading(), _Reading()
        self._named = 0
        self._whole = True
        self._distinct = Distinct()

    def add(self, batch: Batch, name: str) -> None:
        """Look at some rows."""
        cells = _finite(batch.cells(name, Kind.NUMBER))
        values = cells.values[~np.isnan(cells.values)]
        self._numbers.add(values)
        self._whole &= bool((values == np.floor(values)).all())
        if not len(cells.broken):
            self._moments.filled += len(values)
            self._named += len(values)
            self._distinct.add(fingerprints(values))
            return
        self._numbers.refuse(cells, batch, name)
        moments = batch.cells(name, Kind.MOMENT)
        self._moments.add(moments.values[moments.values != NO_MOMENT])
        self._moments.refuse(moments, batch, name)
        names = batch.cells(name, Kind.CATEGORY)
        codes = names.values[names.values != NO_NAME]
        self._named += len(codes)
        self._distinct.add(_identities(names.names)[codes])

    def found(self, name: str, *, rows: int) -> ColumnFound:
        """What it holds."""
        distinct = self._distinct.count
        if self._numbers.fits or not self._named:
            unit = _unit_of_time(self._numbers)
            suspicions = self._suspicions(self._numbers.filled, is_time=bool(unit), is_number=True)
            return self._numbers.found(
                name, Kind.NUMBER, rows=rows, distinct=distinct, bound=_same, suspicions=suspicions, unit=unit
            )
        if self._moments.fits:
            suspicions = self._suspicions(self._moments.filled, is_time=True, is_number=False)
            return self._moments.found(
                name, Kind.MOMENT, rows=rows, distinct=distinct, bound=_moment, suspicions=suspicions
            )
        return ColumnFound(
            column=name,
            type=Kind.CATEGORY,
            rows=rows,
            missing=rows - self._named,
            distinct=distinct,
            suspicions=self._suspicions(self._named, is_time=False, is_number=False),
        )

    def _suspicions(self, filled: int, *, is_time: bool, is_number: bool) -> tuple[Suspicion, ...]:
        """The first that applies: each makes those behind it improbable."""
        distinct = self._distinct.count
        whole = is_number and self._whole
        applies = {
            Suspicion.EMPTY: not filled,
            Suspicion.CONSTANT: distinct == 1 and filled > 1,
            Suspicion.TIME: is_time,
            Suspicion.ID: whole and self._distinct.all_differ and filled >= _FEWEST_IDS,
            Suspicion.LABEL: (whole or not is_number)
            and 1 < distinct <= _MOST_CLASSES
            and filled >= _ROWS_PER_CLASS * distinct,
        }
        return tuple(one for one, is_so in applies.items() if is_so)[:1]


def _finite(cells: Cells) -> Cells:
    """What an import refuses as no 32-bit float is no number here."""
    beyond = np.flatnonzero(np.abs(cells.values) > limits.MAX_FLOAT32)
    if not len(beyond):
        return cells
    values = cells.values.copy()
    values[beyond] = np.nan
    return Cells(values=values, broken=np.union1d(cells.broken, beyond))


def _identities(names: tuple[str, ...]) -> Fingerprints:
    """(names,) one for each; a name that is a number is that number, however it is written."""
    numbers, words = np.zeros(len(names)), dict[int, int]()
    for place, name in enumerate(names):
        try:
            numbers[place] = float(name)
        except ValueError:
            words[place] = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    found = fingerprints(numbers)
    found[list(words)] = np.array(list(words.values()), dtype=np.uint64)
    return found


def _unit_of_time(numbers: _Reading) -> str:
    """What numbers count since 1970, if they lie between 2000 and 2100 so; empty = they do not."""
    if numbers.low is None or numbers.high is None:
        return ""
    for unit in ("s", "ms", "us", "ns"):
        scale = 10**9 / TICKS[unit]
        if _EARLIEST_S * scale <= numbers.low and numbers.high < _LATEST_S * scale:
            return unit
    return ""


def _same(number: float | None) -> float | None:
    return number


def _moment(nanoseconds: float | None) -> str | None:
    """RFC 3339, to the microsecond."""
    if nanoseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=int(nanoseconds) // 1_000)).isoformat().replace("+00:00", "Z")
