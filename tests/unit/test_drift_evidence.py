"""Which windows are held against the reference, and when a difference counts: spans, what they show, what it comes to."""

from dataclasses import replace

import numpy as np
import pytest

from edgeops.drift.evidence import (
    counts_in,
    find_spans,
    seen_alone,
    seen_together,
    weigh,
    worth_alone,
    worth_together,
)
from edgeops.drift.history import NEVER
from edgeops.drift.statistics import cumulative, effective_rows, p_values
from edgeops.drift.views import group_view
from tests.unit import drift_values as made

POLICY = made.POLICY


def spans_of(*streams, reference=None, policy=POLICY, is_merged=False, **options):
    told = made.history(*streams, **options)
    reference = reference or made.baseline(told.running.present.shape[-1])
    return find_spans(
        told, reference, policy, worth=lambda sums: worth_alone(sums, reference), streams=told.streams,
        is_merged=is_merged,
    )  # fmt: skip


def first(array):
    """Of the first stream and channel, every span."""
    return array[:, 0, 0].tolist()


# -- which windows merge ----------------------------------------------------------------------------


def test_windows_merge_from_the_newest_until_there_are_fifty_rows_three_times():
    found = spans_of([30] * 8)
    assert first(found.upto)[:3] == [1, 3, 5]
    assert first(found.after)[:3] == [NEVER, 1, 3]
    assert first(found.effective)[:3] == [60, 60, 60]
    assert first(found.source_rows)[:3] == [60, 60, 60]


@pytest.mark.parametrize(("rows", "ages"), [(49, [1, 3, NEVER]), (50, [0, 1, 2])])
def test_fifty_rows_are_enough_for_a_judged_window(rows, ages):
    assert first(spans_of([rows] * 5).upto)[:3] == ages


def test_a_judged_window_holds_twenty_independent_rows():
    # r = 1/2: three rows are worth one.
    slow = [made.window(made.dealt(rows), lag1=0.5) for rows in (58, 61, 61)]
    found = spans_of(slow)
    assert first(found.upto)[:2] == [0, 1]
    assert first(found.effective)[0] == pytest.approx(61 / 3)
    assert first(found.lag1)[0] == pytest.approx(0.5)
    assert first(spans_of(slow[:2] + slow[:1]).upto)[:2] == [1, NEVER], "58 rows are worth 19.3"


def test_the_second_width_holds_four_times_as_many_independent_rows():
    found = spans_of([30] * 9)
    assert first(found.upto)[3:6] == [2, 5, 8]
    assert first(found.after)[3:6] == [NEVER, 2, 5]
    assert first(spans_of([80] * 3).upto)[3:6] == [0, 1, 2]
    assert first(spans_of([79] * 4).upto)[3:6] == [1, 3, NEVER]


def test_where_a_judged_window_is_not_full_none_is_made_of_what_is_older():
    found = spans_of([1000, 30, 40])
    assert first(found.upto)[:3] == [1, 2, NEVER]
    found = spans_of([30])
    assert first(found.upto) == [NEVER] * len(found.upto)
    assert first(found.effective) == first(found.lag1) == first(found.source_rows) == [0] * len(found.upto)


def test_each_channel_and_each_stream_merges_by_itself():
    holey = [made.window(made.dealt(60), made.dealt(20), rows=60)] * 7
    found = spans_of(holey, [made.window(made.dealt(20), made.dealt(60), rows=60)] * 7)
    assert found.upto[0].tolist() == [[0, 2], [2, 0]]
    assert found.upto[1].tolist() == [[1, 5], [5, 1]]
    assert found.source_rows[0].tolist() == [[60, 60], [60, 60]]


def test_merged_windows_begin_with_the_newest_and_reach_twice_as_far_each():
    found = spans_of([60] * 11)
    assert first(found.upto)[6:] == [1, 3, 7, 10]
    assert first(found.after)[6:] == [NEVER] * 4
    assert first(found.effective)[6:] == [120, 240, 480, 660]
    assert first(spans_of([60] * 8).upto)[6:] == [1, 3, 7]
    assert first(spans_of([60]).upto)[6:] == []


def test_no_more_windows_are_looked_at_than_the_horizon_holds():
    assert first(spans_of([1] * 200, most=POLICY.horizon_windows).upto)[-1] == 127
    assert POLICY.horizon_windows == 128


def test_a_merged_window_reaches_further_than_the_newest_judged_one():
    assert first(spans_of([20] * 8).upto)[6:] == [NEVER, 3, 7], "the newest judged window is three"
    assert first(spans_of([30] * 8).upto)[6:] == [NEVER, 3, 7], "the newest judged window is the same two"
    assert first(spans_of([5] * 8).upto)[6:] == [NEVER] * 3, "there is none"


def test_a_merged_window_that_slow_rows_make_worth_less_than_the_newest_judged_one_is_none():
    quick, slow = made.window(made.dealt(62), lag1=0.5), made.window(made.dealt(62), lag1=0.99)
    found = spans_of([slow, quick])
    assert first(found.effective)[0] == pytest.approx(62 / 3, abs=0.01)
    assert first(found.upto)[6:] == [NEVER], "together they are worth 18"


def test_what_merges_several_windows_may_decide_alone():
    assert first(spans_of([60] * 4).is_merged) == [False] * 6 + [True] * 2
    assert first(spans_of([30] * 4).is_merged) == [True] + [False] * 5 + [True] * 2
    assert first(spans_of([60] * 4, is_merged=True).is_merged) == [True] + [False] * 5 + [True] * 2


def test_nothing_is_held_against_a_reference_of_fewer_than_twenty_independent_rows():
    for rows, is_enough in ((20.0, True), (19.9, False)):
        found = spans_of([60] * 4, reference=made.baseline(rows=np.array([rows])))
        assert (found.upto != NEVER).any() == is_enough
    slow = [made.window(made.dealt(100), lag1=0.5)] * 4
    for rows, is_enough in ((60.5, True), (59.5, False)):
        found = spans_of(slow, reference=made.baseline(rows=np.array([rows])))
        assert (found.upto != NEVER).any() == is_enough, "what the stream shows of it makes its rows worth fewer"


def test_the_counts_of_a_span_are_those_of_its_windows():
    bins = [made.window(made.dealt(60, [place])) for place in range(8)]
    told = made.history(bins)
    found = spans_of(bins)
    counts = counts_in(found, told)[:, 0, 0]
    # The newest window is in bin 7.
    assert [np.flatnonzero(one).tolist() for one in counts] == [
        [7], [6], [5], [6, 7], [4, 5], [2, 3], [6, 7], [4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7],
    ]  # fmt: skip
    assert counts.sum(axis=-1).tolist() == [60, 60, 60, 120, 120, 120, 120, 240, 480]
    few = made.history([30])
    assert counts_in(spans_of([30]), few).sum() == 0


def test_the_counts_of_a_groups_span_are_those_of_every_device():
    streams = [[made.window(made.dealt(30, [place])) for place in (0, 1)], [made.window(made.dealt(30, [9]))]]
    told, reference = made.history(*streams), made.baseline()
    found = find_spans(
        told, reference, POLICY, worth=lambda sums: worth_together(sums, reference), streams=1, is_merged=True
    )
    assert found.upto[0].tolist() == [[0]]
    counts = counts_in(found, told)
    assert [np.flatnonzero(one[0]).tolist() for one in counts[0]] == [[1], [9]]


# -- what sums are worth ----------------------------------------------------------------------------


def moments(*windows):
    return made.history(*([one] for one in windows)).sums()


def test_alone_rows_are_worth_fewer_by_the_larger_autocorrelation_unless_chance_explains_it():
    reference = made.baseline(lag1=np.array([0.2]))
    quick, slow = made.window(made.dealt(100), lag1=0.19), made.window(made.dealt(100), lag1=0.5)
    worth = worth_alone(moments(quick, slow), reference)
    assert worth.lag1.ravel().tolist() == pytest.approx([0.2, 0.5], abs=1e-4)
    assert worth.effective.ravel().tolist() == pytest.approx([100 * 0.8 / 1.2, 100 / 3], abs=1e-2)
    assert worth.rows.ravel().tolist() == worth.source_rows.ravel().tolist() == [100, 100]
    chance = worth_alone(moments(made.window(made.dealt(100), lag1=0.19)), made.baseline())
    assert chance.lag1.item() == 0.0, "100 rows show as much by chance"


def test_together_each_counts_up_to_three_typical_ones_and_the_typical_one_is_the_source():
    worth = worth_together(moments(*(made.window(made.dealt(rows)) for rows in (10, 20, 100))), made.baseline())
    assert worth.rows.tolist() == [[10 + 20 + 60]]
    assert worth.source_rows.tolist() == [[20]]
    assert worth.effective.tolist() == [[90]]


def test_together_the_upper_median_of_autocorrelations_counts_where_chance_does_not_explain_it():
    windows = [made.window(made.dealt(100), lag1=lag1) for lag1 in (0.0, 0.3, 0.9)]
    worth = worth_together(moments(*windows), made.baseline())
    assert worth.lag1.item() == pytest.approx(0.3, abs=1e-3)
    assert worth.effective.item() == pytest.approx(300 * 0.7 / 1.3, abs=0.5)
    # 0.15 of 100 rows would be chance; of 300 it is not.
    of_many = [made.window(made.dealt(100), lag1=0.15)] * 3
    assert worth_together(moments(*of_many), made.baseline()).lag1.item() == pytest.approx(0.15, abs=1e-3)
    assert worth_together(moments(*of_many), made.baseline(lag1=np.array([0.4]))).lag1.item() == 0.4


def test_where_the_reference_knows_no_order_its_variance_is_the_least_of_a_stream_that_wanders():
    """A stretch shows a quarter of the variance, and steps that look large against it."""
    unordered = made.baseline(is_ordered=False, variance=np.array([4.0 * made.SPREAD**2]))
    stretch = moments(made.window(made.dealt(400), lag1=0.5))
    assert worth_alone(stretch, unordered).lag1.item() == pytest.approx(1 - 0.5 / 4, abs=1e-3)
    assert worth_alone(stretch, replace(unordered, is_ordered=True)).lag1.item() == pytest.approx(0.5, abs=1e-3)
    independent = moments(made.window(made.dealt(400), lag1=0.01))
    assert worth_alone(independent, unordered).lag1.item() == 0.0, "its rows do not follow each other"
    alternating = moments(made.window(made.dealt(400), lag1=-0.5))
    assert worth_alone(alternating, unordered).lag1.item() == 0.0


# -- what spans show --------------------------------------------------------------------------------


def test_alone_a_stream_shows_its_shares_and_both_tests_against_the_reference():
    told, reference = made.history([made.window(made.dealt(100, range(16)))]), made.baseline()
    found = spans_of([made.window(made.dealt(100, range(16)))])
    shown = seen_alone(found, counts_in(found, told), reference)
    shares = cumulative(made.dealt(100, range(16)))
    assert shown.cumulative[0, 0, 0].tolist() == shares.tolist()
    assert shown.rows[0].item() == shown.effective[0].item() == 100
    expected = p_values(shares, reference.cumulative[0], np.array(100.0), np.array(10_000.0))
    assert shown.p_values[0, 0, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    assert shown.guarded.tolist() == shown.split.tolist() == [[0]] * 6, "one stream guards against nobody"


def together(*devices, lag1=0.0, outvotes=True):
    """One span of a group in which each device counted so; the reference is even."""
    found = replace(made.spans(lag1=lag1), upto=np.zeros((1, 1, 1)), lag1=np.full((1, 1, 1), lag1))
    counts = np.array(devices, float)[np.newaxis, :, np.newaxis]
    return seen_together(found, counts, made.baseline(), POLICY, outvotes=outvotes), counts[0]


def test_together_the_median_is_seen_and_the_sum_is_tested_beside_it():
    devices = [made.dealt(60, range(16)), made.dealt(60), made.dealt(60, range(8, 32))]
    shown, counts = together(*devices, lag1=0.5)
    view = group_view(counts, outvotes=True)
    assert shown.cumulative[0, 0].tolist() == view.cumulative.tolist()
    assert shown.rows.item() == 180
    assert shown.effective.item() == pytest.approx(60)
    reference, m = made.baseline().cumulative, np.array([10_000 / 3])
    of_median = p_values(view.cumulative, reference, effective_rows(view.worth, np.array(0.5)), m)
    of_sum = p_values(view.capped_sum, reference, np.array([60.0]), m)
    assert shown.p_values[0, 0].tolist() == pytest.approx(np.concatenate((of_median, of_sum), axis=-1), rel=1e-9)


def test_together_what_one_shows_alone_does_not_pass_the_guard():
    moved, even = made.dealt(60, range(8)), made.dealt(60)
    one, _ = together(moved, even, even)
    assert one.guarded.item() > POLICY.guarded_alpha
    assert one.split.item()
    all_, _ = together(moved, moved, moved)
    assert all_.guarded.item() < POLICY.strict_guarded_alpha
    assert not all_.split.item()
    alone, _ = together(moved, outvotes=False)
    assert alone.guarded.item() == 0.0


# -- what it comes to -------------------------------------------------------------------------------


def weighed(p_values, *, spans=None, distance=0.5, seen=None, reference=None, together=True, policy=POLICY, **options):
    found = np.asarray(p_values, float)
    streams, channels = found.shape[1:]
    return weigh(
        spans or made.spans(streams=streams, of_channels=channels, merged=False),
        seen or made.seen(found, distance=distance), reference or made.baseline(channels), policy, together=together,
        **options,
    )  # fmt: skip


def p_of(*spans):
    """A p-value a span, of one stream and channel; Holm doubles it, for there are two tests."""
    return np.array(spans, float).reshape(-1, 1, 1) / 2


HIT, MISS = POLICY.alpha, POLICY.alpha * 1.01


@pytest.mark.parametrize(
    ("judged", "is_drift"),
    [
        ([HIT, HIT, MISS, 1, 1, 1], True),
        ([MISS, HIT, HIT, 1, 1, 1], True),
        ([HIT, MISS, HIT, 1, 1, 1], True),
        ([HIT, MISS, MISS, 1, 1, 1], False),
        ([1, 1, 1, HIT, HIT, MISS], True),
        ([1, 1, 1, MISS, HIT, HIT], True),
        ([1, 1, 1, MISS, MISS, HIT], False),
        ([HIT, MISS, MISS, HIT, MISS, MISS], False),
        ([MISS, MISS, HIT, HIT, MISS, MISS], False),
        ([HIT, HIT, HIT, HIT, HIT, HIT], True),
    ],
)
def test_two_of_the_last_three_windows_of_one_width_must_reach_the_level(judged, is_drift):
    found = weighed(p_of(*judged, 1, 1))
    assert found.drifted.item() == is_drift
    assert found.again.item() == is_drift


MERGED, NOT_MERGED = POLICY.merged_alpha, POLICY.merged_alpha * 1.01


@pytest.mark.parametrize(
    ("merged", "is_drift"), [([MERGED, 1], True), ([1, MERGED], True), ([NOT_MERGED, NOT_MERGED], False)]
)
def test_one_merged_window_decides_alone_at_a_stricter_level(merged, is_drift):
    found = weighed(p_of(1, 1, 1, 1, 1, 1, *merged))
    assert found.drifted.item() == is_drift
    assert not found.again.item()


def test_the_newest_judged_window_decides_alone_where_it_is_merged_and_no_other_judged_one_does():
    alone = p_of(1e-9, 1, 1, 1, 1, 1, 1, 1)
    assert not weighed(alone).drifted.item()
    assert weighed(alone, spans=made.spans(merged=True)).drifted.item()
    assert not weighed(p_of(1, 1, 1, 1e-9, 1, 1, 1, 1), spans=made.spans(merged=True)).drifted.item()


@pytest.mark.parametrize(("effective", "is_drift"), [(40.0, True), (39.9, False)])
def test_a_window_that_decides_alone_holds_forty_independent_rows(effective, is_drift):
    found = weighed(p_of(1, 1, 1, 1, 1, 1, 1e-9, 1), spans=made.spans(effective=effective))
    assert found.drifted.item() == is_drift


@pytest.mark.parametrize("p", [(HIT, HIT, 1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1e-9, 1)], ids=["again", "merged"])
def test_what_is_significant_must_also_matter(p):
    for distance, is_drift in ((0.0801, True), (0.0799, False)):
        found = weighed(p_of(*p), distance=distance)
        assert found.drifted.item() == is_drift
        assert found.distance.ravel().tolist() == pytest.approx([distance] * 8)
        assert set(found.floor.ravel().tolist()) == {POLICY.floor}
    assert weighed(p_of(*p), distance=0.5, policy=replace(POLICY, floor=0.5)).drifted.item(), "as far as that is enough"


@pytest.mark.parametrize("p", [(HIT, HIT, 1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1e-9, 1)], ids=["again", "merged"])
def test_what_one_device_alone_says_is_held_back_and_more_so_while_voices_contradict_each_other(p):
    def is_drift(guarded, *, split=False, stands_out=False):
        shown = made.seen(p_of(*p), guarded=guarded, split=split)
        options = {"do_some_stand_out": True} if stands_out else {}
        return weighed(p_of(*p), seen=shown, together=False, **options).drifted.item()

    assert is_drift(POLICY.guarded_alpha)
    assert not is_drift(POLICY.guarded_alpha * 1.01)
    for strict in ({"split": True}, {"stands_out": True}):
        assert not is_drift(POLICY.guarded_alpha, **strict)
        assert is_drift(POLICY.strict_guarded_alpha, **strict)
        assert not is_drift(POLICY.strict_guarded_alpha * 1.01, **strict)


def test_where_nothing_is_seen_and_where_there_is_no_distribution_nothing_exists():
    p = np.full((8, 1, 2), 1e-9)
    upto = made.spans(of_channels=2).upto
    upto[2:4, :, 0] = NEVER
    constant = made.baseline(2, is_constant=np.array([False, True]))
    found = weighed(p, spans=made.spans(of_channels=2, upto=upto), reference=constant)
    assert found.exists[:, 0].tolist() == [[place not in (2, 3), False] for place in range(8)]
    assert found.drifted.tolist() == [[True, False]]
    assert found.distance[:, 0, 1].tolist() == [0.0] * 8
    assert found.p_value[2, 0].tolist() == [1.0, 1.0]


def test_one_span_is_corrected_over_its_tests_channels_and_streams_and_not_over_other_spans():
    p = np.full((8, 2, 2), 0.9)
    p[:, 0, 0] = 0.002
    alone, group = weighed(p, together=True), weighed(p, together=False)
    assert alone.p_value[:, 0, 0].tolist() == pytest.approx([0.016] * 8)
    assert group.p_value[:, 0, 0].tolist() == pytest.approx([0.008] * 8)


# -- which span is told -----------------------------------------------------------------------------


def telling(*p, **options):
    return weighed(p_of(*p), **options).telling.item()


def test_what_decides_is_told_and_of_several_the_clearest():
    assert telling(HIT, HIT / 2, HIT, 1, 1, 1, 1, 1) == 1
    assert telling(HIT, HIT, 1, 1, HIT / 4, 1, 1, 1) == 4, "of the other width as well"
    assert telling(HIT, HIT, 1, 1, 1, 1, 1e-9, 1) == 0, "seen again, merged windows are not what decides"
    assert telling(1, 1, 1, 1, 1, 1, 1e-5, 1e-6) == 7
    assert telling(1e-9, 1, 1, 1, 1, 1, 1e-5, 1) == 6, "one judged window does not decide"


def test_where_nothing_decides_the_newest_judged_window_is_told():
    assert telling(0.9, 0.1, 0.2, 0.1, 1, 1, 0.1, 0.1) == 0


# -- how far a process wanders by itself ------------------------------------------------------------


def test_the_floor_is_what_the_process_wanders_and_two_standard_errors():
    wanders = made.baseline(lengths=np.array([100]), floors=np.array([[0.2]]))
    p = p_of(HIT, HIT, 1, 1, 1, 1, 1, 1)
    floor = 0.2 + 2 * 0.5 / np.sqrt(100)
    for distance, is_drift in ((floor * 1.01, True), (floor * 0.99, False)):
        found = weighed(p, distance=distance, reference=wanders)
        assert found.floor.ravel().tolist() == pytest.approx([floor] * 8)
        assert found.drifted.item() == is_drift
    short = weighed(p, spans=made.spans(source_rows=50.0), reference=wanders)
    assert short.floor.ravel().tolist() == pytest.approx([floor] * 8), "the rest counts as a block"
    none = weighed(p, seen=made.seen(p, effective=0.0), reference=wanders)
    assert none.floor.ravel().tolist() == pytest.approx([0.2 + 2.0] * 8)
