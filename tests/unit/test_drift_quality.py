"""Readings that cannot be trusted, border by border: what is missing, what stays, and what lies far outside.

References here have even bins and a range of -100 to 100 steps of the grid; see `drift_values`.
"""

from dataclasses import replace

import numpy as np
import pytest

from edgeops.drift.quality import find_faults, issues
from edgeops.sketch.window import empty_sketch
from tests.unit import drift_values as made

POLICY = made.POLICY


def readings(*parts, missing=0, steps=0):
    """A window of one channel: (rows, value on the grid, bin) each."""
    counts = sum(made.dealt(rows, [place]) for rows, _, place in parts)
    present = sum(rows for rows, _, _ in parts)
    one = replace(made.window(counts, rows=present + missing), steps=np.array([steps]))
    total, squares = (sum(rows * value**power for rows, value, _ in parts) for power in (1, 2))
    return replace(one, total=np.array([total]), squares=np.array([squares]))


def faults_of(*windows, reference=None):
    """What is wrong with a device that sent these windows, oldest first."""
    return find_faults(made.history(list(windows)), reference or made.baseline(), POLICY, is_input=np.array([True]))


def shares(share, place=3):
    """A reference of which so much lies in one bin, and the rest evenly in the others."""
    each = np.full((1, made.BINS), (1 - share) / 31)
    each[0, place] = share
    return made.baseline(shares=each)


# -- missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("missing", "is_fault"), [(4, False), (5, True)])
def test_of_fifty_rows_five_that_are_missing_are_a_fault(missing, is_fault):
    faults = faults_of(made.window(made.dealt(50 - missing), rows=50))
    assert faults.missing.item() == is_fault
    assert faults.missing_share.item() == missing / 50


@pytest.mark.parametrize(("missing", "is_fault"), [(27, False), (28, True)])
def test_where_three_of_ten_are_missing_as_a_rule_it_takes_four_standard_errors_more(missing, is_fault):
    usual = made.baseline(missing=np.array([0.3]))
    assert faults_of(made.window(made.dealt(50 - missing), rows=50), reference=usual).missing.item() == is_fault


# -- which windows are looked at ------------------------------------------------------------------------


def test_the_newest_windows_that_hold_fifty_rows_are_looked_at():
    sound, stuck = made.window(made.dealt(500)), readings((60, 7, 3))
    assert faults_of(sound, stuck).stuck.item(), "what was sound before does not hide it"
    assert not faults_of(stuck, sound).stuck.item(), "it is over"
    few = readings((30, 7, 3))
    assert faults_of(sound, few, few).stuck.item(), "thirty and thirty"
    assert not faults_of(sound, few).stuck.item(), "thirty are not enough, and the ones before are sound"


def test_each_device_is_looked_at_by_its_own_windows():
    sound, few, stuck = made.window(made.dealt(500)), readings((30, 7, 3)), readings((60, 7, 3))
    told = made.history([sound, stuck], [few, few], [stuck, sound], [few])
    faults = find_faults(told, made.baseline(), POLICY, is_input=np.array([True]))
    assert faults.stuck.ravel().tolist() == faults.any.ravel().tolist() == [True, True, False, False]
    assert faults.was_looked_at.tolist() == [True, True, True, False]
    assert faults.was_heard.tolist() == [True] * 4


def test_one_row_is_heard():
    told = made.history([readings((60, 7, 3))], [readings((1, 7, 3))], [empty_sketch(1)])
    faults = find_faults(told, made.baseline(), POLICY, is_input=np.array([True]))
    assert faults.was_heard.tolist() == [True, True, False]
    assert issues(faults, made.baseline(), [0, 1]) == ()
    assert len(issues(faults, made.baseline(), [0, 2])) == 1


def test_a_fault_of_any_sort_is_one():
    stuck, absent, away = readings((60, 7, 3)), made.window(made.dealt(0), rows=60), readings((60, 500, 31), steps=60)
    faults = find_faults(made.history([stuck], [absent], [away]), made.baseline(), POLICY, is_input=np.array([True]))
    assert faults.stuck.ravel().tolist() == [True, False, False]
    assert faults.missing.ravel().tolist() == [False, True, False]
    assert faults.out_of_range.ravel().tolist() == [False, False, True]
    assert faults.any.ravel().tolist() == [True] * 3


def test_what_the_reference_never_saw_has_no_fault_and_what_it_saw_once_is_a_constant():
    never = made.baseline(present=np.array([0.0]), missing=np.array([1.0]), shares=np.zeros((1, made.BINS)))
    assert not faults_of(readings((60, 7, 3)), reference=never).any.item()
    once = shares(1.0)
    once = replace(once, present=np.array([1.0]), is_constant=np.array([True]))
    assert faults_of(readings((60, 7, 4)), reference=once).out_of_range.item()


# -- stuck ----------------------------------------------------------------------------------------------


def test_a_value_that_moved_between_windows_is_not_stuck_although_they_share_a_bin():
    """The grid is coarse, where the reference had a wild value; the steps within each window are none."""
    assert faults_of(readings((30, 7, 3)), readings((30, 7, 3))).stuck.item()
    assert not faults_of(readings((30, 7, 3)), readings((30, 9, 3))).stuck.item()
    assert not faults_of(readings((30, 7, 3)), readings((30, 7, 4))).stuck.item(), "one value falls into one bin"
    assert not faults_of(readings((60, 7, 3), steps=2)).stuck.item()


def test_of_few_values_and_of_single_rows_nobody_knows_whether_they_stay():
    assert not faults_of(readings((40, 7, 3), missing=20)).stuck.item(), "forty values"
    single = [readings((1, 7, 3))] * 60
    assert not faults_of(*single).stuck.item(), "none follows another"
    assert faults_of(*single, readings((2, 7, 3))).stuck.item()


@pytest.mark.parametrize(("lag1", "is_stuck"), [(0.850, True), (0.852, False)])
def test_what_chance_shows_once_in_a_million_is_stuck(lag1, is_stuck):
    # 50 rows worth 4.05, or 3.996, of a bin that holds one of 32: 14.05, or 13.85, nats.
    slow = made.baseline(lag1=np.array([lag1]))
    assert faults_of(readings((50, 7, 3)), reference=slow).stuck.item() == is_stuck


@pytest.mark.parametrize(("lag1", "is_stuck"), [(0.938, True), (0.942, False)])
def test_a_value_that_the_reference_never_showed_surprises_like_one_of_its_rows(lag1, is_stuck):
    # 50 rows worth 1.60, or 1.49, of 9.21 nats each.
    slow = replace(shares(0.0), lag1=np.array([lag1]))
    assert faults_of(readings((50, 7, 3)), reference=slow).stuck.item() == is_stuck


@pytest.mark.parametrize(("rows", "is_stuck"), [(86, False), (88, True)])
def test_where_order_is_unknown_rows_count_a_tenth(rows, is_stuck):
    # A bin of a fifth: 14 nats are 14 / ln 5 = 8.7 rows.
    unordered = replace(shares(0.2), is_ordered=False)
    assert faults_of(readings((rows, 7, 3)), reference=unordered).stuck.item() == is_stuck
    assert faults_of(readings((rows, 7, 3)), reference=shares(0.2)).stuck.item()


def test_where_order_is_unknown_what_a_quarter_of_the_rows_showed_may_stay():
    for share, may_stay in ((0.25, True), (0.24, False)):
        unordered = replace(shares(share), is_ordered=False)
        assert faults_of(readings((5_000, 7, 3)), reference=unordered).stuck.item() != may_stay
        assert faults_of(readings((5_000, 7, 3)), reference=shares(share)).stuck.item()


def test_a_class_may_stay_and_a_constant_must():
    for kind in ("is_discrete", "is_constant"):
        assert not faults_of(readings((5_000, 7, 3)), reference=made.baseline(**{kind: np.array([True])})).stuck.item()


# -- out of range ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "is_away"), [(300, False), (301, True), (-300, False), (-301, True)])
def test_a_mean_that_lies_further_outside_than_the_range_is_wide_is_out_of_range(value, is_away):
    place = 31 if value > 0 else 0
    assert faults_of(readings((60, value, place), steps=60)).out_of_range.item() == is_away
    classes = made.baseline(is_discrete=np.array([True]))
    assert not faults_of(readings((60, value, place), steps=60), reference=classes).out_of_range.item()


@pytest.mark.parametrize(("edge", "place"), [(2_000, 31), (-2_000, 0)])
def test_most_of_the_rows_must_lie_at_the_edge(edge, place):
    assert not faults_of(readings((30, edge, place), (30, 0, 16), steps=60)).out_of_range.item()
    assert faults_of(readings((31, edge, place), (29, 0, 16), steps=60)).out_of_range.item()
    assert not faults_of(readings((60, edge, 31 - place), steps=60)).out_of_range.item(), "at the other edge"


def test_fifty_values_are_needed_to_say_that_they_are_away():
    assert not faults_of(readings((49, 500, 31), missing=3, steps=60)).out_of_range.item()
    assert faults_of(readings((50, 500, 31), steps=60)).out_of_range.item()


@pytest.mark.parametrize(("elsewhere", "is_restless"), [(5, False), (6, True)])
def test_a_constant_is_restless_when_a_tenth_of_its_rows_lie_elsewhere(elsewhere, is_restless):
    constant = replace(shares(1.0), is_constant=np.array([True]), low=np.array([0.0]), high=np.array([0.0]))
    window = readings((60 - elsewhere, 0, 3), (elsewhere, 9, 20), steps=60)
    assert faults_of(window, reference=constant).out_of_range.item() == is_restless


def test_what_rounding_moves_a_constant_by_is_no_restlessness():
    """It falls into the next bin, and less than a step of the grid away."""
    constant = replace(shares(1.0), is_constant=np.array([True]))
    for value, is_restless in ((0, False), (1, True)):
        assert faults_of(readings((60, value, 4)), reference=constant).out_of_range.item() == is_restless
