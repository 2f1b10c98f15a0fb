"""Bounds hold what they claim to hold, also where rows of one group are alike."""

import numpy as np
import pytest

from edgeops.learning.intervals import cost_bounds, share_bounds


def test_a_share_lies_within_the_interval_of_wilson():
    # Newcombe 1998, table I: 81 of 263, and 1 of 29.
    assert share_bounds(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert share_bounds(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert share_bounds(0, 20)[0] == 0
    assert share_bounds(20, 20)[1] == 1


def test_rows_of_alike_groups_say_less_than_as_many_rows_by_themselves():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 100)
    costs = (random.random(800) < random.uniform(0.0, 0.6, 8)[groups]).astype(float)
    alone, grouped = cost_bounds(costs), cost_bounds(costs, groups)
    assert grouped[0] < alone[0] < costs.mean() < alone[1] < grouped[1]
    dealt = cost_bounds(costs, random.permutation(groups))
    assert dealt[1] - dealt[0] < 1.5 * (alone[1] - alone[0])


def test_the_interval_of_groups_holds_the_mean_of_all_groups_about_as_often_as_it_claims():
    random = np.random.default_rng(1)
    held = {"groups": 0, "rows": 0}
    for _ in range(300):
        groups = np.repeat(np.arange(10), 40)
        costs = (random.random(400) < random.beta(2, 6, 10)[groups]).astype(float)
        for name, clusters in (("groups", groups), ("rows", None)):
            low, high = cost_bounds(costs, clusters)
            held[name] += low <= 0.25 <= high
    assert held["groups"] >= 0.90 * 300
    assert held["rows"] < 0.65 * 300


def test_a_single_group_says_no_more_than_its_rows():
    costs = np.array([0.0, 1.0] * 30)
    assert cost_bounds(costs, np.zeros(60, np.int64)) == cost_bounds(costs)


def test_errors_in_units_have_bounds_beyond_one():
    low, high = cost_bounds(np.array([3.0, 4.0, 5.0] * 30), np.repeat([0, 1, 2], 30))
    assert low < 4 < high
