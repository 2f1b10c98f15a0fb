"""Decides which labels a judging model must not have seen: each row is in one fold, and judged without it.

A label that was learnt from says nothing about the model that learnt it. Which models are trained, and whose labels are
left out beside, is not decided here.
"""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def fold_of(classes: Integers, *, folds: int, random: np.random.Generator) -> Integers:
    """The fold (n,) of each row, 0 to `folds` - 1; every class is dealt over the folds evenly, and so are all rows.

    Args:
        classes: (n,) class index of each row.
        folds: how many; folds beyond the number of rows stay empty.
        random: seeded by the caller.
    """
    assert folds >= 1, f"{folds} folds"
    dealt = [random.permutation(np.flatnonzero(classes == one)) for one in np.unique(classes)]
    fold = np.empty(len(classes), np.int64)
    fold[np.concatenate([np.empty(0, np.int64), *dealt])] = np.arange(len(classes)) % folds
    return fold
