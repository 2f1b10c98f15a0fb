"""How far confidence is off: nothing for a model that knows itself, the gap for one that does not."""

import numpy as np
import pytest

from edgeops.learning.calibration import calibration_error


def answers(rows, *, boast, seed=0):
    """Confidences, and answers that are right less often by `boast`."""
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.5, 1.0, rows)
    return confidence.astype(np.float32), random.random(rows) < confidence - boast


def test_a_model_that_knows_itself_is_off_by_nothing_however_few_rows_there_are():
    found = [calibration_error(*answers(200, boast=0.0, seed=seed)) for seed in range(200)]
    assert np.mean([one.error**2 for one in found]) < 0.05**2
    assert np.mean([one.low == 0 for one in found]) > 0.85


@pytest.mark.parametrize("rows", [200, 2_000])
def test_a_model_that_boasts_is_off_by_as_much_as_it_boasts(rows):
    found = [calibration_error(*answers(rows, boast=0.3, seed=seed)) for seed in range(100)]
    assert np.mean([one.error for one in found]) == pytest.approx(0.3, abs=0.01)
    assert np.mean([one.low <= 0.3 <= one.high for one in found]) >= 0.85
    assert all(one.rows == rows for one in found)


def test_answers_without_a_confidence_do_not_count_and_too_few_say_nothing():
    confidence, right = answers(100, boast=0.0)
    confidence[:90] = np.nan
    assert calibration_error(confidence, right) is None


def test_a_model_without_a_mistake_is_not_certain_to_be_calibrated():
    found = calibration_error(np.full(40, 0.99, np.float32), np.ones(40, bool))
    assert found.low == 0
    assert found.error <= 0.01 < found.high
