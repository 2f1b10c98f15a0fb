"""How far the latest rows lie from what was learnt."""

import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow
from edgeops.errors import InputError
from edgeops.model.distance import learn_distance, trailing_means
from edgeops.model.windowing import WindowBuffer

WINDOW = 10


def normal_rows(count, seed=0):
    """Two channels that move together, slowly, and one that does not."""
    random = np.random.default_rng(seed)
    common = np.convolve(random.normal(size=count + 20), np.ones(20), "valid")[:count]
    return np.column_stack([common + 20, 100 * common + 30 * random.normal(size=count), random.normal(size=count)])


@pytest.fixture(scope="module")
def learnt():
    return learn_distance(normal_rows(600), window_rows=WINDOW)


def test_the_furthest_of_the_normal_rows_is_at_one(learnt):
    scores = learnt.scores(normal_rows(600))
    assert np.isnan(scores[: WINDOW - 1]).all()
    assert np.nanmax(scores) == pytest.approx(1)


def test_other_normal_rows_are_about_as_far(learnt):
    assert np.nanmedian(learnt.scores(normal_rows(600, seed=1))) < 1


def test_a_lasting_change_is_far_and_a_single_wild_row_less_so(learnt):
    rows = normal_rows(600, seed=1)
    lasting, wild = rows.copy(), rows.copy()
    lasting[300:, 2] += 4
    wild[300, 2] += 4
    after = slice(300 + WINDOW, 300 + 2 * WINDOW)
    assert learnt.scores(lasting)[after].min() > 4 * np.nanmax(learnt.scores(wild)[after])


def test_channels_that_part_are_far_though_each_is_usual(learnt):
    rows = normal_rows(600, seed=1)
    parted = rows.copy()
    parted[:, 1] = rows[::-1, 1]
    assert np.nanquantile(learnt.scores(parted), 0.5) > 5 * np.nanquantile(learnt.scores(rows), 0.5)


def test_the_unit_of_a_channel_does_not_matter(learnt):
    units = np.array([1000.0, 1e-3, -7.0])
    scaled = learn_distance(normal_rows(600) * units, window_rows=WINDOW)
    assert np.allclose(
        scaled.scores(normal_rows(200, 1) * units), learnt.scores(normal_rows(200, 1)), rtol=1e-6, equal_nan=True
    )


def test_a_score_is_a_linear_map_and_a_sum_of_squares(learnt):
    rows = normal_rows(50, seed=2)
    mapped = trailing_means(rows, WINDOW) @ learnt.matrix.T + learnt.offset
    assert np.allclose(learnt.scores(rows)[WINDOW - 1 :], np.square(mapped).sum(axis=1))


def test_window_by_window_and_at_once_are_the_same_bits(learnt):
    rows = normal_rows(300, seed=3).astype(np.float32)
    buffer = WindowBuffer(InputWindow(columns=("a", "b", "c"), rows=WINDOW))
    windows = [buffer.push(row, None) for row in rows]
    one_by_one = [np.nan if window is None else learnt.score(window) for window in windows]
    assert np.array_equal(one_by_one, learnt.scores(rows), equal_nan=True)


def test_what_comes_later_changes_no_score(learnt):
    rows = normal_rows(300, seed=4)
    for cut in (5, WINDOW, 100, 299):
        assert np.array_equal(learnt.scores(rows[:cut]), learnt.scores(rows)[:cut], equal_nan=True)


def test_a_missing_reading_leaves_its_windows_without_a_score(learnt):
    rows = normal_rows(100, seed=5)
    rows[50, 1], rows[80, 0] = np.nan, np.inf
    without = np.flatnonzero(np.isnan(learnt.scores(rows)))
    assert without.tolist() == [*range(WINDOW - 1), *range(50, 50 + WINDOW), *range(80, 80 + WINDOW)]


def test_one_channel_is_a_row_too():
    rows = normal_rows(200)[:, :1]
    assert np.nanmax(learn_distance(rows, window_rows=WINDOW).scores(rows)) == pytest.approx(1)


def missing(rows):
    rows[7, 1] = np.inf
    return rows


def constant(rows):
    rows[:, 2] = 4.5
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (normal_rows(39), r"39 normal rows are too few .* 3 channels .* means of 10; give 40"),
        (missing(normal_rows(100)), "readings of channel 1 are missing"),
        (constant(normal_rows(100)), "channel 2 is always 4.5 in the normal rows; leave it out"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(rows, said):
    with pytest.raises(InputError, match=said):
        learn_distance(rows, window_rows=WINDOW)
