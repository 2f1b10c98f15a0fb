"""What an anomaly detector's scores are worth, and what its gate makes of that."""

import numpy as np
import pytest

from edgeops.artifact.manifest import Budgets
from edgeops.learning.anomaly import Alarms
from edgeops.learning.anomaly_promotion import Candidate, promote
from edgeops.learning.promotion import Champion, Measured
from edgeops.learning.promotion_policy import PromotionPolicy

COST = Measured(size_bytes=1, memory_bytes=1, p95_latency_ms=0.1)
BUDGETS = Budgets(p95_latency_ms=1.0, memory_bytes=10)


def scored(truths, scores, threshold=0.5):
    return Alarms(truths=np.array(truths), scores=np.array(scores, float), threshold=threshold)


def candidate(alarms, float32=None, champion=None):
    return Candidate(
        evaluation=alarms,
        float32=float32 or alarms,
        champion=champion,
        slices=(),
        columns=(),
        measured=COST,
        budgets=BUDGETS,
        policy=PromotionPolicy(),
    )


GOOD = scored([0] * 90 + [1] * 10, np.linspace(0, 0.49, 90).tolist() + [0.9] * 10)


def against_champion(*, missed, learnt=0):
    """A detector that misses so many of the ten anomalies, all of which the champion finds."""
    scores = GOOD.scores.copy()
    scores[90 : 90 + missed] = 0.1
    worse = scored(GOOD.truths, scores)
    held = Champion(answers=GOOD, challenger=worse, seen=learnt)
    return next(one for one in promote(candidate(worse, champion=held)).rules if one.name == "is-not-inferior")


def test_a_detector_that_certainly_misses_more_than_the_champion_fails():
    rule = against_champion(missed=5)
    assert not rule.passed
    assert "misses an anomaly in 0, it in 5 (lost 5, won 0, p 0.031" in rule.reason
    assert not against_champion(missed=6).passed  # more than may be lost in any case
    assert against_champion(missed=2, learnt=40).passed
    assert "the champion may have learnt from 40 of them" in against_champion(missed=2, learnt=40).reason


def test_a_first_detector_has_no_champion_to_be_beaten():
    rules = promote(candidate(GOOD)).rules
    assert "no champion" in next(one.reason for one in rules if one.name == "is-not-inferior")


def test_figures_count_alarms_over_normal_and_anomalous_rows():
    found = scored([0, 0, 0, 0, 1, 1, -1], [0.1, 0.2, 0.3, 0.9, 0.8, 0.2, 0.9])
    assert found.figures() == {
        "alarm-rate": pytest.approx(3 / 7, abs=1e-6),
        "false-alarm-rate": 0.25,
        "rows": 7.0,
        "recall": 0.5,
        "f1": 0.5,
        "auc": pytest.approx((3 + 1.5) / 8),
        "anomalies": 2.0,
    }


def test_an_auc_is_the_share_of_pairs_in_the_right_order():
    random = np.random.default_rng(1)
    truths, scores = random.integers(0, 2, 60), random.integers(0, 9, 60).astype(float)
    normal, anomalous = scores[truths == 0], scores[truths == 1]
    pairs = (anomalous[:, None] > normal) + 0.5 * (anomalous[:, None] == normal)
    assert scored(truths, scores).auc == pytest.approx(pairs.mean())
    assert scored(truths, scores).auc_low < pairs.mean()


def test_a_refused_row_is_no_alarm_and_a_missed_anomaly():
    found = scored([0, 1, 1], [0.1, np.nan, 0.9])
    assert (found.refused, found.recall, found.alarm_rate) == (1, 0.5, pytest.approx(1 / 3))
    assert found.auc == 0.5


def test_rows_that_nobody_labelled_are_taken_for_normal_and_tell_of_no_recall():
    found = scored([-1] * 4, [0.1, 0.2, 0.3, 0.9])
    assert found.figures() == {"alarm-rate": 0.25, "false-alarm-rate": 0.25, "rows": 4.0}
    rule = promote(candidate(found)).rules[0]
    assert rule.passed
    assert rule.reason == "no row that judges is known to be anomalous, so whether any is found is unknown"


def test_a_good_detector_is_promoted():
    promotion = promote(candidate(GOOD))
    assert promotion.passed, promotion.failures
    assert promotion.unseen_rows == 100


@pytest.mark.parametrize(
    ("alarms", "float32", "reason"),
    [
        (scored([0, 1] * 50, np.arange(100) % 7 / 20), None, "AUC"),
        (
            scored([0] * 60 + [1] * 40, [0.6] * 30 + [0.1] * 30 + [0.9] * 40),
            None,
            "alarms in 50.0% of 60 normal",
        ),
        (GOOD, scored(GOOD.truths, GOOD.scores, threshold=0.4), "17.00% of rows are an alarm of this file"),
    ],
)
def test_every_rule_has_a_detector_that_fails_it(alarms, float32, reason):
    promotion = promote(candidate(alarms, float32))
    assert not promotion.passed
    assert f": {reason}" in promotion.failures
