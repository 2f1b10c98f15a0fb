"""Fingerprints and splits of rows, and what a split gives away."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.data.cells import NO_MOMENT, NO_NAME
from edgeops.data.leaks import Leaks, find_leaks
from edgeops.data.rules import Rules, SplitBy
from edgeops.data.seen import Seen, fingerprints
from edgeops.data.splits import Split, bins_of, fold_of_groups, fold_of_times, split_rows
from edgeops.errors import DatasetError

GROUPED = Rules(label="y", group="device", split=SplitBy.GROUP, seed=3)


@given(batches=st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=20))
def test_a_row_is_known_when_it_was_there_before(batches: list[list[int]]) -> None:
    seen, there = Seen(), set[int]()
    for batch in batches:
        known = seen.add(fingerprints(np.array(batch, dtype=np.int64)))
        for value, is_known in zip(batch, known, strict=True):
            assert is_known == (value in there)
            there.add(value)


def test_rows_differ_by_any_cell_and_minus_zero_is_zero() -> None:
    values = np.array([[1, 2], [2, 1], [0.0, 1], [-0.0, 1], [1, np.nan], [1, np.nan]], dtype=np.float32)
    found = fingerprints(values)
    assert len(set(found[:3].tolist())) == 3
    assert found[2] == found[3]
    assert found[4] == found[5]


def split(rules: Rules, *, groups: list[int], names: tuple[str, ...], times: list[int] | None = None) -> np.ndarray:
    return split_rows(
        rules,
        np.zeros(len(groups), np.int64),
        groups=np.array(groups, dtype=np.int64),
        names=names,
        times=np.array(times or [NO_MOMENT] * len(groups), dtype=np.int64),
    )


def test_groups_are_held_out_whole_and_by_name_whatever_their_order() -> None:
    names = tuple(f"d{number}" for number in range(10))
    parts = split(GROUPED, groups=[*range(10)] * 5, names=names).reshape(5, 10)
    assert (parts == parts[0]).all()
    assert np.bincount(parts[0]).tolist() == [7, 1, 2]
    turned = split(GROUPED, groups=[*range(10)], names=names[::-1])
    assert turned[::-1].tolist() == parts[0].tolist()


def test_named_groups_judge_and_no_others() -> None:
    rules = Rules(label="y", group="device", split=SplitBy.GROUP, held_out=("b",))
    parts = split(rules, groups=[0, 1, 2, 1], names=("a", "b", "c"))
    assert (parts == Split.EVALUATION).tolist() == [False, True, False, True]


def test_a_group_that_is_not_there_or_too_few_groups_are_told() -> None:
    with pytest.raises(DatasetError, match="no group 'x' to hold out; there are: a, b"):
        split(Rules(label="y", group="g", split=SplitBy.GROUP, held_out=("x",)), groups=[0, 1], names=("a", "b"))
    with pytest.raises(DatasetError, match="names 2 groups"):
        split(GROUPED, groups=[0, 1], names=("a", "b"))


def test_the_latest_rows_judge_and_those_before_stop_the_training() -> None:
    rules = Rules(label="y", time="at", split=SplitBy.TIME)
    parts = split(rules, groups=[0] * 100, names=("a",), times=[*range(100)])
    assert (np.diff(parts[parts != Split.EVALUATION].astype(int)) >= 0).all()
    assert np.bincount(parts).tolist() == [72, 8, 20]
    with pytest.raises(DatasetError, match="2 different moments"):
        split(rules, groups=[0, 0], names=("a",), times=[1, 2])


def test_numbers_are_dealt_by_tenths() -> None:
    assert np.bincount(bins_of(np.arange(100, dtype=np.float32))).tolist() == [10] * 10
    assert set(bins_of(np.zeros(5, np.float32)).tolist()) == {1}


@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=20), folds=st.integers(1, 3))
def test_folds_of_groups_keep_groups_whole_and_all_folds_filled(sizes: list[int], folds: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    fold = fold_of_groups(groups, folds=folds, random=np.random.default_rng(1))
    assert set(fold.tolist()) == set(range(folds))
    assert all(len(set(fold[groups == one])) == 1 for one in range(len(sizes)))


def test_folds_of_time_are_consecutive_and_split_no_moment() -> None:
    fold = fold_of_times(np.array([5, 1, 1, 2, 3, 4]), folds=3)
    assert fold.tolist() == [2, 0, 0, 1, 1, 2]


def test_rows_groups_and_moments_on_both_sides_are_counted() -> None:
    splits = np.array([Split.TRAIN, Split.TRAIN, Split.EVALUATION, Split.EVALUATION], dtype=np.uint8)
    rows = fingerprints(np.array([[1.0], [2.0], [1.0], [3.0]], dtype=np.float32))
    leaks = find_leaks(splits, rows, groups=np.array([0, 1, 1, 2]), times=np.array([1, 5, 4, 6]))
    assert leaks == Leaks(same_rows=1, shared_groups=1, earlier_rows=1)
    assert len(leaks.words) == 3
    none = find_leaks(splits, np.arange(4).astype(np.uint64), groups=np.full(4, NO_NAME), times=np.full(4, NO_MOMENT))
    assert none == Leaks()
