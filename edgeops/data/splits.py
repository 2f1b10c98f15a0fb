"""Decides which row trains, which stops the training and which judges.

Seeded: the same rows and seed give the same split. Evaluation rows are frozen with the snapshot and are never learnt
from. What a split may still give away is told by `leaks`.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from edgeops.data.rules import Rules, SplitBy
from edgeops.errors import DatasetError

Integers = NDArray[np.int64]

#: Share of what is left after the evaluation rows were taken.
VALIDATION_SHARE = 0.1
#: Numbers to be learnt are dealt by so many quantile bins.
_BINS = 10


class Split(IntEnum):
    """What a row is for; the number is stored in snapshots."""

    #: Learnt from.
    TRAIN = 0
    #: Decides when training stops.
    VALIDATION = 1
    #: Judges, and nothing else.
    EVALUATION = 2


def split_rows(
    rules: Rules, strata: Integers, *, groups: Integers, names: tuple[str, ...], times: Integers
) -> NDArray[np.uint8]:
    """Assign a `Split` to every row.

    Args:
        rules: by what, how much, and the seed.
        strata: (rows,) class of each row, or bin of its number (`bins_of`).
        groups: (rows,) index into `names`.
        names: of the groups.
        times: (rows,) nanoseconds since 1970.

    Raises:
        DatasetError: there are too few groups or moments, or no such group.
    """
    match rules.split:
        case SplitBy.ROW:
            return _by_row(strata, hold_out=rules.hold_out, seed=rules.seed)
        case SplitBy.GROUP:
            return _by_group(rules, groups, names)
        case SplitBy.TIME:
            return _by_time(times, hold_out=rules.hold_out, judges=_named(rules, groups, names))


def bins_of(numbers: NDArray[np.float32]) -> Integers:
    """(rows,) which tenth of all numbers each is in, for splits that have a share of each."""
    edges = np.unique(np.quantile(numbers.astype(np.float64), np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.searchsorted(edges, numbers, side="right").astype(np.int64)


def fold_of_groups(groups: Integers, *, folds: int, random: np.random.Generator) -> Integers:
    """The fold (rows,) of each row, 0 to `folds` - 1, whole groups in one fold; the largest group is dealt first.

    Args:
        groups: (rows,) any number per group.
        folds: how many, at most as many as there are groups.
        random: seeded by the caller; breaks ties.
    """
    found, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    assert 1 <= folds <= len(found), f"{folds} folds of {len(found)} groups"
    order = random.permutation(len(found))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold, filled = np.empty(len(found), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for group in order:
        fold[group] = np.argmin(filled)
        filled[fold[group]] += sizes[group]
    return fold[place]


def fold_of_times(times: Integers, *, folds: int) -> Integers:
    """The fold (rows,) of each row: consecutive stretches of time, 0 the earliest; rows of one moment stay together.

    A fold is judged by what was learnt from the folds before it, so fold 0 is learnt from only.
    """
    moments, place, counts = np.unique(times, return_inverse=True, return_counts=True)
    assert 1 <= folds <= len(moments), f"{folds} folds of {len(moments)} moments"
    before = np.cumsum(counts) - counts
    return (before * folds // len(times))[place]


def _by_row(strata: Integers, *, hold_out: float, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    splits = np.full(len(strata), Split.TRAIN, dtype=np.uint8)
    for one in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == one))
        evaluation = _share(hold_out, len(rows), at_most=len(rows) - 2)
        validation = _share(VALIDATION_SHARE, len(rows) - evaluation, at_most=len(rows) - evaluation - 1)
        splits[rows[:evaluation]] = Split.EVALUATION
        splits[rows[evaluation : evaluation + validation]] = Split.VALIDATION
    return splits


def _by_group(rules: Rules, groups: Integers, names: tuple[str, ...]) -> NDArray[np.uint8]:
    _refuse_unknown(rules, names)
    # By name, so that the order of the file does not matter.
    order = np.random.default_rng(rules.seed).permutation(len(names))
    dealt = [name for name in np.array(sorted(names), dtype=object)[order] if name not in rules.held_out]
    evaluation = list(rules.held_out)
    if not evaluation:
        held = _share(rules.hold_out, len(dealt), at_most=len(dealt) - 2)
        evaluation, dealt = dealt[: max(held, 0)], dealt[max(held, 0) :]
    if not evaluation or len(dealt) < 2:
        raise DatasetError(
            f"the column {rules.group!r} names {len(names)} groups; a split by group needs one that judges, one that "
            "stops the training and one that is learnt from"
        )
    validation = dealt[: _share(VALIDATION_SHARE, len(dealt), at_most=len(dealt) - 1)]
    of_name = dict.fromkeys(evaluation, Split.EVALUATION) | dict.fromkeys(validation, Split.VALIDATION)
    of_group = np.array([of_name.get(name, Split.TRAIN) for name in names], dtype=np.uint8)
    return of_group[groups]


def _named(rules: Rules, groups: Integers, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which rows (rows,) are of groups that are held out by name."""
    _refuse_unknown(rules, names)
    return np.isin(groups, [place for place, name in enumerate(names) if name in rules.held_out])


def _refuse_unknown(rules: Rules, names: tuple[str, ...]) -> None:
    for name in rules.held_out:
        if name not in names:
            raise DatasetError(f"no group {name!r} to hold out; there are: {', '.join(sorted(names)[:20])}")


def _by_time(times: Integers, *, hold_out: float, judges: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`judges` (rows,) are rows that are held out by name; where there are none, the latest are held out."""
    by_name = bool(judges.any())
    _refuse_few(times[~judges], what="rows that are not held out" if by_name else "rows", needed=2 if by_name else 3)
    if not by_name:
        judges = times > _border(times, hold_out, before=2)
    splits = np.full(len(times), Split.TRAIN, dtype=np.uint8)
    splits[times > _border(times[~judges], VALIDATION_SHARE, before=1)] = Split.VALIDATION
    splits[judges] = Split.EVALUATION
    return splits


def _refuse_few(times: Integers, *, what: str, needed: int) -> None:
    moments = len(np.unique(times))
    if moments < needed:
        raise DatasetError(f"the {what} have {moments} different moments; a split by time needs {needed} at least")


def _border(times: Integers, share: float, *, before: int) -> int:
    """The moment behind which the latest `share` of rows lies: one moment at least, and `before` of them up to it."""
    moments, counts = np.unique(times, return_counts=True)
    place = np.searchsorted(np.cumsum(counts), (1 - share) * len(times))
    return int(moments[np.clip(place, before - 1, len(moments) - 2)])


def _share(share: float, rows: int, *, at_most: int) -> int:
    return max(min(max(round(share * rows), 1), at_most), 0)
