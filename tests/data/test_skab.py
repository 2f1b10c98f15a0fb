"""The distance of trailing means on all 34 labelled runs of the Skoltech Anomaly Benchmark."""

import numpy as np
import pytest

from bench import _skab, skab
from tests.data.folder import data_folder

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def runs():
    return _skab.read_runs(data_folder() / "skab" / "skab.csv.gz")


def test_the_runs_are_all_there(runs):
    assert len(runs) == 34
    assert {run.group for run in runs} == {"valve1", "valve2", "other"}


@pytest.mark.parametrize("window_rows", [skab.WINDOW_ROWS, 20, 40])
def test_margins_from_other_groups_reach_the_bar(runs, window_rows):
    scores = [skab.detect(run.rows, window_rows) for run in runs]
    found = _skab.judge(runs, scores, _skab.margins_by_others(runs, scores))
    print(f"{window_rows} rows: F1 {found.f1:.3f}, false alarms in {found.false_alarm_rate:.1%} of normal rows")
    assert skab.holds(found)


def test_the_scores_of_a_beginning_are_the_beginning_of_the_scores(runs):
    for run in runs:
        scores = skab.detect(run.rows)
        for cut in (_skab.LEARNING_ROWS, 601, len(run.rows) - 1):
            assert np.array_equal(skab.detect(run.rows[:cut]), scores[:cut], equal_nan=True)
