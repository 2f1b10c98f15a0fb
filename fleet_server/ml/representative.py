"""Chooses the inputs that int8 takes its ranges from, and says how much of what is learnt from they cover.

Beyond the range of what was chosen a value is cut off. Inputs drawn by chance hold nearly all of a range, and an
outlier that they miss is better cut off than paid for by every other value; so only a column of which a good part would
be cut off has inputs added.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Booleans = NDArray[np.bool_]

INPUTS = 300
#: Added at most, where chance left out too much.
_ADDED = 100
#: Share of the values of each column that shall lie within the range.
LEAST_COVERAGE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Representative:
    """Chosen inputs."""

    #: (n, *input shape).
    inputs: Floats
    #: Of the column that is covered least: the share of its values, over all that is learnt from, within the range.
    coverage: float

    @property
    def words(self) -> str:
        """For the card."""
        return (
            f"int8 took its ranges from {len(self.inputs)} inputs, between which at least {self.coverage:.1%} of the "
            "values of every column lie"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know where they cover too little."""
        if self.coverage >= LEAST_COVERAGE:
            return ()
        told = (
            f"int8 took its ranges from {len(self.inputs)} inputs, between which {self.coverage:.1%} of the values of "
            "the column lie that is covered least; what is beyond is cut off: import rows without outliers, or take "
            "float16"
        )
        return (told,)


def representative_of(inputs: Floats, every: Floats) -> Representative:
    """Inputs that were chosen otherwise, with how much they cover of all that is learnt from (n, *input shape)."""
    rows, chosen = every.reshape(len(every), -1), inputs.reshape(len(inputs), -1)
    return Representative(inputs=inputs, coverage=float(_within(rows, chosen).min()))


def choose(inputs: Floats, targets: NDArray[np.generic], is_bought: Booleans, *, seed: int) -> Representative:
    """Choose among preprocessed training inputs.

    Of numbers evenly from the lowest to the highest: what is beyond the range of an int8 answer is cut off. Of classes
    by chance, and of bought rows up to half, for they reach furthest.

    Args:
        inputs: (n, *input shape).
        targets: (n,) class indexes or float numbers.
        is_bought: (n,) which were bought from devices.
        seed: of the chance.
    """
    if targets.dtype.kind == "f":
        ranks = np.linspace(0, len(targets) - 1, num=min(INPUTS, len(targets)), dtype=np.int64)
        chosen = np.argsort(targets, kind="stable")[ranks]
    else:
        random = np.random.default_rng(seed)
        bought = random.permutation(np.flatnonzero(is_bought))[: INPUTS // 2]
        imported = random.permutation(np.flatnonzero(~is_bought))[: INPUTS - len(bought)]
        chosen = np.concatenate([imported, bought])
    rows = inputs.reshape(len(inputs), -1)
    chosen = _widened(rows, chosen)
    return Representative(inputs=np.ascontiguousarray(inputs[chosen]), coverage=float(_coverage(rows, chosen).min()))


def _coverage(rows: Floats, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """(columns,) the share of all values within the range of the chosen ones."""
    return _within(rows, rows[chosen])


def _within(rows: Floats, chosen: Floats) -> NDArray[np.float64]:
    low, high = chosen.min(axis=0), chosen.max(axis=0)
    return np.asarray(((rows >= low) & (rows <= high)).mean(axis=0))


def _widened(rows: Floats, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """With the rows at the ends of columns that are covered too little: where nearly all of a column lies."""
    outside = (1 - LEAST_COVERAGE) / 2
    added = list[int]()
    for column in np.argsort(_coverage(rows, chosen), kind="stable")[: _ADDED // 2]:
        values = rows[:, column]
        if np.mean((values >= values[chosen].min()) & (values <= values[chosen].max())) >= LEAST_COVERAGE:
            break
        for end in np.quantile(values, (outside / 2, 1 - outside / 2)):
            added.append(int(np.argmin(np.abs(values - end))))
    return np.unique(np.concatenate([chosen, np.array(added, np.int64)])) if added else chosen
