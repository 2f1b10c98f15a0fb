"""Folds are dealt as a snapshot was split."""

import numpy as np
import pytest

from edgeops.data.rules import SplitBy
from edgeops.errors import DatasetError
from edgeops.learning.folds import Folds, deal

ROWS = 120
CLASSES = np.arange(ROWS) % 3
GROUPS = np.arange(ROWS) // 20
TIMES = np.arange(ROWS)


def dealt(by, count=4):
    return deal(by, CLASSES, groups=GROUPS, times=TIMES, count=count, seed=1)


def test_by_row_each_fold_has_its_share_of_each_class():
    fold = dealt(SplitBy.ROW)
    assert np.array_equal(fold, dealt(SplitBy.ROW))
    for number in range(4):
        assert np.bincount(CLASSES[fold == number]).tolist() == [10, 10, 10]


def test_by_group_no_group_is_in_two_folds():
    fold = dealt(SplitBy.GROUP, 3)
    assert sorted(set(fold)) == [0, 1, 2]
    assert all(len(set(fold[group == GROUPS])) == 1 for group in range(6))


def test_by_time_what_comes_before_all_is_only_learnt_from():
    fold = dealt(SplitBy.TIME, 3)
    assert sorted(set(fold)) == [-1, 0, 1, 2]
    assert (np.diff(fold) >= 0).all()


@pytest.mark.parametrize(("by", "count", "words"), [(SplitBy.GROUP, 7, "6 groups"), (SplitBy.TIME, 120, "120 moments")])
def test_more_folds_than_there_is_to_deal_are_refused(by, count, words):
    with pytest.raises(DatasetError, match=words):
        dealt(by, count)


def test_the_spread_is_that_of_another_set_of_rows():
    folds = Folds(by=SplitBy.ROW, figures=(0.8, 0.9, 1.0), rows=(10, 10, 10))
    assert (folds.mean, folds.spread) == (pytest.approx(0.9), pytest.approx(0.1))
