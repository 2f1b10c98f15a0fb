"""The novelty of readings on all 58 series of the Numenta Anomaly Benchmark."""

import numpy as np
import pytest

from bench import _nab, nab
from edgeops.model.novelty import THRESHOLD, ChannelNovelty, Pace, novelty
from tests.data.folder import data_folder

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def corpus():
    return _nab.read_corpus(data_folder() / "nab" / "nab_data.tar.gz")


def test_the_scorer_is_the_benchmarks(corpus):
    assert len(corpus) == 58
    assert nab.self_test(corpus) == nab.SELF_TEST


def test_one_threshold_reaches_the_bar_and_does_so_without_the_labels(corpus):
    scores = nab.detect(corpus)
    assert _nab.sweep(corpus, scores)[0] >= nab.BAR
    assert _nab.score(corpus, scores, THRESHOLD) >= nab.BAR
    halves = [_nab.split_half(corpus, scores, half) for half in _nab.deals(nab.DEALS, of=len(corpus), seed=0)]
    assert min(halves) >= nab.BAR, halves


@pytest.mark.parametrize("length", ["mean_rows", "memory_rows", "quiet_rows", "warm_up_rows"])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_no_length_of_the_detector_is_finely_tuned(corpus, length, factor):
    pace = Pace(**{length: int(getattr(Pace(), length) * factor)})
    assert _nab.score(corpus, nab.detect(corpus, pace), THRESHOLD) >= nab.BAR


def test_the_scores_of_a_beginning_are_the_beginning_of_the_scores(corpus):
    for series in corpus:
        rows = series.values[:, np.newaxis]
        scores = novelty(rows)
        for cut in (len(rows) // 3, 2 * len(rows) // 3, len(rows) - 1):
            assert np.array_equal(novelty(rows[:cut]), scores[:cut])


def test_a_device_that_restarts_halfway_gives_the_scores_of_the_whole_series(corpus):
    for series in corpus[::6]:
        half = len(series.values) // 2
        before = ChannelNovelty()
        scores = [before.score(value) for value in series.values[:half]]
        after = ChannelNovelty(memory=before.memory())
        scores += [after.score(value) for value in series.values[half:]]
        assert np.array_equal(scores, novelty(series.values[:, np.newaxis]))
