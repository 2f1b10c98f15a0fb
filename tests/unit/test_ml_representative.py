"""The inputs that int8 takes its ranges from: repeatable, and wide enough."""

import numpy as np
import pytest

from fleet_server.ml.representative import INPUTS, LEAST_COVERAGE, choose, representative_of


def rows_of(count, *, seed=1):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 4)).astype(np.float32), random.integers(0, 3, size=count)


def chosen(inputs, targets, bought=None, *, seed=0):
    return choose(inputs, targets, np.zeros(len(inputs), bool) if bought is None else bought, seed=seed)


def test_the_same_seed_chooses_the_same_inputs():
    inputs, targets = rows_of(2_000)
    assert np.array_equal(chosen(inputs, targets).inputs, chosen(inputs, targets).inputs)
    assert not np.array_equal(chosen(inputs, targets).inputs, chosen(inputs, targets, seed=1).inputs)


def test_few_rows_are_all_chosen_and_cover_everything():
    inputs, targets = rows_of(50)
    representative = chosen(inputs, targets)
    assert (len(representative.inputs), representative.coverage) == (50, 1.0)
    assert "50 inputs, between which at least 100.0%" in representative.words


def test_of_bought_rows_up_to_half_are_chosen():
    inputs, targets = rows_of(2_000)
    bought = np.arange(len(inputs)) >= 1_000
    inputs[bought] += 100
    picked = chosen(inputs, targets, bought).inputs
    assert np.count_nonzero(picked[:, 0] > 50) == INPUTS // 2


def test_of_numbers_the_lowest_and_the_highest_are_among_them():
    inputs, targets = rows_of(2_000)
    inputs[:, 0] = targets = np.linspace(-1, 1, len(inputs), dtype=np.float32)
    picked = chosen(inputs, targets).inputs
    assert (picked[0, 0], picked[-1, 0]) == (-1, 1)


@pytest.mark.parametrize("share", [0.06, 0.2])
def test_a_column_that_chance_left_out_is_covered(share):
    inputs, _ = rows_of(4_000)
    is_far = np.arange(len(inputs)) < share * len(inputs)
    inputs[is_far, 2] = 50
    # Evenly chosen by a number that has nothing to do with that column, far rows stand together at its end.
    numbers = np.where(is_far, np.float32(0), np.arange(len(inputs), dtype=np.float32))
    representative = chosen(inputs, numbers.astype(np.float32))
    assert representative.coverage >= LEAST_COVERAGE


def test_a_column_that_stays_outside_is_told_and_added():
    inputs, _ = rows_of(4_000)
    numbers = np.arange(len(inputs), dtype=np.float32)
    # Every input that is chosen evenly has the same value, all between them another.
    ranks = np.linspace(0, len(inputs) - 1, num=INPUTS, dtype=np.int64)
    inputs[:, 3] = 9.0
    inputs[ranks, 3] = 0.0
    representative = chosen(inputs, numbers)
    assert len(representative.inputs) > INPUTS
    assert representative.coverage > 0.98


def test_inputs_that_cover_too_little_are_warned_of():
    inputs, _ = rows_of(1_000)
    narrow = representative_of(inputs[np.abs(inputs).max(axis=1) < 1], inputs)
    (warning,) = narrow.warnings
    assert f"between which {narrow.coverage:.1%} of the values" in warning
    assert representative_of(inputs[:500], inputs).warnings == ()


def test_images_are_chosen_as_they_are():
    inputs = np.arange(20 * 16, dtype=np.float32).reshape(20, 4, 4, 1)
    assert chosen(inputs, np.zeros(20, np.int64)).inputs.shape == (20, 4, 4, 1)
