"""What is known of one file beyond the mean of all rows: what groups cost, and the loss of each input column."""

import msgspec

from edgeops.learning.fragility import LostColumn, most_fragile
from edgeops.learning.slices import Slice


class Scrutiny(msgspec.Struct, frozen=True, kw_only=True):
    """Of one variant, on the evaluation set."""

    #: Those that cost most first; empty = the rows are of no groups.
    slices: tuple[Slice, ...] = ()
    #: Those whose loss costs most first; empty = the inputs are pixels.
    columns: tuple[LostColumn, ...] = ()

    def figures(self) -> dict[str, float]:
        """What its manifest says; groups may be persons, so they are not named there."""
        figures = dict[str, float]()
        judged = [one for one in self.slices if one.is_judged]
        if judged:
            figures |= {"worst-group": judged[0].cost, "groups": float(len(judged))}
        worst = most_fragile(self.columns)
        if worst is not None:
            figures["lost-column"] = worst.loss
        return figures
