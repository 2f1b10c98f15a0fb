"""The scorer of the Numenta Anomaly Benchmark, on series whose figures are known."""

import io
import json
import tarfile

import numpy as np
import pytest

from bench import _nab

#: 1,000 rows, of which 150 are for learning; windows of 100 rows.
SERIES = _nab.Series("made-up", np.zeros(1000), ((300, 399), (700, 799)))
OTHER = _nab.Series("other", np.zeros(1000), ((500, 599),))
CORPUS = [SERIES, OTHER]


def scored(*alarms, corpus=(SERIES,)):
    """The score of alarms at these rows of the first series, and none in others."""
    scores = [np.zeros(len(series.values)) for series in corpus]
    scores[0][list(alarms)] = 1.0
    return _nab.score(corpus, scores, 1.0)


def test_an_alarm_at_the_first_row_of_every_window_is_perfect():
    assert scored(300, 700) == pytest.approx(100)


def test_silence_is_zero():
    assert scored() == 0


def test_an_early_alarm_pays_more_than_a_late_one_and_a_late_one_more_than_none():
    early, middle, late = (scored(row) for row in (300, 350, 399))
    assert early > middle > late > scored()


def test_a_window_pays_once_by_its_best_alarm():
    assert scored(*range(320, 400)) == pytest.approx(scored(320))


def test_false_alarms_cost_each_and_less_soon_after_a_window():
    far = scored() - scored(600)
    assert far == pytest.approx(100 * 0.11 / 4, rel=1e-3)
    assert scored() - scored(600, 650) == pytest.approx(2 * far, rel=1e-3)
    assert scored() - scored(200) == pytest.approx(100 * 0.11 / 4)
    assert 0 < scored() - scored(405) < far / 2


def test_nothing_counts_while_the_detector_learns():
    assert scored(0, 149) == 0
    assert scored(150) < 0


def test_learning_lasts_750_rows_at_most():
    assert _nab.Series("long", np.zeros(20_000), ()).learning == 750


def test_windows_of_all_series_weigh_the_same():
    assert scored(300, 700, corpus=CORPUS) == pytest.approx(100 * 2 / 3)


def test_the_best_threshold_is_the_one_that_no_other_beats():
    random = np.random.default_rng(3)
    scores = [random.integers(0, 50, len(series.values)) + 30.0 * (series.window_of >= 0) for series in CORPUS]
    best, threshold = _nab.sweep(CORPUS, scores)
    assert best == pytest.approx(_nab.score(CORPUS, scores, threshold))
    assert best == pytest.approx(max(_nab.score(CORPUS, scores, level) for level in range(81)))


def test_a_detector_that_says_one_thing_is_best_silenced():
    assert _nab.sweep(CORPUS, [np.full(1000, 0.5)] * 2) == (0.0, np.inf)


def test_a_half_is_scored_at_the_threshold_of_the_other():
    scores = [np.zeros(1000), np.zeros(1000)]
    scores[0][[300, 700]], scores[1][500], scores[1][[200, 900]] = 0.5, 0.9, 0.6
    assert _nab.sweep(CORPUS, scores)[0] > 90
    # At 0.9, best on the second, the first is silent; at 0.5, best on the first, the second has two false alarms.
    assert _nab.split_half(CORPUS, scores, [0]) == pytest.approx(100 * (1 - 0.11) / 3, rel=1e-3)


def test_deals_are_the_same_every_time_and_begin_with_every_second_series():
    first, second = ([list(half) for half in _nab.deals(3, of=6, seed=0)] for _ in range(2))
    assert first == second
    assert first[0] == [0, 2, 4]
    assert all(len(half) == 3 for half in first)


def test_the_plainest_detector_measures_in_the_range_so_far():
    assert _nab.excess(np.array([5.0, 5, 7, 8, 3, 6])).tolist() == [0, 0, 0, 0.5, 2 / 3, 0]


def test_windows_are_read_as_rows_also_where_the_clock_jumps(tmp_path):
    times = ["2014-01-01 00:00:00", "2014-01-01 00:05:00", "2014-01-01 00:05:00", "2014-01-01 00:10:00"]
    labels = {"a/b.csv": [["2014-01-01 00:05:00.000000", "2014-01-01 00:09:00.000000"]]}
    files = {
        "labels/combined_windows.json": json.dumps(labels),
        "data/a/b.csv": "\n".join(["timestamp,value", *(f"{time},{row}" for row, time in enumerate(times))]),
    }
    with tarfile.open(tmp_path / "nab.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    [series] = _nab.read_corpus(tmp_path / "nab.tar.gz")
    assert series.name == "a/b.csv"
    assert series.values.tolist() == [0, 1, 2, 3]
    assert series.windows == ((1, 2),)
