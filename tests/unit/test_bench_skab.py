"""The judge of the Skoltech Anomaly Benchmark, on runs whose figures are known."""

import gzip

import numpy as np
import pytest

from bench import _skab, skab

FIRST = _skab.LEARNING_ROWS


def run(name, anomalous, count=FIRST + 10):
    """A run of which so many of the last ten rows are anomalous."""
    return _skab.Run(name, np.zeros((count, 2)), np.arange(count) >= count - anomalous)


def scores(*last):
    return np.concatenate([np.full(FIRST, 9.0), last])


RUNS = [run("valve1/0", 5), run("other/1", 5)]
RIGHT = scores(*[0.0] * 5, *[2.0] * 5)


def test_rows_that_were_learnt_from_are_not_judged():
    found = _skab.judge(RUNS, [RIGHT, RIGHT], {"valve1": 1.0, "other": 1.0})
    assert found == _skab.Verdict(hits=10, misses=0, false_alarms=0, calm=10)
    assert (found.f1, found.false_alarm_rate) == (1, 0)


def test_misses_and_false_alarms_cost():
    found = _skab.judge(RUNS, [RIGHT, 2 - RIGHT], {"valve1": 1.0, "other": 1.0})
    assert (found.f1, found.false_alarm_rate) == (0.5, 0.5)


def test_a_row_without_a_score_is_no_alarm():
    found = _skab.judge(RUNS[:1], [scores(*[np.nan] * 10)], {"valve1": 1.0})
    assert found == _skab.Verdict(hits=0, misses=5, false_alarms=0, calm=5)


def test_the_margin_of_a_group_comes_from_the_others():
    margins = _skab.margins_by_others(RUNS, [RIGHT, RIGHT + 50])
    assert 50 <= margins["valve1"] < 52
    assert 0 <= margins["other"] < 2


@pytest.mark.parametrize(
    ("verdict", "reaches"),
    [
        (_skab.Verdict(hits=80, misses=20, false_alarms=20, calm=80), True),
        (_skab.Verdict(hits=70, misses=30, false_alarms=20, calm=80), False),
        (_skab.Verdict(hits=100, misses=0, false_alarms=31, calm=69), False),
    ],
)
def test_flagging_much_does_not_reach_the_bar(verdict, reaches):
    assert skab.holds(verdict) is reaches


def test_the_run_without_labels_is_not_read(tmp_path):
    lines = [
        "file,datetime,a,b,anomaly,changepoint",
        "anomaly-free/anomaly-free,2020-02-08 13:30:47,1,2,,",
        "valve1/0,2020-02-08 13:30:47,3,4,0.0,0.0",
        "valve1/0,2020-02-08 13:30:48,5,6,1.0,1.0",
    ]
    with gzip.open(tmp_path / "skab.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    [read] = _skab.read_runs(tmp_path / "skab.csv.gz")
    assert (read.name, read.group) == ("valve1/0", "valve1")
    assert read.rows.tolist() == [[3, 4], [5, 6]]
    assert read.anomalous.tolist() == [False, True]
