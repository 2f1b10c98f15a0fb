"""The promotion gate: for every rule a model that fails it, and one that barely passes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops import limits
from edgeops.artifact.manifest import Budgets
from edgeops.learning.calibration import CalibrationError
from edgeops.learning.classification import Answers
from edgeops.learning.classification_promotion import (
    RULES,
    Candidate,
    LeftOut,
    Recent,
    Samples,
    may_be_suspect,
    promote,
)
from edgeops.learning.fragility import LostColumn
from edgeops.learning.promotion import Champion, Measured
from edgeops.learning.promotion_policy import PromotionPolicy
from edgeops.learning.slices import Slice

CLASSES = ("idle", "on", "worn")
MEASURED = Measured(size_bytes=60_000, memory_bytes=2**20, p95_latency_ms=0.1)
BUDGETS = Budgets(p95_latency_ms=10.0, memory_bytes=2**25)


def answers(wrong=(), *, rows=300):
    """All right but the rows of these numbers; classes alternate."""
    truths = np.arange(rows) % 3
    given = truths.copy()
    given[list(wrong)] = (given[list(wrong)] + 1) % 3
    return Answers(truths=truths, answers=given, classes=3)


def recent(*, champion, unseen, file, rows=60):
    """So many wrong answers each; who makes fewer makes the same ones."""
    return Recent(
        champion=answers(range(champion), rows=rows),
        unseen=answers(range(unseen), rows=rows),
        file=answers(range(file), rows=rows),
    )


def left_out(device, *, own=0, kept=0, without=0, rows=40, own_rows=20):
    return LeftOut(
        device=device,
        labels=own_rows,
        own=answers(range(own), rows=own_rows),
        kept=answers(range(kept), rows=rows),
        without=answers(range(without), rows=rows),
    )


def beside(old, new):
    return Champion(answers=old, challenger=new)


def challenged(new, old=None):
    """A healed candidate that answers so, which quantizing did not change."""
    return replace(HEALED, evaluation=new, float32=new, champion=beside(old or answers(range(6)), new))


HEALED = Candidate(
    classes=CLASSES,
    evaluation=answers(range(6)),
    float32=answers(range(6)),
    champion=beside(answers(range(6)), answers(range(6))),
    recent=recent(champion=20, unseen=4, file=0),
    samples=None,
    is_brought=False,
    left_out=(left_out("edge-1"), left_out("edge-2"), left_out("edge-3")),
    calibration=None,
    slices=(),
    columns=(),
    measured=MEASURED,
    budgets=BUDGETS,
    policy=PromotionPolicy(),
)
FIRST = replace(HEALED, champion=None, recent=None, left_out=())


def failures(candidate):
    promotion = promote(candidate)
    failed = [rule.reason for rule in promotion.rules if not rule.passed]
    assert promotion.passed is not bool(failed)
    return failed


def test_a_healed_model_passes_and_says_how_much_of_it_was_judged_blind():
    promotion = promote(HEALED)
    assert promotion.passed, promotion.rules
    assert promotion.unseen_rows == 300 + 60
    assert [rule.name for rule in promotion.rules] == list(RULES)
    assert all(rule.passed for rule in promotion.rules)


def test_a_first_model_is_compared_with_guessing():
    assert promote(FIRST).passed
    assert promote(FIRST).unseen_rows == 300
    guess = Answers(truths=np.repeat([0, 1], [15, 5]), answers=np.zeros(20, np.int64), classes=3)
    failed = failures(replace(FIRST, evaluation=guess, float32=guess))
    assert failed[0].startswith("accuracy 0.7500 against 0.7500 for the most frequent class")


# -- what it knew


def test_a_model_that_forgot_what_it_knew_fails():
    forgetful = answers(range(6 + 11))
    [failed] = failures(challenged(forgetful))
    assert "against the champion's 0.9800" in failed
    assert "lost 11, won 0" in failed


def test_a_loss_that_is_certain_but_within_a_point_passes():
    evaluation = answers(range(6 + 3))
    assert not failures(challenged(evaluation))


def test_a_loss_beyond_a_point_that_may_be_luck_passes():
    evaluation = answers([*range(4), *range(100, 107)])  # two rows won, seven lost: p .09
    assert not failures(challenged(evaluation))


def test_a_loss_of_more_than_five_points_fails_however_few_rows_there_are():
    few = {"rows": 30}
    evaluation, champion = answers(range(2), **few), answers(**few)
    [failed] = failures(challenged(evaluation, champion))
    assert "p 0.250" in failed


# -- what it shall heal


def test_a_model_no_better_on_recent_labels_fails():
    for unseen in (20, 25):
        [failed] = failures(replace(HEALED, recent=recent(champion=20, unseen=unseen, file=0)))
        assert f"of 60 labels bought since, {60 - unseen} are answered rightly" in failed


def test_a_file_that_does_not_heal_what_its_folds_did_fails():
    assert failures(replace(HEALED, recent=recent(champion=20, unseen=4, file=20)))


def test_a_champion_that_answers_nine_of_ten_rightly_need_not_be_beaten():
    assert not failures(replace(HEALED, recent=recent(champion=2, unseen=3, file=0)))
    assert failures(replace(HEALED, recent=recent(champion=2, unseen=12, file=0)))


def test_of_few_labels_a_model_must_not_be_proven_worse():
    assert not failures(replace(HEALED, recent=recent(champion=2, unseen=4, file=0, rows=10)))
    assert failures(replace(HEALED, recent=recent(champion=2, unseen=9, file=0, rows=10)))


# -- slices


def test_a_class_that_collapsed_fails_although_the_whole_looks_fair():
    rare = np.array([0] * 200 + [1] * 190 + [2] * 10)
    champion = Answers(truths=rare, answers=rare.copy(), classes=3)
    collapsed = Answers(truths=rare, answers=np.where(np.arange(400) >= 396, 0, rare), classes=3)
    assert not failures(challenged(collapsed, champion))
    collapsed = Answers(truths=rare, answers=np.where(np.arange(400) >= 394, 0, rare), classes=3)
    failed = failures(challenged(collapsed, champion))
    assert "classes that collapsed: worn (4 of 10 rows found, the champion 10)" in failed


def test_a_first_model_that_never_finds_a_class_fails():
    truths = np.arange(300) % 3
    blind = Answers(truths=truths, answers=np.where(truths == 2, 0, truths), classes=3)
    failed = failures(replace(FIRST, evaluation=blind, float32=blind))
    assert failed == ["classes that collapsed: worn (none of 100 rows found)"]


def test_a_class_without_a_row_says_nothing():
    truths = np.arange(300) % 2
    seen = Answers(truths=truths, answers=truths, classes=3)
    assert promote(replace(FIRST, evaluation=seen, float32=seen)).passed


# -- the file


def test_a_file_that_quantizing_harmed_fails():
    lossy = answers(range(6 + 6))
    failed = failures(replace(FIRST, evaluation=lossy, float32=answers(range(6))))
    assert failed[0].startswith("accuracy lost against float32: 2.00 points")


def test_a_file_that_lost_one_rare_class_fails_though_the_whole_hardly_suffers():
    """Ten of 3,000 rows are of the rare class; float32 finds all of them, the file two."""
    truths = np.where(np.arange(3_000) < 10, 2, np.arange(3_000) % 2)
    whole = Answers(truths=truths, answers=truths.copy(), classes=3)
    given = truths.copy()
    given[:8] = 0
    lossy = replace(FIRST, evaluation=Answers(truths=truths, answers=given, classes=3), float32=whole)
    (failed,) = failures(lossy)
    assert "accuracy lost against float32: 0.27 points" in failed
    assert failed.endswith("certainly found less often by more than 10 points: worn")


def test_the_class_that_quantizing_costs_most_is_told():
    reason = ruling(
        replace(FIRST, evaluation=answers([0, 1, 2, 5]), float32=answers([0])), "survives-quantizing"
    ).reason
    assert reason.endswith("of the classes worn loses most: 2.00 points of recall, in 100 rows")


def test_a_loss_that_is_certainly_small_passes():
    rows = 20_000
    lossy = answers(range(240), rows=rows)
    assert not failures(replace(FIRST, evaluation=lossy, float32=answers(rows=rows)))


@pytest.mark.parametrize(
    "measured",
    [
        replace(MEASURED, p95_latency_ms=10.1),
        replace(MEASURED, memory_bytes=2**25 + 1),
        replace(MEASURED, size_bytes=limits.MAX_ARTIFACT_BYTES + 1),
    ],
)
def test_a_file_beyond_its_budgets_fails(measured):
    [failed] = failures(replace(HEALED, measured=measured))
    assert "p95" in failed


# -- what somebody asked for, and what confidence is worth


def test_a_model_less_accurate_than_somebody_asked_for_fails():
    assert not failures(replace(FIRST, policy=PromotionPolicy(least_accuracy=0.98)))
    [failed] = failures(replace(FIRST, policy=PromotionPolicy(least_accuracy=0.99)))
    assert failed == "accuracy 0.9800 on the 300 rows of the evaluation set, of 0.99 that is asked for"


def test_a_model_that_boasts_fails_unless_that_may_be_luck():
    boasts = CalibrationError(error=0.3, low=0.2, high=0.4, rows=300)
    [failed] = failures(replace(FIRST, calibration=boasts))
    assert "confidences are off by 0.300 in 300 answers, with 95 % certainty by 0.200 at least" in failed
    assert not failures(replace(FIRST, calibration=replace(boasts, low=0.1)))


def test_a_model_that_serves_a_person_worse_or_hangs_on_a_column_fails_where_somebody_set_a_limit():
    slices = (Slice(name="ann", rows=50, cost=0.4, low=0.3, high=0.5, is_judged=True),)
    columns = (LostColumn(column="flow", missing=None, stuck=0.5),)
    candidate = replace(FIRST, slices=slices, columns=columns)
    assert not failures(candidate)
    assert len(failures(replace(candidate, policy=PromotionPolicy(group_loss=0.2, channel_loss=0.2)))) == 2


def test_a_limit_decides_what_may_be_lost():
    forgetful = challenged(answers(range(6 + 11)))
    assert not failures(replace(forgetful, policy=PromotionPolicy(tolerated_loss=0.05)))
    [rule] = [rule for rule in promote(forgetful).rules if not rule.passed]
    assert rule.name == "keeps-what-it-knew"
    assert rule.measured["loss"] == pytest.approx(11 / 300, abs=1e-6)
    assert rule.limits["tolerated-loss"] == 0.01


# -- devices


def test_a_device_that_harms_the_others_fails_the_model_and_is_named():
    liar = left_out("edge-2", kept=12, without=1)
    [failed] = failures(replace(HEALED, left_out=(HEALED.left_out[0], liar, HEALED.left_out[2])))
    assert "without the 20 labels of edge-2, 39 of the others' 40 are answered rightly, with them 28" in failed
    assert "--without" in failed


def test_a_device_that_contradicts_the_others_fails_the_model_and_is_named():
    liar = left_out("edge-3", own=18, kept=3, without=3)
    [failed] = failures(replace(HEALED, left_out=(*HEALED.left_out[:2], liar)))
    assert (
        "edge-3 contradicts the others: 2 of its 20 labels are answered rightly, of the others' 40 it is 37" in failed
    )


def test_a_device_with_a_hard_life_is_left_alone():
    assert not failures(replace(HEALED, left_out=(left_out("edge-1", own=7, kept=4, without=3), *HEALED.left_out[1:])))


def test_three_labels_are_not_enough_to_accuse_a_device():
    small = left_out("edge-1", own=3, own_rows=3, kept=1, without=1, rows=7)
    assert not failures(replace(HEALED, left_out=(small, *HEALED.left_out[1:])))


def test_two_devices_cannot_be_told_apart():
    promotion = promote(replace(HEALED, left_out=()))
    assert promotion.passed
    assert "fewer than three devices" in promotion.rules[-1].reason


def test_a_device_is_left_out_only_where_that_could_speak_against_it():
    nearly_all = answers(range(1), rows=40)
    assert not may_be_suspect(nearly_all, nearly_all)
    assert may_be_suspect(nearly_all, answers(range(2), rows=40))
    assert may_be_suspect(answers(range(12), rows=40), nearly_all)
    spared = replace(left_out("edge-1"), without=None)
    assert not failures(replace(HEALED, left_out=(spared, *HEALED.left_out[1:])))


@given(st.integers(0, 20), st.integers(0, 40), st.integers(0, 40))
def test_who_was_spared_could_not_have_been_accused(own, kept, without):
    one = left_out("edge-1", own=own, kept=kept, without=without)
    if not may_be_suspect(one.own, one.kept):
        assert not failures(replace(HEALED, left_out=(one, *HEALED.left_out[1:])))


def sampled(*, wrong=0, champion=None, learnt=0, rows=60):
    """Samples of three devices that people labelled, the first `learnt` of which the champion knows."""
    return Samples(
        answers=answers(range(rows - wrong, rows), rows=rows),
        devices=np.arange(rows) % 3,
        champion=None if champion is None else answers(range(rows - champion, rows), rows=rows),
        unseen=np.arange(rows) >= learnt,
    )


def ruling(candidate, name):
    return next(one for one in promote(candidate).rules if one.name == name)


def test_a_candidate_is_judged_on_labels_of_samples_that_it_did_not_learn_from():
    rule = ruling(replace(FIRST, samples=sampled(wrong=15)), "answers-recent-labels")
    assert rule.passed
    assert rule.reason.startswith("accuracy 0.7500 (with 95 % certainty 0.")
    assert "on 60 samples of 3 devices that people labelled, which it never saw" in rule.reason
    assert rule.measured["low"] < 0.75 < rule.measured["high"]
    assert promote(replace(FIRST, samples=sampled())).unseen_rows == 300 + 60


def test_where_nobody_labelled_a_sample_that_is_said():
    rule = ruling(FIRST, "answers-recent-labels")
    assert (rule.passed, rule.measured) == (True, {})
    assert "people labelled no sample of a device" in rule.reason


def test_a_candidate_that_is_certainly_worse_than_the_champion_on_recent_labels_fails():
    rule = ruling(replace(FIRST, samples=sampled(wrong=20, champion=2)), "answers-recent-labels")
    assert not rule.passed
    assert "the champion 0.9667 (" in rule.reason
    assert "on the 60 of them that it never saw either, 18 are lost and 0 won, p 0.000" in rule.reason
    assert rule.measured["champion"] == pytest.approx(0.966667)
    assert ruling(replace(FIRST, samples=sampled(wrong=6, champion=2)), "answers-recent-labels").passed


def test_labels_that_the_champion_learnt_from_do_not_speak_for_it():
    rule = ruling(replace(FIRST, samples=sampled(wrong=20, champion=2, learnt=60)), "answers-recent-labels")
    assert rule.passed
    assert "which may have learnt from all of them" in rule.reason


def test_of_a_file_that_was_brought_nobody_claims_that_it_never_saw_the_rows():
    for champion in (None, beside(answers(range(6)), answers(range(6)))):
        brought = replace(FIRST, is_brought=True, samples=sampled(champion=2), champion=champion)
        for name in ("keeps-what-it-knew", "answers-recent-labels"):
            reason = ruling(brought, name).reason
            assert "of which nobody here knows whether it saw them" in reason
            assert "which it never saw" not in reason
