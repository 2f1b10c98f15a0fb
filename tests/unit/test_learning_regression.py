"""Figures of estimates, and whether two models' errors differ by more than luck."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.learning.regression import against_baseline, compare, estimates_of, mean_bounds, slices

NAN = float("nan")


def estimates(truths, answers, median=2.0):
    return estimates_of(np.array(truths, float), np.array(answers, float), median=median)


def test_figures_are_those_of_the_errors_in_units():
    one = estimates([1, 2, 3, 6], [2, 2, 1, 7])
    assert one.errors.tolist() == [1, 0, 2, 1]
    assert one.mae == pytest.approx(1.0)
    assert one.median_error == pytest.approx(1.0)
    assert one.rmse == pytest.approx(np.sqrt(6 / 4))
    assert one.bias == pytest.approx(0.0)
    assert one.baseline == pytest.approx((1 + 0 + 1 + 4) / 4)
    assert one.skill == pytest.approx(1 - 1 / 1.5)
    assert one.r2 == pytest.approx(1 - 1.5 / np.var([1, 2, 3, 6]))


def test_the_figures_of_a_manifest_have_names():
    random = np.random.default_rng(0)
    truths = random.normal(size=300)
    figures = estimates(truths, truths + random.normal(size=300), median=0.0).figures()
    assert figures["rows"] == 300
    assert set(figures) >= {"median-error", "rmse", "r2", "bias", "baseline-mae", "refused"}


def test_a_refused_row_counts_as_the_worst_error_of_model_or_median():
    of_the_model = estimates([1, 2, 3], [9, NAN, 3])
    assert of_the_model.errors.tolist() == [8, 8, 0]
    of_the_median = estimates([1, 2, 30], [1, NAN, 30])
    assert of_the_median.errors.tolist() == [0, 28, 0]
    assert of_the_median.refused == 1
    assert of_the_median.bias == 0.0


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.data())
def test_refusing_a_row_never_lowers_the_mean_error(truths, data):
    answers = [data.draw(st.floats(-200, 200)) for _ in truths]
    refused = [NAN, *answers[1:]]
    whole, less = estimates(truths, answers), estimates(truths, refused)
    if whole.errors[0] <= less.errors[0]:
        assert less.mae >= whole.mae - 1e-9
    else:  # the one row was worse than all others: then it counts as the next worst, or as the median's worst
        assert less.errors[0] >= less.errors[1:].max()


def test_a_model_that_refuses_everything_is_no_better_than_the_median():
    nothing = estimates([1, 2, 30], [NAN, NAN, NAN])
    assert nothing.mae >= nothing.baseline
    assert nothing.skill <= 0


def test_targets_that_do_not_vary_have_nothing_to_explain():
    constant = estimates([2, 2], [2, 3])
    assert (constant.r2, constant.skill) == (0.0, 0.0)


def test_the_bounds_hold_as_often_as_they_say():
    random = np.random.default_rng(1)
    held = []
    for _ in range(300):
        low, high = mean_bounds(random.exponential(size=60), outside=0.025)
        held.append(low <= 1.0 <= high)
    assert 0.89 <= np.mean(held) <= 0.98


def test_the_same_values_give_the_same_bounds():
    values = np.random.default_rng(2).normal(size=5_000)
    assert mean_bounds(values, outside=0.05) == mean_bounds(values, outside=0.05)


def test_pairs_are_told_apart_although_rows_differ_far_more_than_the_models():
    random = np.random.default_rng(3)
    truths = random.normal(size=200) * 100
    noise = random.exponential(size=200) * 50
    old, new = estimates(truths, truths + noise), estimates(truths, truths + noise + 1)
    pair = compare(old, new)
    assert pair.loss == pytest.approx(1.0)
    assert pair.is_worse
    assert compare(new, old).is_better
    assert not compare(old, old).is_worse


def test_the_median_is_beaten_only_with_certainty():
    truths = np.arange(100.0)
    assert against_baseline(estimates(truths, truths, median=50)).is_better
    guess = estimates(truths, np.random.default_rng(4).permutation(truths), median=50)
    assert not against_baseline(guess).is_better


def test_equal_truths_share_a_slice_and_slices_ascend():
    truths = np.array([1, 1, 1, 1, 1, 1, 2, 3, 4, 5.0])
    found = slices(truths, 5)
    assert len(set(found[:6].tolist())) == 1
    assert (np.diff(found) >= 0).all()
    assert found.max() == 4
    assert np.bincount(slices(np.arange(100.0), 5)).tolist() == [20] * 5
