"""Half-widths that hold nine truths of ten, wherever the answer lies."""

import numpy as np
import pytest

from edgeops.errors import ArtifactError
from edgeops.sketch.intervals import Held, fit_half_widths, measured_coverage
from edgeops.sketch.learnt import build_reference, with_intervals

TRAINED_ON = np.random.default_rng(0).uniform(0, 100, 5_000).astype(np.float32)[:, np.newaxis]
PROFILE = build_reference(TRAINED_ON, ["answer"], discrete=())
EDGES = PROFILE.grid.edges[0]


def held(rows, *, seed=1):
    """Answers whose errors grow with them."""
    random = np.random.default_rng(seed)
    answers = random.uniform(0, 100, rows)
    return Held(answers=answers, errors=np.abs(random.normal(size=rows)) * answers / 10)


def widths_at(fitted, answers):
    return fitted[EDGES.searchsorted(answers.astype(np.float32), side="right")]


@pytest.mark.parametrize("rows", [9, 40, 400, 4_000])
def test_nine_of_ten_further_truths_lie_within(rows):
    shares = []
    for seed in range(60):
        fitted = fit_half_widths(held(rows, seed=seed), EDGES)
        fresh = held(2_000, seed=1_000 + seed)
        shares.append(np.mean(fresh.errors <= widths_at(fitted, fresh.answers)))
    assert 0.885 <= np.mean(shares) <= 0.96


def test_answers_that_err_more_have_wider_intervals():
    fitted = fit_half_widths(held(2_000), EDGES)
    assert fitted.shape == (32,)
    assert len(set(fitted.tolist())) == 8
    assert fitted[-1] > 4 * fitted[0]
    low, high = (np.array([value]) for value in (20.0, 95.0))
    fresh = held(20_000, seed=5)
    for answer in (low, high):
        near = np.abs(fresh.answers - answer) < 5
        assert np.mean(fresh.errors[near] <= widths_at(fitted, fresh.answers[near])) == pytest.approx(0.9, abs=0.06)


def test_few_rows_share_one_width_and_fewer_than_nine_have_none():
    assert len(set(fit_half_widths(held(50), EDGES).tolist())) == 1
    assert fit_half_widths(held(8), EDGES) is None


def test_where_hardly_any_answer_lies_the_width_of_all_holds():
    random = np.random.default_rng(3)
    low = Held(answers=random.uniform(0, 10, 400), errors=random.exponential(size=400))
    fitted = fit_half_widths(low, EDGES)
    assert fitted[-1] == pytest.approx(np.sort(low.errors)[int(np.ceil(0.9 * 401)) - 1], rel=1e-6)


def test_the_coverage_is_measured_on_rows_that_the_widths_do_not_know():
    share, width = measured_coverage(held(2_000), EDGES)
    assert share == pytest.approx(0.9, abs=0.03)
    assert width == pytest.approx(8.2, rel=0.15)
    assert measured_coverage(held(17), EDGES) is None


def test_a_refused_row_is_not_covered_and_widens_nothing():
    whole = held(400)
    refused = np.arange(400) < 100
    gaps = Held(answers=np.where(refused, np.nan, whole.answers), errors=np.where(refused, 1e9, whole.errors))
    share, width = measured_coverage(gaps, EDGES)
    assert share == pytest.approx(0.9 * 0.75, abs=0.03)
    assert width < 20


def test_a_profile_carries_them():
    profile = with_intervals(PROFILE, held(400), answer="answer")
    assert profile.half_widths().tolist() == fit_half_widths(held(400), EDGES).tolist()
    assert with_intervals(PROFILE, held(5), answer="answer") == PROFILE
    with pytest.raises(ArtifactError, match="no channel 'number'"):
        with_intervals(PROFILE, held(400), answer="number")
