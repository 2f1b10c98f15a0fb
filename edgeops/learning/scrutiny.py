"""What is known of one file beyond the mean of all rows: what groups cost, and the loss of each input column.

The columns that it goes by are told in the run alone, and are no figures of its manifest.
"""

import msgspec

from edgeops.learning.attribution import PermutedColumn
from edgeops.learning.fragility import LostColumn, most_fragile
from edgeops.learning.slices import Slice


class Scrutiny(msgspec.Struct, frozen=True, kw_only=True):
    """Of one variant, on the evaluation set."""

    #: Column by column, those that cost most first; empty = the rows are not of several groups.
    slices: tuple[Slice, ...] = ()
    #: Those whose loss costs most first; empty = the inputs are pixels.
    columns: tuple[LostColumn, ...] = ()
    #: Those that tell most first; empty = they were not tried one by one.
    permuted: tuple[PermutedColumn, ...] = ()

    def figures(self) -> dict[str, float]:
        """What its manifest says; groups may be persons, so they are not named there."""
        figures = dict[str, float]()
        judged = [one for one in self.slices if one.is_judged]
        if judged:
            figures |= {"worst-group": max(one.cost for one in judged), "groups": float(len(judged))}
        worst = most_fragile(self.columns)
        if worst is not None:
            figures["lost-column"] = worst.loss
        return figures
