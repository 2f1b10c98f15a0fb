"""The parts of a judgement one by one: the reference's floor, voices, a window's worth, faults of sensors."""

import msgspec
import numpy as np
import pytest

from edgeops.drift.baseline import baseline_of
from edgeops.drift.finding import Fault
from edgeops.drift.history import NEVER, History
from edgeops.drift.movement import Movement, movement
from edgeops.drift.performance import estimate
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.quality import find_faults, issues
from edgeops.drift.views import capped_rows, group_view, typical_lag, typical_rows
from edgeops.errors import MessageError
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.window import Sketcher

POLICY = DriftPolicy()


def normal(rows, channels=1, *, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, channels)).astype(np.float32)


def reference_of(values, *, ordered=False, discrete=()):
    return build_reference(
        values, [f"c{index}" for index in range(values.shape[1])], discrete=discrete, ordered=ordered
    )


def sketch_of(values, reference):
    sketcher = Sketcher(reference)
    sketcher.add(np.asarray(values, np.float32))
    return sketcher.sketch()


# -- how a channel moved ----------------------------------------------------------------------

EVEN = [10] * 32


def counts(*parts):
    """A histogram of (bin, count) parts."""
    made = [0] * 32
    for place, count in parts:
        made[place] += count
    return made


@pytest.mark.parametrize(
    ("window", "word"),
    [
        (EVEN, Movement.NONE),
        (counts((31, 5)), Movement.HIGHER),
        (counts((0, 5)), Movement.LOWER),
        (counts((0, 5), (31, 5)), Movement.WIDER),
        (counts((15, 5), (16, 5)), Movement.NARROWER),
        ([0] * 32, Movement.NONE),
    ],
)
def test_where_values_went_is_a_word(window, word):
    assert movement(EVEN, window) is word


def test_one_direction_counts_when_it_is_three_times_the_other():
    def window(low, high):
        """So much more at either end than in the reference's 32 even bins."""
        return [1 / 32 + low, *[(30 / 32 - low - high) / 30] * 30, 1 / 32 + high]

    assert movement(EVEN, window(0.1, 0.29)) is Movement.WIDER
    assert movement(EVEN, window(0.1, 0.31)) is Movement.HIGHER
    assert movement(EVEN, window(0.29, 0.1)) is Movement.WIDER
    assert movement(EVEN, window(0.31, 0.1)) is Movement.LOWER
    exactly = [3, *[2] * 14, 0, 0, *[2] * 14, 5]
    assert movement(EVEN, exactly) is Movement.HIGHER
    assert movement(EVEN, exactly[::-1]) is Movement.LOWER


def test_classes_come_in_another_mix_or_in_the_same():
    assert movement(EVEN, counts((3, 5)), discrete=True) is Movement.MIX
    assert movement(EVEN, EVEN, discrete=True) is Movement.NONE
    assert movement([0] * 32, EVEN) is Movement.NONE


# -- what confidences are worth -----------------------------------------------------------------

WORTH = np.linspace(0, 1, 32)


def confidences(*bins):
    return np.array(counts(*((place, 1) for place in bins)), float)


def test_an_estimate_is_the_mean_worth_of_the_windows_confidences():
    made = estimate(WORTH, confidences(31, 15), confidences(31, 31, 30), effective_rows=1e9)
    assert made.accuracy == pytest.approx((1 + WORTH[15]) / 2)
    assert made.reference == pytest.approx((2 + WORTH[30]) / 3)
    assert made.has_fallen


def test_a_fall_counts_from_five_points_and_three_standard_errors():
    worth = np.where(np.arange(32) < 16, 0.0, 1.0)

    def share_right(percent):
        return confidences(*[0] * (100 - percent), *[31] * percent)

    window, before = share_right(89), share_right(95)
    enough = 0.89 * 0.11 * 9 / 0.06**2
    assert estimate(worth, window, before, effective_rows=enough * 1.01).has_fallen
    assert not estimate(worth, window, before, effective_rows=enough * 0.99).has_fallen
    assert not estimate(worth, share_right(91), before, effective_rows=1e9).has_fallen


def test_a_rise_is_no_fall_and_no_confidence_is_no_estimate():
    assert not estimate(WORTH, confidences(31), confidences(1), effective_rows=100).has_fallen
    assert estimate(WORTH, np.zeros(32), confidences(1), effective_rows=100) is None
    assert estimate(WORTH, confidences(1), np.zeros(32), effective_rows=100) is None
    assert not estimate(WORTH, confidences(1, 31), confidences(31), effective_rows=0.0).has_fallen


def test_less_than_one_row_counts_as_one():
    right_or_wrong = np.where(np.arange(32) < 16, 0.0, 1.0)
    for percent, has_fallen in ((9, True), (15, False)):
        window = confidences(*[0] * (100 - percent), *[31] * percent)
        assert estimate(right_or_wrong, window, confidences(31), effective_rows=0.5).has_fallen == has_fallen


# -- a group ------------------------------------------------------------------------------------


def rows_of(*values):
    return np.array(values, float)[:, np.newaxis]


def test_the_typical_device_is_the_lower_median_of_those_that_spoke():
    assert typical_rows(rows_of(0, 10, 30, 20)).item() == 20
    assert typical_rows(rows_of(0, 10, 30)).item() == 10
    assert typical_rows(rows_of(0, 1, 30)).item() == 1
    assert typical_rows(rows_of(0, 0)).item() == 0


def test_no_device_counts_more_than_three_typical_ones_and_a_quarter_of_one_has_no_say():
    assert capped_rows(rows_of(100, 100, 301, 25, 24, 0)).ravel().tolist() == [100, 100, 300, 25, 0, 0]


def test_the_typical_autocorrelation_is_the_upper_median_of_those_with_a_say():
    lags = np.array([[0.1], [0.5], [0.9], [0.95]])
    assert typical_lag(lags, rows_of(10, 10, 10, 0)).item() == 0.5
    assert typical_lag(lags[:2], rows_of(10, 10)).item() == 0.5
    assert typical_lag(lags[:2], rows_of(1, 1)).item() == 0.5
    assert typical_lag(lags, rows_of(0, 0, 0, 0)).item() == 0.0


def histograms(*parts):
    return np.array([[counts(*device)] for device in parts], float)


def test_a_group_of_one_or_two_is_the_capped_sum():
    view = group_view(histograms([(0, 10)], [(31, 100)]), outvotes=False)
    assert view.rows.tolist() == [[40.0]]
    assert view.cumulative[0].tolist() == pytest.approx([0.25] * 31 + [1.0])
    assert view.worth.tolist() == [40.0]
    assert view.capped_sum[0].tolist() == pytest.approx(view.cumulative[0].tolist())


def test_three_devices_are_three_voices_and_the_middle_one_is_heard():
    view = group_view(histograms([(0, 30)], [(10, 30)], [(31, 30)]), outvotes=True)
    assert view.rows.ravel().tolist() == [30.0] * 3
    assert view.cumulative[0].tolist() == [0.0] * 10 + [1.0] * 22
    assert view.worth.item() == pytest.approx(0.743 * 9 / (3 / 30))


def test_more_devices_share_five_voices_of_about_equal_rows():
    devices = histograms(*[[(0, 100)]] * 3, *[[(1, 50)]] * 4)
    view = group_view(devices, outvotes=True)
    assert sorted(view.rows.ravel().tolist()) == [100.0] * 5
    assert view.worth.item() == pytest.approx(0.697 * 25 / (5 / 100))


def test_two_that_speak_have_two_voices_and_their_mean_is_heard():
    view = group_view(histograms([(0, 10)], [(31, 10)], []), outvotes=True)
    assert view.cumulative[0].tolist() == pytest.approx([0.5] * 31 + [1.0])
    assert view.worth.item() == pytest.approx(1.0 * 4 / 0.2)
    assert len(view.voices) == 2


def test_four_that_speak_have_four_voices_and_the_mean_of_the_middle_two_is_heard():
    view = group_view(histograms(*([(place, 30)] for place in (0, 10, 20, 31))), outvotes=True)
    assert view.cumulative[0].tolist() == [0.0] * 10 + [0.5] * 10 + [1.0] * 12
    assert view.worth.item() == pytest.approx(0.838 * 16 / (4 / 30))


def test_one_row_of_each_is_heard():
    view = group_view(histograms([(0, 1)], [(10, 1)], [(31, 1)]), outvotes=True)
    assert view.rows.ravel().tolist() == [1.0] * 3
    assert view.cumulative[0].tolist() == [0.0] * 10 + [1.0] * 22
    assert view.worth.item() == pytest.approx(0.743 * 9 / 3)


def test_the_sum_of_voices_weighs_each_by_its_rows():
    view = group_view(histograms([(0, 10)], [(31, 30)]), outvotes=True)
    assert view.rows.ravel().tolist() in ([10, 30], [30, 10])
    assert view.capped_sum[0].tolist() == pytest.approx([0.25] * 31 + [1.0])


def test_a_device_that_is_silent_on_one_channel_is_heard_on_the_others_only():
    devices = np.array([[counts((place, 30)), counts((place, rows))] for place, rows in ((0, 30), (10, 30), (31, 0))])
    view = group_view(devices.astype(float), outvotes=True)
    assert view.cumulative[0].tolist() == [0.0] * 10 + [1.0] * 22, "the middle one of three"
    assert view.cumulative[1].tolist() == [0.5] * 10 + [1.0] * 22, "the mean of two"
    assert view.worth.tolist() == pytest.approx([0.743 * 9 / (3 / 30), 4 / (2 / 30)])


def test_devices_that_differ_in_one_channel_of_many_are_dealt_alike_in_any_order():
    """Six share five voices, and which two share one must follow from all that they sent."""
    devices = np.tile(np.array(EVEN, float), (6, 4, 1))
    for place, device in enumerate(devices):
        device[3, [place, 31 - place]] += 5, -5
    one, other = (group_view(picked, outvotes=True) for picked in (devices, devices[::-1]))
    assert np.array_equal(one.voices, other.voices)


def test_the_order_of_devices_changes_nothing():
    devices = histograms([(0, 30)], [(10, 40)], [(31, 30)], [(5, 35)], [(7, 31)], [(3, 33)])
    one, other = (group_view(picked, outvotes=True) for picked in (devices, devices[::-1]))
    assert np.array_equal(one.voices, other.voices)


def test_where_nobody_speaks_nothing_is_heard():
    view = group_view(histograms([], [], []), outvotes=True)
    assert (view.cumulative.sum(), view.rows.sum(), view.worth.sum()) == (0, 0, 0)


# -- windows side by side -------------------------------------------------------------------------

REFERENCE = reference_of(normal(2000, 2))


def windows(*rows, seed=5):
    return [sketch_of(normal(count, 2, seed=seed + place), REFERENCE) for place, count in enumerate(rows)]


def test_windows_are_added_up_from_the_newest():
    first, second = windows(10, 20), windows(5, seed=9)
    history = History([first, second], channels=2, most=8)
    assert (history.length, history.streams, history.speaking) == (2, 2, 2)
    assert history.running.present[:, :, 0].tolist() == [[20, 5], [30, 5]]
    assert history.rows().tolist() == [30, 5]
    assert history.lengths().tolist() == [2, 1]
    newest = history.moments(np.zeros((2, 2), np.intp))
    assert newest.total[0].tolist() == first[1].total.tolist()
    assert history.sums().squares[0].tolist() == (first[0].squares + first[1].squares).tolist()
    assert history.whole()[0].tolist() == (first[0].counts + first[1].counts).tolist()
    older = history.sums().minus(newest)
    assert older.steps[0].tolist() == first[0].steps.tolist()


def test_what_never_was_counts_nothing():
    history = History([windows(10, 20)], channels=2, most=8)
    ages = np.array([[0, NEVER]])
    assert history.moments(ages).present.tolist() == [[20, 0]]
    assert history.counts(ages[np.newaxis]).sum(axis=-1).tolist() == [[[20, 0]]]


def test_windows_beyond_the_horizon_and_empty_ones_are_left_out():
    history = History([windows(10, 20, 30), []], channels=2, most=2)
    assert (history.length, history.speaking) == (2, 1)
    assert history.rows().tolist() == [50, 0]
    assert history.lengths().tolist() == [2, 1]
    old_only = History([[*windows(10), *windows(0)]], channels=2, most=8)
    assert old_only.lengths().tolist() == [2]
    assert History([[]], channels=2, most=8).length == 1


def test_rows_count_whether_their_values_are_missing_or_not():
    holey = normal(40, 2, seed=5)
    holey[:10, 0] = np.nan
    history = History([[*windows(10), sketch_of(holey, REFERENCE), *windows(20)]], channels=2, most=8)
    assert history.running.present[:, 0, 0].tolist() == [20, 50, 60]
    assert history.running.missing[:, 0, 0].tolist() == [0, 10, 10]
    assert history.rows().tolist() == [70]
    assert history.sums().present.tolist() == [[60, 70]]
    assert history.whole().sum(axis=-1).tolist() == [[60, 70]]


def test_a_stream_is_as_long_as_its_oldest_window_with_rows():
    one = reference_of(normal(200))
    nothing, row, absent = (sketch_of(rows, one) for rows in (normal(0), normal(1), np.full((3, 1), np.nan)))
    streams = [row, nothing, row], [nothing, row, nothing], [nothing, nothing, row], [absent, nothing], [nothing]
    history = History(streams, channels=1, most=8)
    assert history.lengths().tolist() == [3, 2, 1, 2, 1]
    assert history.rows().tolist() == [2, 1, 1, 3, 0]


def test_windows_of_other_channels_are_an_error():
    with pytest.raises(MessageError, match=r"windows of \[2\] channels, the reference has 3"):
        History([windows(10)], channels=3, most=8)


# -- the reference --------------------------------------------------------------------------------


def with_wander(shares, *, lengths, rows=10_000.0, lag1=0.0):
    """A reference whose only channel wanders so far in blocks of these lengths."""
    channel = msgspec.structs.replace(
        reference_of(normal(500)).channels[0],
        wander=np.array(shares, "<f4").tobytes(), effective_rows=rows, lag1=lag1,
    )  # fmt: skip
    return msgspec.structs.replace(reference_of(normal(500)), channels=(channel,), block_rows=lengths, ordered=True)


def floor_of(profile, rows):
    return baseline_of(profile).floor(np.array([[float(rows)]])).item()


def test_the_floor_is_what_blocks_of_the_reference_show_by_themselves():
    profile = with_wander([0.5, 0.25], lengths=(50, 100))
    assert floor_of(profile, 50) == pytest.approx(0.5)
    assert floor_of(profile, 100) == pytest.approx(0.25)
    assert floor_of(profile, 250) == pytest.approx((200 * 0.25 + 50 * 0.5) / 250)
    assert floor_of(profile, 120) == pytest.approx((100 * 0.25 + 20 * 0.5) / 120), "the rest counts as a short block"
    assert floor_of(profile, 1) == pytest.approx(0.5)
    assert floor_of(profile, 0) == 0.0


def test_shorter_blocks_wander_at_least_as_far_as_longer_ones():
    assert floor_of(with_wander([0.1, 0.4], lengths=(50, 100)), 50) == pytest.approx(0.4)


def test_a_block_that_chance_explains_raises_no_floor():
    # 200 blocks of 50 rows: the largest distance of 0.2 has a chance of .036 each, of .5 once.
    assert floor_of(with_wander([0.2], lengths=(50,)), 50) == 0.0
    assert floor_of(with_wander([0.26], lengths=(50,)), 50) == 0.0, "a chance of .0024, and of .5 in 200 blocks"
    assert floor_of(with_wander([0.35], lengths=(50,)), 50) == pytest.approx(0.35)
    # Half of the reference against the other half, which is all that there is.
    assert floor_of(with_wander([0.034], lengths=(5_000,)), 5_000) == 0.0, "twice .006"
    assert floor_of(with_wander([0.04], lengths=(5_000,)), 5_000) == pytest.approx(0.04)
    assert floor_of(with_wander([0.35], lengths=(50,), lag1=0.9), 50) == 0.0, "its rows are worth fewer"


def test_a_reference_without_order_has_no_floor():
    assert floor_of(reference_of(normal(500)), 100) == 0.0


def test_a_reference_is_worth_its_rows_by_the_larger_autocorrelation():
    baseline = baseline_of(with_wander([], lengths=(), lag1=0.5))
    assert baseline.effective(np.array([0.0])).item() == pytest.approx(10_000 / 3)
    assert baseline.effective(np.array([0.9])).item() == pytest.approx(10_000 / 19)


def test_where_no_row_follows_another_a_reference_is_worth_all_of_them():
    values = normal(500, 3)
    values[::2, 1] = np.nan
    values[::2, 2], values[2, 2] = np.nan, 0.0
    baseline = baseline_of(reference_of(values, ordered=True))
    assert baseline.is_stream.tolist() == [True, False, True]
    assert baseline.effective(np.full(3, 0.5)).tolist()[1] == 250


def test_the_variance_of_a_reference_is_told_on_its_grid():
    values = 5 + 2 * normal(5_000, seed=8)
    baseline = baseline_of(reference_of(values))
    assert baseline.variance.item() * baseline.step.item() ** 2 == pytest.approx(values.var(), rel=0.01)


def test_ranges_are_told_in_the_channels_own_units():
    values = np.linspace(-3, 5, 1000, dtype=np.float32)[:, np.newaxis]
    low, high = baseline_of(reference_of(values)).range_of(0)
    assert (low, high) == pytest.approx((-3, 5), abs=0.1)


def test_a_channel_is_watchable_where_it_has_values_that_differ():
    values = normal(100, 3)
    values[:, 1] = 4.0
    values[:, 2] = np.nan
    baseline = baseline_of(reference_of(values))
    assert baseline.is_watchable.tolist() == [True, False, False]
    assert baseline.is_constant.tolist() == [False, True, False]
    assert baseline.missing.tolist() == [0, 0, 1]


# -- faults ---------------------------------------------------------------------------------------


def faults_of(reference, *devices, is_input=True):
    """What is wrong with the windows of each device, a list of rows each."""
    streams = [[sketch_of(rows, reference)] for rows in devices]
    history = History(streams, channels=len(reference.channels), most=8)
    baseline = baseline_of(reference)
    known = np.full(len(reference.channels), is_input)
    return find_faults(history, baseline, POLICY, is_input=known), baseline


def only(flags):
    return np.asarray(flags).ravel().tolist()


SOUND = reference_of(normal(5000, seed=3), ordered=True)


def test_a_sound_sensor_has_no_fault():
    faults, _ = faults_of(SOUND, normal(200, seed=4))
    assert only(faults.any) == [False]


@pytest.mark.parametrize(("missing", "is_fault"), [(19, False), (20, True)])
def test_a_tenth_of_the_values_missing_is_a_fault(missing, is_fault):
    rows = normal(200, seed=4)
    rows[:missing] = np.nan
    faults, baseline = faults_of(SOUND, rows)
    assert only(faults.missing) == [is_fault]
    if is_fault:
        (issue,) = issues(faults, baseline, [0])
        assert (issue.fault, issue.detail) == (
            Fault.MISSING, "10% of the values are missing, in the reference 0.0%",
        )  # fmt: skip


def test_missing_values_that_were_usual_are_no_fault():
    values = normal(5000, seed=3)
    values[::2] = np.nan
    rows = normal(200, seed=4)
    rows[:100] = np.nan
    faults, _ = faults_of(reference_of(values), rows)
    assert only(faults.missing) == [False]
    rows[:125] = np.nan
    faults, _ = faults_of(reference_of(values), rows)
    assert only(faults.missing) == [False], "less than four standard errors more"
    rows[:150] = np.nan
    faults, _ = faults_of(reference_of(values), rows)
    assert only(faults.missing) == [True]


def test_a_value_that_stays_is_stuck_from_50_rows_on():
    for count, is_stuck in ((49, False), (50, True)):
        faults, baseline = faults_of(SOUND, np.full((count, 1), 0.5, np.float32))
        assert only(faults.stuck) == [is_stuck]
    (issue,) = issues(faults, baseline, [0])
    assert issue.detail.startswith("stays at 0.5")
    assert "although it moved between " in issue.detail


def test_a_value_that_stays_as_long_as_a_slow_process_lets_it_is_not_stuck():
    slow = msgspec.structs.replace(SOUND, channels=(msgspec.structs.replace(SOUND.channels[0], lag1=0.99),))
    faults, _ = faults_of(slow, np.full((200, 1), 0.5, np.float32))
    assert only(faults.stuck) == [False]
    faults, _ = faults_of(slow, np.full((2000, 1), 0.5, np.float32))
    assert only(faults.stuck) == [True]


def test_where_order_is_unknown_a_value_must_stay_ten_times_as_long_and_a_common_one_may_for_ever():
    unordered = reference_of(normal(5000, seed=3))
    # A bin of a 32nd: 14 nats are 14 / ln 32 = 4.04 rows, 40.4 that count a tenth.
    for count, is_stuck in ((50, True), (500, True)):
        faults, _ = faults_of(unordered, np.full((count, 1), 0.5, np.float32))
        assert only(faults.stuck) == [is_stuck]
    half = normal(5000, seed=3)
    half[::2] = 0.0
    faults, _ = faults_of(reference_of(half), np.zeros((2000, 1), np.float32))
    assert only(faults.stuck) == [False]


def test_a_class_and_a_constant_may_stay():
    classes = (np.arange(5000) % 3).astype(np.float32)[:, np.newaxis]
    faults, _ = faults_of(reference_of(classes, discrete={"c0"}), np.ones((2000, 1)))
    assert only(faults.stuck) == [False]
    faults, _ = faults_of(reference_of(np.ones((500, 1), np.float32)), np.ones((2000, 1)))
    assert only(faults.any) == [False]


def test_values_a_whole_range_outside_are_out_of_range_on_either_side():
    values = np.linspace(0, 1, 1000, dtype=np.float32)[:, np.newaxis]
    reference = reference_of(values)
    for level, is_fault in ((1.9, False), (2.1, True), (-0.9, False), (-1.1, True)):
        rows = level + 0.01 * normal(100, seed=4)
        faults, baseline = faults_of(reference, rows)
        assert only(faults.out_of_range) == [is_fault], level
    (issue,) = issues(faults, baseline, [0])
    assert issue.detail.startswith("is -1.1")
    assert "on average, far outside " in issue.detail


def test_one_wild_reading_is_not_out_of_range():
    values = np.linspace(0, 1, 1000, dtype=np.float32)[:, np.newaxis]
    rows = np.full((100, 1), 0.5, np.float32) + 0.1 * normal(100, seed=4)
    rows[0] = 1e6
    faults, _ = faults_of(reference_of(values), rows)
    assert only(faults.out_of_range) == [False]


@pytest.mark.parametrize(("moved", "is_fault"), [(9, False), (10, True)])
def test_a_constant_that_begins_to_move_is_told(moved, is_fault):
    reference = reference_of(np.full((500, 1), 4.0, np.float32))
    rows = np.full((100, 1), 4.0, np.float32)
    rows[:moved] = 9.0
    faults, baseline = faults_of(reference, rows)
    assert only(faults.out_of_range) == [is_fault]
    if is_fault:
        (issue,) = issues(faults, baseline, [0])
        assert issue.detail == "was 4 throughout the reference and is 4.5 on average now"


def test_answers_and_few_rows_have_no_faults():
    stuck = np.full((200, 1), 0.5, np.float32)
    faults, _ = faults_of(SOUND, stuck, is_input=False)
    assert only(faults.any) == [False]
    faults, _ = faults_of(SOUND, stuck[:49])
    assert (only(faults.any), only(faults.was_looked_at), only(faults.was_heard)) == ([False], [False], [True])
    faults, _ = faults_of(SOUND, stuck[:0])
    assert only(faults.was_heard) == [False]


def test_of_a_fleet_what_more_than_half_share_is_told():
    stuck, sound = np.full((200, 1), 0.5, np.float32), normal(200, seed=4)
    faults, baseline = faults_of(SOUND, stuck, stuck, sound)
    (issue,) = issues(faults, baseline, [0, 1, 2])
    assert issue.detail.endswith(", on 2 of 3 devices")
    faults, baseline = faults_of(SOUND, stuck, stuck, sound, sound)
    assert issues(faults, baseline, [0, 1, 2, 3]) == ()
    assert len(issues(faults, baseline, [0])) == 1, "of one device, what it has"
    assert issues(faults, baseline, [2]) == ()


def test_one_device_is_no_fleet_although_the_others_sent_too_little():
    stuck, sound = np.full((200, 1), 0.5, np.float32), normal(20, seed=4)
    faults, baseline = faults_of(SOUND, stuck, sound)
    assert issues(faults, baseline, [0, 1]) == ()
    faults, baseline = faults_of(SOUND, stuck, sound[:0])
    (issue,) = issues(faults, baseline, [0, 1])
    assert issue.detail.endswith(", on 1 of 1 devices")
