"""The promotion gate of regressions: for every rule a model that fails it, and one that barely passes."""

from dataclasses import replace

import numpy as np
import pytest

from edgeops import limits
from edgeops.artifact.manifest import Budgets
from edgeops.learning.promotion import Champion, Measured
from edgeops.learning.promotion_policy import PromotionPolicy
from edgeops.learning.regression import estimates_of
from edgeops.learning.regression_promotion import RULES, Candidate, promote

ROWS = 400
TRUTHS = np.random.default_rng(0).uniform(0, 400, ROWS)  # the median errs by about 100
NOISE = np.random.default_rng(1).normal(size=ROWS)
MEASURED = Measured(size_bytes=60_000, memory_bytes=2**20, p95_latency_ms=0.1)
BUDGETS = Budgets(p95_latency_ms=10.0, memory_bytes=2**25)


def answers(off, rows=slice(None)):
    """So far off, in ppm, row by row."""
    return estimates_of(TRUTHS[rows], (TRUTHS + off)[rows], median=200.0)


def champion(off, *, seen=0):
    return Champion(answers=answers(off), challenger=answers(10 * NOISE), seen=seen)


GOOD = Candidate(
    units="ppm",
    evaluation=answers(10 * NOISE),
    float32=answers(10 * NOISE),
    champion=champion(10 * NOISE),
    is_brought=False,
    slices=(),
    columns=(),
    measured=MEASURED,
    budgets=BUDGETS,
    policy=PromotionPolicy(),
)
FIRST = replace(GOOD, champion=None)


def alike(candidate, estimates):
    """The candidate with other answers, which quantizing did not change."""
    champion = candidate.champion and replace(candidate.champion, challenger=estimates)
    return replace(candidate, evaluation=estimates, float32=estimates, champion=champion)


def failures(candidate):
    promotion = promote(candidate)
    failed = [rule.reason for rule in promotion.rules if not rule.passed]
    assert promotion.passed is not bool(failed)
    return failed


def test_a_good_model_passes_and_says_its_errors_in_units():
    promotion = promote(GOOD)
    assert promotion.passed, promotion.rules
    assert promotion.unseen_rows == ROWS
    assert [rule.name for rule in promotion.rules] == list(RULES)
    assert promotion.rules[0].reason.startswith("mean error 7.14")
    assert "ppm of always answering the median" in promotion.rules[0].reason
    assert promote(FIRST).passed


# -- the baseline


def test_a_model_that_knows_nothing_fails():
    guess = estimates_of(TRUTHS, np.random.default_rng(2).permutation(TRUTHS), median=200.0)
    assert failures(alike(FIRST, guess))[0].startswith("mean error")


def test_a_model_whose_gain_may_be_luck_fails():
    barely = estimates_of(TRUTHS, 200 + 0.02 * (TRUTHS - 200) + 30 * NOISE, median=200.0)
    [failed] = failures(alike(FIRST, barely))
    assert "which may be luck" in failed


def test_a_model_that_refuses_half_of_the_rows_fails():
    refusing = estimates_of(TRUTHS, np.where(np.arange(ROWS) % 2, TRUTHS, np.nan), median=200.0)
    assert failures(alike(FIRST, refusing))


# -- the champion


def test_a_certain_loss_beyond_the_margin_fails():
    [failed] = failures(alike(GOOD, answers(13 * NOISE)))
    assert "against the champion's 7.14" in failed
    assert "1 point of skill may be lost" in failed


def test_a_certain_loss_within_the_margin_passes():
    assert not failures(alike(GOOD, answers(11 * NOISE)))


def test_a_loss_beyond_the_margin_that_may_be_luck_passes():
    few = slice(0, 30)
    other = np.random.default_rng(12).normal(size=ROWS)
    old, new = answers(10 * NOISE, few), answers(10.5 * other, few)
    assert new.mae - old.mae > 0.01 * new.baseline
    assert not failures(alike(replace(GOOD, champion=Champion(answers=old, challenger=new)), new))


def test_a_loss_of_more_than_five_points_fails_however_few_rows_there_are():
    few = slice(0, 8)
    off = np.where(np.arange(ROWS) == 0, 70.0, 0.0)
    old, new = answers(0 * NOISE, few), answers(off, few)
    [failed] = failures(alike(replace(GOOD, champion=Champion(answers=old, challenger=new)), new))
    assert "5 points if that may be luck" in failed


def test_a_champion_that_may_have_learnt_from_the_rows_is_told_of():
    rules = promote(replace(GOOD, champion=champion(10 * NOISE, seen=7))).rules
    assert "the champion may have learnt from 7 of them" in rules[2].reason


# -- slices


def test_a_first_model_that_never_answers_high_values_fails_although_the_whole_looks_fair():
    blind = estimates_of(TRUTHS, np.where(TRUTHS > 330, 100.0, TRUTHS), median=200.0)
    [failed] = failures(alike(FIRST, blind))
    assert failed.startswith("values that collapsed: 331.9 to 398.9 ppm")
    assert "always answering the median" in failed


def test_a_weak_model_that_leans_to_the_middle_everywhere_passes():
    weak = estimates_of(TRUTHS, 200 + 0.3 * (TRUTHS - 200) + 40 * NOISE, median=200.0)
    assert not failures(alike(FIRST, weak))


def test_a_slice_that_is_answered_much_worse_than_by_the_champion_fails():
    worse = np.where(TRUTHS < 80, 25.0, 5 * NOISE)
    [failed] = failures(alike(GOOD, answers(worse)))
    assert "values that collapsed" in failed
    assert "the champion" in failed


def test_a_slice_of_few_rows_says_nothing():
    few = slice(0, 40)
    off = np.where(TRUTHS > 390, -390.0, 0.0)
    assert not [one for one in failures(alike(FIRST, answers(off, few))) if "collapsed" in one]


# -- the file


def test_a_file_that_quantizing_harmed_fails():
    lossy = replace(FIRST, evaluation=answers(10 * NOISE + 6 * np.sign(NOISE)))
    [failed] = failures(lossy)
    assert failed.startswith("mean error added to that of float32: 6 ppm")


def test_a_quantizing_loss_of_less_than_a_point_passes():
    assert not failures(replace(FIRST, evaluation=answers(10 * NOISE + 0.9 * np.sign(NOISE))))


@pytest.mark.parametrize(
    "measured",
    [
        replace(MEASURED, p95_latency_ms=10.1),
        replace(MEASURED, memory_bytes=2**25 + 1),
        replace(MEASURED, size_bytes=limits.MAX_ARTIFACT_BYTES + 1),
    ],
)
def test_a_file_beyond_its_budgets_fails(measured):
    [failed] = failures(replace(GOOD, measured=measured))
    assert "p95" in failed


def test_a_model_less_exact_than_somebody_asked_for_fails():
    assert not failures(replace(FIRST, policy=PromotionPolicy(most_error=8.0)))
    [failed] = failures(replace(FIRST, policy=PromotionPolicy(most_error=7.0)))
    assert failed == "mean error 7.142 ppm in the 400 rows of the evaluation set, of 7 ppm that may be made"


def test_of_a_file_that_was_brought_nobody_claims_that_it_never_saw_the_rows():
    reason = promote(replace(FIRST, is_brought=True)).rules[0].reason
    assert "of which nobody here knows whether it saw them" in reason
    assert "which it never saw" not in reason
