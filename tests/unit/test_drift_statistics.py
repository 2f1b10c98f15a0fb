"""The statistics behind verdicts against what their sources say, number by number."""

import math

import numpy as np
import pytest

from edgeops.drift.statistics import (
    beyond_chance,
    cumulative,
    effective_rows,
    harmonic_mean,
    holm,
    ks_distance,
    ks_p_value,
    lag1,
    p_values,
    rank_p_value,
    rank_shift,
    without_the_strongest,
)


def one(value):
    return np.array([float(value)])


# -- autocorrelation ------------------------------------------------------------------------


def lag_of(values, **options):
    values = np.array(values, float)
    return lag1(
        one(len(values)), one(values.sum()), one((values**2).sum()),
        pairs=one(len(values) - 1), steps=one((np.diff(values) ** 2).sum()), **options,
    ).item()  # fmt: skip


def test_lag_1_is_one_less_half_of_the_mean_squared_step_over_the_variance():
    values = [1.0, 2.0, 4.0, 3.0, 6.0]
    expected = 1 - np.mean(np.diff(values) ** 2) / (2 * np.var(values))
    assert lag_of(values) == pytest.approx(expected)
    assert 0 < expected < 1


def test_lag_1_stays_between_minus_one_and_one():
    assert lag_of([0, 9, 0, 9, 0, 9]) == pytest.approx(1 - 81 / (2 * 20.25))
    assert lag_of([0.0] * 9 + [1.0]) > 0
    assert lag_of([0, 1] * 2, least_variance=0.0) == -1.0
    assert lag_of([0, 1]) == -1.0
    assert lag_of([0, 1, 0]) == -1.0, "the ratio is 2.25"


def test_a_variance_that_is_known_to_be_larger_counts():
    values = [1.0, 2.0, 1.0, 2.0]
    assert lag_of(values, least_variance=4.0) == pytest.approx(1 - 1 / (2 * 4.0))
    assert lag_of(values, least_variance=0.1) == lag_of(values)


def test_lag_1_is_0_where_nothing_varies_or_follows():
    assert lag_of([3.0, 3.0, 3.0]) == 0.0
    assert lag1(one(2), one(3), one(5), pairs=one(0), steps=one(0)).item() == 0.0
    assert lag1(one(0), one(0), one(0), pairs=one(0), steps=one(0)).item() == 0.0


@pytest.mark.parametrize(("r", "worth"), [(0.0, 100.0), (0.5, 100 / 3), (0.9, 100 / 19), (1.0, 0.0), (-0.5, 100.0)])
def test_rows_of_an_autocorrelated_process_are_worth_fewer(r, worth):
    assert effective_rows(one(100), one(r)).item() == pytest.approx(worth)


def test_autocorrelation_within_two_standard_errors_is_chance():
    lags, rows = np.array([0.5, 0.5, -0.5, 0.2]), np.array([16.0, 15.0, 16.0, 99.0])
    assert beyond_chance(lags, rows).tolist() == [0.5, 0.0, -0.5, 0.0]


# -- distances ------------------------------------------------------------------------------


def test_cumulative_shares_end_at_one_and_an_empty_histogram_has_none():
    counts = np.zeros((3, 32))
    counts[0, [0, 31]] = 1, 3
    counts[2, 5] = 0.5
    shares = cumulative(counts)
    assert shares[0].tolist() == [0.25] * 31 + [1.0]
    assert shares[1].tolist() == [0.0] * 32
    assert shares[2].tolist() == [0.0] * 5 + [1.0] * 27


def test_the_distance_is_the_largest_in_either_direction():
    first, second = np.zeros((2, 32)), np.zeros((2, 32))
    first[0, 3], second[0, [3, 7]] = 0.7, 0.3
    first[1, 3], second[1, [3, 7]] = 0.1, (0.2, 0.6)
    assert ks_distance(first, second).tolist() == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize(
    ("x", "probability"), [(0.5, 0.9639452), (1.0, 0.2699997), (1.36, 0.0494859), (2.0, 0.0006709)]
)
def test_kolmogorovs_probability_is_that_of_the_tables(x, probability):
    # D sqrt(nm / (n + m)) with n = 50 and m = 200 is D sqrt(40).
    distance = one(x / math.sqrt(40))
    assert ks_p_value(distance, one(50), one(200)).item() == pytest.approx(probability, abs=1e-7)


def test_a_small_distance_or_an_empty_sample_is_no_evidence():
    assert ks_p_value(one(0.3 / math.sqrt(40)), one(50), one(200)).item() == 1.0
    assert ks_p_value(one(0.31 / math.sqrt(40)), one(50), one(200)).item() == pytest.approx(1.0, abs=1e-4)
    assert ks_p_value(one(1), one(0), one(200)).item() == 1.0
    assert ks_p_value(one(1), one(50), one(0)).item() == 1.0
    assert ks_p_value(one(1), one(0), one(0)).item() == 1.0


def shares_of(*bins):
    counts = np.zeros(32)
    for place in bins:
        counts[place] += 1
    return cumulative(counts)


def test_the_rank_shift_is_the_chance_to_exceed_less_the_reverse_halved():
    reference = shares_of(10, 11, 12, 13)
    assert rank_shift(shares_of(20), reference) == pytest.approx(0.5)
    assert rank_shift(shares_of(2), reference) == pytest.approx(-0.5)
    assert rank_shift(reference, reference) == pytest.approx(0.0)
    # 12 exceeds two of four, equals one, is exceeded by one: (2 - 1) / 4 / 2.
    assert rank_shift(shares_of(12), reference) == pytest.approx(0.125)
    assert rank_shift(np.zeros(32), reference) == pytest.approx(0.0)
    # Of even bins, the lowest equals one of 32 and is exceeded by all others.
    assert rank_shift(shares_of(0), shares_of(*range(32))) == pytest.approx(-31 / 64)


def test_the_rank_probability_bounds_the_normal_tail_from_above():
    n, m = one(30), one(60)
    for shift in (0.1, -0.1, 0.2, 0.3):
        z = abs(shift) * math.sqrt(12 * 20)
        exact = math.erfc(z / math.sqrt(2))
        bound = rank_p_value(one(shift), n, m).item()
        assert exact <= bound <= 1.06 * exact
        assert bound == pytest.approx(
            8 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (3 * z + math.sqrt(z * z + 8))
        )
    assert rank_p_value(one(0), n, m).item() == 1.0
    assert rank_p_value(one(0.5), one(0), m).item() == 1.0
    assert rank_p_value(one(0.5), one(0), one(0)).item() == 1.0


def test_both_tests_stand_side_by_side():
    shares, reference = shares_of(12), shares_of(10, 11, 12, 13)
    n, m = np.array(30.0), np.array(60.0)
    both = p_values(shares, reference, n, m)
    assert both.tolist() == [
        ks_p_value(ks_distance(shares, reference), n, m).item(),
        rank_p_value(rank_shift(shares, reference), n, m).item(),
    ]


# -- many tests at once ---------------------------------------------------------------------


def test_holm_raises_the_smallest_by_all_tests_and_the_next_by_one_less():
    assert holm(np.array([0.01, 0.04, 0.03, 0.2])).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert holm(np.array([[0.6, 0.7], [0.6, 0.001]])).tolist() == [[1.0, 1.0], [0.6, 0.002]]


def test_the_harmonic_mean_is_led_by_the_small_ones():
    assert harmonic_mean(np.array([0.01, 0.04])).item() == pytest.approx(2 / (100 + 25))
    assert harmonic_mean(np.array([0.2, 0.2, 0.2])).item() == pytest.approx(0.2)
    assert harmonic_mean(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist() == pytest.approx([1.0, 0.0])


def test_without_the_strongest_two_other_voices_are_fishers_sum():
    p = np.array([1e-9, 0.02, 0.05])
    x = -math.log(0.02 * 0.05)
    assert without_the_strongest(p, np.array(0.0)).item() == pytest.approx(math.exp(-x) * (1 + x))
    assert without_the_strongest(p[::-1], np.array(0.0)).item() == pytest.approx(math.exp(-x) * (1 + x))


def test_four_other_voices_are_the_tail_of_a_gamma_distribution():
    p = np.array([1e-9, 0.1, 0.2, 0.3, 0.4])
    x = -math.log(0.1 * 0.2 * 0.3 * 0.4)
    tail = math.exp(-x) * (1 + x + x**2 / 2 + x**3 / 6)
    assert without_the_strongest(p, np.array(0.0)).item() == pytest.approx(tail)


def test_voices_that_say_the_same_count_as_one():
    p = np.array([1e-9, 0.02, 0.05])
    assert without_the_strongest(p, np.array(1.0)).item() == pytest.approx(math.sqrt(0.02 * 0.05))


def test_voices_that_are_correlated_count_as_fewer_rounded_up():
    # Three others of correlation 1/4 are worth 3 / 1.5 = 2 independent ones.
    p = np.array([1e-9, 0.02, 0.05, 0.1])
    x = -math.log(0.02 * 0.05 * 0.1) * 2 / 3
    assert without_the_strongest(p, np.array(0.25)).item() == pytest.approx(math.exp(-x) * (1 + x))


def test_two_voices_rest_on_the_weaker_one():
    assert without_the_strongest(np.array([1e-12, 0.3]), np.array(0.0)).item() == pytest.approx(0.3)


def test_each_channel_leaves_out_its_own_strongest_voice():
    p = np.array([[1e-9, 0.3], [0.2, 1e-9]])
    assert without_the_strongest(p, np.array([0.0, 0.0])).tolist() == pytest.approx([0.2, 0.3])


def test_impossible_evidence_stays_a_number():
    assert without_the_strongest(np.zeros((3, 1)), np.zeros(1)).item() == pytest.approx(0.0)
    assert np.isfinite(without_the_strongest(np.zeros((40, 1)), np.zeros(1))).all()
