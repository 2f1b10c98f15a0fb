"""How new a reading is: the score that learns from the stream itself."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.errors import InputError
from edgeops.model.novelty import THRESHOLD, ChannelMemory, ChannelNovelty, Pace, RowNovelty, novelty

#: Short, so that every part of the detector is passed through within some hundred rows.
QUICK = Pace(mean_rows=8, memory_rows=50, quiet_rows=4, warm_up_rows=10)


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(20, 1, count)


def one_by_one(values, pace=None):
    channel = ChannelNovelty(pace)
    return np.array([channel.score(value) for value in values])


def test_a_spike_is_told():
    values = noise(1000)
    values[700] = 40
    assert one_by_one(values)[700] > 0.5


def test_a_lasting_change_whose_readings_were_all_seen_before_is_told_by_the_mean():
    values = np.random.default_rng(0).uniform(19, 21, 2000)
    values[1000:] = values[1000:] * 0.4 + 12.5
    assert one_by_one(values, Pace(mean_rows=1))[1000:].max() < THRESHOLD
    assert one_by_one(values)[1000:1064].max() > THRESHOLD


def test_a_value_within_what_was_seen_has_no_score():
    values = np.tile([1.0, 5.0, 3.0, 9.0], 200)
    assert not one_by_one(values).any()


def test_the_rounding_of_means_is_no_change():
    values = np.tile(np.sin(np.linspace(0, 2 * np.pi, 77, endpoint=False)), 20) + 0.1
    assert one_by_one(values)[150:].max() < THRESHOLD


def test_any_change_after_a_long_calm_is_told_whatever_its_size():
    values = np.full(1000, 20.0)
    values[900:] = 20.001
    assert one_by_one(values)[900] > 0.99


def test_the_unit_of_a_channel_does_not_matter():
    values = noise(2000)
    assert np.allclose(one_by_one(values), one_by_one(-1024 * values), atol=1e-6)


def test_one_event_is_told_once_and_a_worse_one_again():
    values = noise(1000)
    values[700:704] = [40, 40.2, 40.4, 80]
    scores = one_by_one(values)
    assert scores[700] > THRESHOLD
    assert scores[701:703].max() < THRESHOLD
    assert scores[703] > THRESHOLD


def test_a_wild_reading_is_forgotten():
    values = noise(12_000)
    values[500], values[11_000] = 1e6, 40
    scores = one_by_one(values)
    assert scores[11_000] > 0.5
    values[5_000] = 1e6
    assert one_by_one(values)[11_000] < THRESHOLD


def test_nothing_is_scored_while_a_channel_warms_up():
    values = noise(200)
    values[100] = 1000
    assert not one_by_one(values)[:128].any()


def test_a_missing_reading_has_no_score_and_moves_nothing():
    values = noise(500)
    values[300] = 40
    gaps = np.insert(values, [0, 7, 299, 301], [np.nan, np.inf, -np.inf, 1e308])
    scores = one_by_one(gaps)
    missing = ~(np.abs(gaps) < 1e300)
    assert np.isnan(scores[missing]).all()
    assert np.array_equal(scores[~missing], one_by_one(values))


def test_a_row_is_as_new_as_its_newest_reading():
    rows = np.column_stack([noise(500, seed) for seed in range(3)])
    rows[400, 1] = 60
    watched = RowNovelty(3)
    for row in rows[:400]:
        watched.score(row)
    scores = RowNovelty(3, memory=watched.memory()).channel_scores(rows[400])
    assert max(range(3), key=scores.__getitem__) == 1
    assert watched.score(rows[400]) == scores[1]


def test_a_row_is_scored_by_the_readings_it_has():
    watched = RowNovelty(2, QUICK)
    for row in np.column_stack([noise(100), noise(100, 1)]):
        watched.score(row)
    assert watched.score([math.nan, 90.0]) > 0.5
    assert math.isnan(watched.score([math.nan, math.nan]))


def test_readings_of_single_precision_are_computed_in_double():
    values = noise(500).astype(np.float32)
    assert np.array_equal(one_by_one(values), one_by_one(values.tolist()))


streams = st.lists(
    st.one_of(
        st.floats(-1e6, 1e6, width=32),
        st.integers(-3, 3).map(float),
        st.sampled_from([math.nan, math.inf, -1e308, 3e38, -3e38]),
    ),
    max_size=300,
)


@given(first=streams, second=streams, pace=st.sampled_from([QUICK, Pace(mean_rows=1, memory_rows=1, warm_up_rows=0)]))
def test_one_by_one_and_at_once_are_the_same_bits(first, second, pace):
    count = min(len(first), len(second))
    rows = np.column_stack([first[:count], second[:count]]).reshape(count, 2)
    watched = RowNovelty(2, pace)
    assert np.array_equal([watched.score(row) for row in rows], novelty(rows, pace), equal_nan=True)


@given(values=streams, cut=st.integers(0, 300))
def test_a_restart_goes_on_with_the_same_scores(values, cut):
    before = ChannelNovelty(QUICK)
    for value in values[:cut]:
        before.score(value)
    saved = msgspec.msgpack.encode(before.memory())
    after = ChannelNovelty(QUICK, msgspec.msgpack.decode(saved, type=ChannelMemory))
    rest = values[cut:]
    assert np.array_equal(
        [after.score(value) for value in rest], [before.score(value) for value in rest], equal_nan=True
    )


@given(values=streams, cut=st.integers(0, 300))
def test_what_comes_later_changes_no_score(values, cut):
    rows = np.array(values).reshape(-1, 1)
    assert np.array_equal(novelty(rows[:cut], QUICK), novelty(rows, QUICK)[:cut], equal_nan=True)


def test_a_memory_of_another_pace_or_of_other_channels_is_refused():
    memory = ChannelNovelty(QUICK).memory()
    with pytest.raises(InputError, match="means of 8 rows, the pace asks for 64"):
        ChannelNovelty(Pace(), memory)
    with pytest.raises(InputError, match="of 2 channels, there are 3"):
        RowNovelty(3, QUICK, [memory, memory])


def test_a_row_of_another_width_is_refused():
    with pytest.raises(InputError, match="a row of 2 readings, this detector watches 3"):
        RowNovelty(3).score([1.0, 2.0])


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ({"mean_rows": 48}, "mean_rows is 48; it must be a power of two"),
        ({"mean_rows": 0}, "mean_rows is 0"),
        ({"memory_rows": 63}, "memory_rows is 63; it must be at least mean_rows, 64"),
        ({"quiet_rows": 0}, "quiet_rows is 0"),
        ({"warm_up_rows": -1}, "warm_up_rows -1"),
    ],
)
def test_a_pace_that_cannot_be_is_refused(lengths, said):
    with pytest.raises(InputError, match=said):
        Pace(**lengths)
