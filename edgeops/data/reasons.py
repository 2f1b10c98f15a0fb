"""Why a row is refused: a closed set, and the words for it."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """What is wrong with a row; the first that applies is told."""

    #: The row has more or fewer values than the header names, is no JSON object, or is a file that cannot be read.
    MALFORMED = "malformed"
    #: The label is empty.
    LABEL_MISSING = "label-missing"
    #: A cell that must have a value is empty.
    MISSING = "missing"
    #: A number with a fraction where a class or group is named.
    FRACTION = "fraction"
    #: A cell of a number column cannot be read as one.
    NOT_A_NUMBER = "not-a-number"
    #: Infinite, or beyond a 32-bit float.
    NOT_FINITE = "not-finite"
    #: A cell of a moment column cannot be read as one.
    NOT_A_MOMENT = "not-a-moment"
    #: Below the minimum or above the maximum of its column.
    OUT_OF_RANGE = "out-of-range"
    #: None of the values that its column may have.
    NOT_ALLOWED = "not-allowed"
    #: Earlier than a row before it in its group.
    BACKWARDS = "backwards"
    #: The moment of a row before it in its group.
    SAME_MOMENT = "same-moment"
    #: Equal to a row before it in everything that is kept.
    DUPLICATE = "duplicate"


_WORDS = {
    Reason.MALFORMED: "{value}",
    Reason.LABEL_MISSING: "the label column {column!r} is empty",
    Reason.MISSING: "is empty",
    Reason.FRACTION: "{value!r} is a fraction, which names no class or group; is it a measurement?",
    Reason.NOT_A_NUMBER: "{value!r} is not a number",
    Reason.NOT_FINITE: "{value!r} does not fit a 32-bit float",
    Reason.NOT_A_MOMENT: "{value!r} is not a moment such as 2026-03-01T12:00:00Z, nor a count since 1970 in its unit",
    Reason.OUT_OF_RANGE: "{value!r} is out of range",
    Reason.NOT_ALLOWED: "{value!r} is not among the allowed values",
    Reason.BACKWARDS: "{value!r} is earlier than a row before it of the same group",
    Reason.SAME_MOMENT: "{value!r} is the moment of a row before it of the same group",
    Reason.DUPLICATE: "the row is equal to one before it",
}
#: What the whole row is to blame for, or what says its column itself.
_NO_COLUMN = frozenset({Reason.MALFORMED, Reason.LABEL_MISSING, Reason.DUPLICATE})
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One refused row."""

    #: The line or row number in its file, or the file's number in its folder.
    line: int
    reason: Reason
    #: The column to blame; empty = the whole row.
    column: str
    #: The cell as it was read; of a malformed row, what is wrong with it.
    value: str

    def words(self, place: str) -> str:
        """The refusal for people; `place` is where it stands."""
        column = "" if self.reason in _NO_COLUMN else f", column {self.column!r}"
        value = self.value if self.reason is Reason.MALFORMED else self.value[:_SHOWN]
        return f"{place}{column}: {_WORDS[self.reason].format(value=value, column=self.column)}"
