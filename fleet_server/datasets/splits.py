"""Decides which row trains, which stops the training and which judges.

Stratified by class and seeded: the same rows and seed give the same split. Evaluation rows are frozen
with the snapshot and are never learnt from.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

#: Share of what is left after the evaluation rows were taken.
VALIDATION_SHARE = 0.1


class Split(IntEnum):
    """What a row is for; the number is stored in snapshots."""

    #: Learnt from.
    TRAIN = 0
    #: Decides when training stops.
    VALIDATION = 1
    #: Judges, and nothing else.
    EVALUATION = 2


def split_rows(classes: NDArray[np.int64], *, hold_out: float, seed: int) -> NDArray[np.uint8]:
    """Assign a `Split` to every row.

    Args:
        classes: class index of each row; every class needs three rows or more.
        hold_out: share of each class that judges.
        seed: another seed gives another split.
    """
    random = np.random.default_rng(seed)
    splits = np.full(len(classes), Split.TRAIN, dtype=np.uint8)
    for one in np.unique(classes):
        rows = random.permutation(np.flatnonzero(classes == one))
        evaluation = _share(hold_out, len(rows), at_most=len(rows) - 2)
        validation = _share(VALIDATION_SHARE, len(rows) - evaluation, at_most=len(rows) - evaluation - 1)
        splits[rows[:evaluation]] = Split.EVALUATION
        splits[rows[evaluation : evaluation + validation]] = Split.VALIDATION
    return splits


def _share(share: float, rows: int, *, at_most: int) -> int:
    return min(max(round(share * rows), 1), at_most)
