"""What it costs when one input column is lost: its readings are missing, or stuck at one value.

Which columns are tried, and on which rows, is decided elsewhere.
"""

from collections.abc import Sequence

import msgspec

from edgeops.learning.promotion import Ruling, points


class LostColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One input column, and what answers cost without it beyond what they cost with it, in the mean."""

    column: str
    #: None = the model refuses such rows, so that no wrong answer comes of them.
    missing: float | None
    #: Stuck at the median of what was learnt from.
    stuck: float

    @property
    def loss(self) -> float:
        """The larger one."""
        return max(self.stuck, self.missing or 0.0)


def most_fragile(columns: Sequence[LostColumn]) -> LostColumn | None:
    """The column whose loss costs most; None = none was tried."""
    return max(columns, key=lambda one: one.loss, default=None)


def bears_a_lost_column(columns: Sequence[LostColumn], *, scale: float = 1.0, most: float | None) -> Ruling:
    """The loss of no column costs more than was asked for.

    Args:
        columns: those that were tried.
        scale: what a share of the limit is counted of.
        most: None = it is told only.
    """
    worst = most_fragile(columns)
    if worst is None:
        return Ruling(passed=True, reason="the inputs are no columns that could be lost one by one")
    loss = worst.loss / scale if scale > 0 else 0.0
    missing = "refuses" if worst.missing is None else f"loses {worst.missing:.4g} to"
    return Ruling(
        most is None or loss <= most,
        f"the most fragile of {len(columns)} columns is {worst.column}: it {missing} rows without it, and loses "
        f"{worst.stuck:.4g} where it is stuck at its median ({'nobody set what' if most is None else points(most)} may "
        "be lost)",
        measured={"loss": loss},
        limits={} if most is None else {"channel-loss": most},
    )
