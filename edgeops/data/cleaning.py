"""Decides, batch by batch, which rows are kept, what they become, and why the others are refused.

Nothing is read or written here, and nothing is repaired: a row is as its file has it, in the units that were asked for,
or it is refused.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.data.cells import NO_MOMENT, NO_NAME, Batch, Cells
from edgeops.data.layout import Layout
from edgeops.data.names import Names
from edgeops.data.reasons import Reason, Refusal
from edgeops.data.rules import ColumnRule, Duplicates, Kind, Missing
from edgeops.data.seen import Seen, fingerprints

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

#: What an anomaly detector is told of a row that nobody labelled.
UNLABELLED = -1
_REASONS = tuple(Reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Rows that are kept, and rows that are not."""

    ids: Integers
    #: float32 (rows, layout.width); NaN = missing.
    values: NDArray[np.float32]
    #: (rows,): classes in the order in which they were met, int64; numbers, float32; 0 normal, 1 anomaly, int64.
    targets: NDArray[Any]
    #: (rows,) in the order in which groups were met; NO_NAME = none.
    groups: Integers
    #: (rows, rules.slices) the same of each of these columns.
    slices: Integers
    #: (rows,) nanoseconds since 1970; NO_MOMENT = none.
    times: Integers
    #: With the row of each, as it was read.
    refused: tuple[tuple[Refusal, object], ...]
    #: Rows that passed the filters, refused ones counted.
    wanted: int


class Cleaner:
    """Applies rules to one file; it remembers what batches before had, where a rule looks back."""

    def __init__(self, layout: Layout) -> None:
        self.classes = Names()
        self.groups = Names()
        #: Of each column that rows are told apart by beside their group.
        self.slices = tuple(Names() for _ in layout.rules.slices)
        self._layout = layout
        self._seen = Seen()
        #: The latest moment of each group.
        self._latest = np.empty(0, dtype=np.int64)

    def clean(self, batch: Batch) -> Kept:
        """Judge some rows.

        Raises:
            DatasetError: there are more classes than a model can have.
        """
        layout, rules = self._layout, self._layout.rules
        rows = _Judged(batch, self._passing(batch))
        label = self._label(rows)
        values = self._values(rows)
        for column in layout.watched:
            rows.categories(column, rules.of(column))
        group = rows.categories(rules.group, rules.of(rules.group), needed=True) if rules.group else None
        parts = [rows.categories(column, rules.of(column)) for column in rules.slices]
        times = rows.moments(layout) if rules.time else rows.filled(NO_MOMENT)
        groups = self.groups.places(group, rows.good) if group else rows.filled(NO_NAME)
        slices = np.empty((len(groups), len(parts)), dtype=np.int64)
        for place, (names, part) in enumerate(zip(self.slices, parts, strict=True)):
            slices[:, place] = names.places(part, rows.good)
        if rules.time:
            self._refuse_disorder(rows, groups, times)
        if layout.clock is not None:
            values[rows.good, len(layout.features) :] = layout.clock.rows(times[rows.good])
        targets = self.classes.places(label, rows.good) if isinstance(label, Cells) else label
        if len(self.classes.names) > limits.MAX_CLASSES:
            self.classes.refuse(rules.label)
        if rules.duplicates is Duplicates.REFUSE:
            good = np.flatnonzero(rows.good)
            known = self._seen.add(fingerprints(values[good], targets[good], groups[good], slices[good], times[good]))
            rows.refuse(good[known], Reason.DUPLICATE, "")
        kept = rows.good
        return Kept(
            ids=batch.ids[kept],
            values=values[kept],
            targets=targets[kept],
            groups=groups[kept],
            slices=slices[kept],
            times=times[kept],
            refused=(*batch.malformed, *rows.refusals()),
            wanted=int(rows.wanted.sum()) + len(batch.malformed),
        )

    def _passing(self, batch: Batch) -> Mask:
        passing = np.ones(len(batch.ids), dtype=bool)
        for condition in self._layout.conditions:
            cells = batch.cells(condition.column, Kind.CATEGORY)
            # The last place is that of a missing name.
            accepts = np.array([*(condition.accepts(name) for name in cells.names), condition.accepts("")], dtype=bool)
            passing &= accepts[cells.values]
        return passing

    def _values(self, rows: "_Judged") -> NDArray[np.float32]:
        """What is learnt from (rows, values), the clock's columns still empty; a recording has no reading left out."""
        layout = self._layout
        if layout.clip:
            return rows.numbers(layout.clips, layout.feature_rules[0], missing=Reason.MISSING)
        values = np.empty((len(rows.wanted), layout.width), dtype=np.float32)
        for place, (column, rule) in enumerate(zip(layout.features, layout.feature_rules, strict=True)):
            values[:, place] = rows.numbers(column, rule)
        return values

    def _label(self, rows: "_Judged") -> "Cells | NDArray[Any]":
        """What is to be learnt: names of classes, numbers, or what is known to be an anomaly."""
        rules = self._layout.rules
        if not rules.label:
            return rows.filled(UNLABELLED)
        if rules.task is Task.CLASSIFICATION:
            return rows.categories(rules.label, rules.of(rules.label), missing=Reason.LABEL_MISSING)
        if rules.task is Task.REGRESSION:
            return rows.numbers(rules.label, rules.of(rules.label), missing=Reason.LABEL_MISSING)
        numbers = rows.numbers(rules.label, rules.of(rules.label))
        known = ~np.isnan(numbers)
        rows.refuse(known & (numbers != 0) & (numbers != 1), Reason.NOT_ALLOWED, rules.label)
        return np.where(known, numbers == 1, UNLABELLED).astype(np.int64)

    def _refuse_disorder(self, rows: "_Judged", groups: Integers, times: Integers) -> None:
        """Refuse moments that do not go on within their group; rows without a group are one group."""
        good = np.flatnonzero(rows.good)
        if not len(good):
            return
        owner = groups[good] + 1
        self._latest = np.concatenate(
            [self._latest, np.full(max(0, owner.max(initial=-1) + 1 - len(self._latest)), NO_MOMENT)]
        )
        order = np.lexsort((np.arange(len(good)), owner))
        good, owner, moments = good[order], owner[order], times[good][order]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(owner)], strict=True):
            own = moments[start:end]
            before = np.maximum.accumulate(np.concatenate([self._latest[owner[start] :][:1], own]))
            rows.refuse(good[start:end][own < before[:-1]], Reason.BACKWARDS, self._layout.rules.time)
            rows.refuse(good[start:end][own == before[:-1]], Reason.SAME_MOMENT, self._layout.rules.time)
            self._latest[owner[start]] = before[-1]


class _Judged:
    """The rows of a batch, with the first thing that is wrong with each."""

    def __init__(self, batch: Batch, wanted: Mask) -> None:
        self.wanted = wanted
        self._batch = batch
        #: Place in `_REASONS`, and in `_columns`.
        self._reason = np.full(len(wanted), -1, dtype=np.int8)
        self._column = np.zeros(len(wanted), dtype=np.int64)
        self._columns: list[str] = []
        #: Which reading of a recording is to blame.
        self._reading = np.zeros(len(wanted), dtype=np.int64)

    @property
    def good(self) -> Mask:
        """Which rows are wanted and not refused so far."""
        return self.wanted & (self._reason < 0)

    def filled(self, value: int) -> Integers:
        """The same for all rows."""
        return np.full(len(self.wanted), value, dtype=np.int64)

    def refuse(self, which: Mask | Integers, reason: Reason, column: str) -> None:
        """Refuse rows that were not refused before: a mask, or places; of recordings a mask (rows, values)."""
        if not which.any() if which.dtype == np.bool_ else not len(which):
            return
        if which.ndim > 1:
            readings, which = which.argmax(axis=1), np.flatnonzero(which.any(axis=1))
            blamed = which[self.good[which]]
            self._reading[blamed] = readings[blamed]
        places = np.flatnonzero(which) if which.dtype == np.bool_ else which
        places = places[self.good[places]]
        self._reason[places] = _REASONS.index(reason)
        self._column[places] = len(self._columns)
        self._columns.append(column)

    def numbers(self, column: str, rule: ColumnRule, *, missing: Reason | None = None) -> NDArray[np.float32]:
        """A column of numbers (rows,), of recordings (rows, values), converted.

        `missing` = why a row without one is refused in any case.
        """
        cells = self._batch.cells(column, Kind.NUMBER)
        self.refuse(cells.broken, Reason.NOT_A_NUMBER, column)
        values = rule.conversion(cells.values)
        with np.errstate(invalid="ignore"):
            self.refuse(np.abs(values) > limits.MAX_FLOAT32, Reason.NOT_FINITE, column)
            if rule.minimum is not None:
                self.refuse(values < rule.minimum, Reason.OUT_OF_RANGE, column)
            if rule.maximum is not None:
                self.refuse(values > rule.maximum, Reason.OUT_OF_RANGE, column)
        if missing or rule.missing is Missing.REFUSE:
            self.refuse(np.isnan(values), missing or Reason.MISSING, column)
        with np.errstate(over="ignore"):
            return values.astype(np.float32)

    def categories(
        self, column: str, rule: ColumnRule, *, missing: Reason = Reason.MISSING, needed: bool = False
    ) -> Cells:
        """A column of names; `needed` = a row without one is refused, whatever the rule."""
        cells = self._batch.cells(column, Kind.CATEGORY)
        self.refuse(cells.broken, Reason.FRACTION, column)
        if missing is Reason.LABEL_MISSING or needed or rule.missing is Missing.REFUSE:
            self.refuse(cells.values == NO_NAME, missing, column)
        if rule.allowed:
            allowed = np.array([*(name in rule.allowed for name in cells.names), True], dtype=bool)
            self.refuse(~allowed[cells.values], Reason.NOT_ALLOWED, column)
        return cells

    def moments(self, layout: Layout) -> Integers:
        """When each row was measured (rows,); each needs a moment."""
        column = layout.rules.time
        cells = self._batch.cells(column, Kind.MOMENT, tick=layout.time_tick, zone=layout.rules.zone)
        self.refuse(cells.broken, Reason.NOT_A_MOMENT, column)
        self.refuse(cells.values == NO_MOMENT, Reason.MISSING, column)
        values: Integers = cells.values
        return values

    def refusals(self) -> list[tuple[Refusal, object]]:
        """The refused rows in their order, each as it was read."""
        found: list[tuple[Refusal, object]] = []
        for place in np.flatnonzero(self._reason >= 0):
            row = self._batch.row(int(place))
            column = self._columns[self._column[place]]
            value = row.get(column)
            if isinstance(value, list):
                value = value[self._reading[place]]
            refusal = Refusal(
                line=int(self._batch.lines[place]),
                reason=_REASONS[self._reason[place]],
                column=column,
                value="" if value is None else str(value),
            )
            found.append((refusal, row))
        return found
