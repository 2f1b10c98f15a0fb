"""What a group's evidence is worth without any one of its devices, and what a device shows that its siblings do not."""

from dataclasses import replace

import numpy as np
import pytest

from edgeops.drift.guard import guard_of
from edgeops.drift.siblings import differ_from_siblings
from edgeops.drift.statistics import cumulative, harmonic_mean, p_values, without_the_strongest
from edgeops.drift.views import GroupView
from tests.unit import drift_values as made

POLICY = made.POLICY
NO_LAG = np.array([0.0])


# -- a group without one of its voices ------------------------------------------------------------------


def voices(*counts):
    """A view whose voices counted so, of one channel or of several."""
    each = np.array([np.atleast_2d(one) for one in counts], float)
    shares = cumulative(each)
    return GroupView(cumulative=shares[0], voices=shares, rows=each.sum(axis=-1), worth=each.sum(axis=(0, 2)))


def guard(*counts, lag1=0.0, reference=None):
    view = voices(*counts)
    reference = reference or made.baseline(view.rows.shape[1])
    return guard_of(view, np.full(view.rows.shape[1], lag1), reference, POLICY)


def by_hand(*counts, reference_rows=10_000.0):
    """Of voices of one channel and 64 independent rows each: three sorts of evidence, each without one voice."""
    reference, n, m = made.baseline().cumulative[0], np.array(64.0), np.array(reference_rows)
    alone = np.array([p_values(cumulative(one), reference, n, m) for one in counts])
    rest = [sum(counts[:place] + counts[place + 1 :]) for place in range(len(counts))]
    others = np.array([p_values(cumulative(one), reference, n * (len(counts) - 1), m) for one in rest])
    shared = n / (n + m)
    sums, voices_ = harmonic_mean(others).max(), without_the_strongest(harmonic_mean(alone), shared)
    tests = harmonic_mean(without_the_strongest(alone, np.atleast_1d(shared)))
    return harmonic_mean(np.array([sums, voices_.item(), tests.item()])).item()


MOVED, EVEN = made.dealt(64, range(20)), made.dealt(64)


@pytest.mark.parametrize(
    "counts",
    [(MOVED, MOVED), (MOVED, EVEN), (MOVED, EVEN, MOVED), (made.dealt(64, range(16)), MOVED, EVEN, EVEN)],
)
def test_the_guard_is_the_evidence_of_all_but_one_in_the_sum_voice_by_voice_and_test_by_test(counts):
    assert guard(*counts).p_value == pytest.approx(by_hand(*counts), rel=1e-9)


def test_voices_against_a_small_reference_are_worth_less_for_they_share_it():
    small = made.baseline(rows=np.array([64.0]))
    counts = MOVED, MOVED, EVEN, MOVED
    assert guard(*counts, reference=small).p_value == pytest.approx(by_hand(*counts, reference_rows=64.0), rel=1e-9)
    assert guard(*counts, reference=small).p_value > guard(*counts).p_value


def test_the_channel_on_which_voices_share_most_of_the_reference_says_how_much_they_share():
    """Against ten rows of the reference, a voice of 64 shares most of it; the other channel was hardly seen."""
    shared, few = made.baseline(2, rows=np.array([10.0, 10_000.0])), made.dealt(64, range(4))
    counts = [np.stack((one, made.dealt(2))) for one in (few, few, few)]
    alone = guard(few, few, few, reference=made.baseline(rows=np.array([10.0])))
    assert guard(*counts, reference=shared).p_value > alone.p_value


def test_rows_that_follow_each_other_are_weaker_evidence():
    counts = MOVED, MOVED, MOVED
    assert guard(*counts, lag1=0.5).p_value > 10 * guard(*counts).p_value


def test_one_voice_needs_no_guard():
    for alone in (MOVED, EVEN):
        found = guard(alone)
        assert found.p_value == 0.0
        assert found.is_split is False


def test_one_voice_alone_is_held_back_whichever_it_is_and_what_two_say_is_not():
    far = made.dealt(64, [31])
    for place in range(3):
        counts = [EVEN, EVEN, EVEN]
        counts[place] = far
        assert guard(*counts).p_value > POLICY.guarded_alpha
    assert guard(MOVED, MOVED, EVEN).p_value < POLICY.guarded_alpha


def test_a_liar_that_moves_the_other_way_does_not_cancel_what_the_others_say():
    low, high = made.dealt(64, range(10)), 4 * made.dealt(64, range(22, 32))
    assert guard(low, low, high).p_value < POLICY.strict_guarded_alpha


def test_what_moved_on_one_of_many_channels_is_seen():
    moved = [made.dealt(64, range(10)), *[made.dealt(64)] * 9]
    assert guard(moved, moved, moved).p_value < POLICY.strict_guarded_alpha
    assert guard(moved, [made.dealt(64)] * 10, [made.dealt(64)] * 10).p_value > POLICY.guarded_alpha


def test_voices_are_split_where_one_moved_by_itself_and_another_not_at_all():
    assert guard(MOVED, EVEN).is_split
    assert guard(MOVED, MOVED, EVEN).is_split
    assert not guard(MOVED, MOVED).is_split
    assert not guard(EVEN, EVEN).is_split
    a_little = made.dealt(64, range(28))
    assert not guard(MOVED, a_little).is_split, "the other one says a little as well"
    assert not guard(made.dealt(16, range(20)), made.dealt(16)).is_split, "so few rows do not say it by themselves"


def test_a_voice_that_says_nothing_contradicts_nobody():
    assert guard(MOVED, np.zeros(32)).is_split is False
    assert not guard(MOVED, MOVED, np.zeros(32)).is_split
    half = np.stack((np.zeros(32), made.dealt(64)))
    assert guard(np.stack((MOVED, EVEN)), half).is_split, "it speaks on one channel"
    assert guard(MOVED, MOVED, made.dealt(1, [16])).is_split, "a row that says nothing did not move"


# -- a device against its siblings ----------------------------------------------------------------------


def told(*counts, drifted=None):
    """Evidence on streams of one channel that counted so in the newest judged window, and moved unless it is said."""
    shares = np.array([cumulative(one) for one in counts])[np.newaxis, :, np.newaxis]
    rows = np.array([one.sum() for one in counts], float)[np.newaxis, :, np.newaxis]
    moved = np.array([[True]] * len(counts) if drifted is None else [[one] for one in drifted])
    bare = made.evidence(streams=len(counts), drifted=moved)
    return replace(bare, seen=replace(bare.seen, cumulative=shares, effective=rows))


def apart(devices, group=None):
    return differ_from_siblings(devices, group or devices, POLICY).ravel().tolist()


FAR = made.dealt(64, range(8))


def test_a_device_alone_has_no_siblings():
    assert apart(told(FAR)) == [False]


def test_of_two_each_is_held_against_the_other():
    assert apart(told(FAR, EVEN)) == [True, True]
    assert apart(told(FAR, EVEN, drifted=[True, False])) == [True, False], "only what moved away from the reference"
    assert apart(told(FAR, FAR)) == [False, False]
    assert apart(told(FAR, made.dealt(3, range(24, 32)))) == [False, False], "three rows do not show it"
    # It is not held against the group, which is their sum.
    assert apart(told(FAR, EVEN), told(FAR)) == [True, True]


def test_of_more_each_is_held_against_the_group():
    group = told(sum([EVEN] * 3))
    assert apart(told(FAR, EVEN, EVEN), group) == [True, False, False]
    assert apart(told(FAR, FAR, EVEN), told(sum([FAR] * 3))) == [False, False, True]
    assert apart(told(FAR, FAR, FAR), told(sum([FAR] * 3))) == [False] * 3


def test_what_is_not_judged_in_the_newest_window_is_not_held_against_anyone():
    fleet = told(sum([EVEN] * 3))
    assert apart(replace(told(FAR, FAR, FAR), exists=_newest(False, True, True)), fleet) == [False, True, True]
    assert apart(told(FAR, FAR, FAR), replace(fleet, exists=_newest(False))) == [False] * 3
    for flags in ((True, False), (False, True)):
        assert apart(replace(told(FAR, EVEN), exists=_newest(*flags))) == [False, False]


def _newest(*flags):
    """Whether streams of one channel exist in the newest judged window; in all others they do."""
    exists = made.full(value=True, streams=len(flags))
    exists[0, :, 0] = flags
    return exists


def test_a_device_that_differs_by_less_than_matters_is_not_apart():
    many = [made.dealt(64_000, range(30)), made.dealt(64_000), made.dealt(64_000)]
    assert apart(told(*many), told(sum(many[1:]))) == [False] * 3, "significant, and 0.06 away"
    near = told(FAR, EVEN, EVEN)
    for floor, is_apart in ((0.74, True), (0.76, False)):
        raised = replace(near, floor=made.full(floor, streams=3))
        assert apart(raised, told(sum([EVEN] * 3)))[0] == is_apart


def test_what_is_tested_is_corrected_over_devices_at_the_level_of_one_merged_window():
    group = told(sum([EVEN] * 30))
    moved = made.dealt(32, range(19))
    assert apart(told(moved, *[EVEN] * 2, drifted=[True, False, False]), group)[0]
    assert not apart(told(moved, *[EVEN] * 29), group)[0]
