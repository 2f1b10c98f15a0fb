"""Which windows of several devices are judged together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops import limits
from edgeops.drift.rounds import PATIENCE, QUORUM_SPAN, SETTLE, DeviceWindow, align, per_device
from edgeops.sketch.window import LIMIT, Sketch

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
THREE = frozenset({"a", "b", "c"})


def sketch(rows):
    counts = np.zeros((1, limits.HISTOGRAM_BINS), np.int64)
    counts[0, 0] = rows
    zeros = np.zeros(1, np.int64)
    return Sketch(
        rows=rows, counts=counts, total=zeros, squares=zeros, pairs=zeros, steps=zeros,
        low=np.full(1, LIMIT if not rows else 0), high=np.full(1, -LIMIT if not rows else 0),
    )  # fmt: skip


def window(device, at_s, *, rows=10, duration_s=1.0):
    return DeviceWindow(
        device_id=device,
        closed_at=at(at_s),
        duration=timedelta(seconds=duration_s),
        sketch=sketch(rows),
    )


def at(seconds):
    return START + timedelta(seconds=seconds)


def contents(alignment):
    return ["".join(sorted(window for window in round_.windows)) for round_ in alignment.closed]


def test_a_slot_closes_as_soon_as_every_device_is_in_it():
    alignment = align([window("a", 0), window("b", 1), window("c", 2)], THREE, now=at(2))
    assert contents(alignment) == ["abc"]
    assert alignment.open is None


def test_a_device_that_missed_a_burst_does_not_mix_the_rounds_from_then_on():
    """All three see three bursts, but for the second one, which one device was too late for."""
    bursts = [(0, "abc"), (30, "ab"), (33, "cab"), (44, "cab")]
    windows = [
        window(device, second + 0.1 * place, duration_s=0.1)
        for second, who in bursts
        for place, device in enumerate(who)
    ]
    alignment = align(windows, THREE, now=at(45))
    assert contents(alignment) == ["abc", "ab", "abc", "abc"]
    assert [len(round_.windows["a"]) for round_ in alignment.closed] == [1, 1, 1, 1]


def test_a_window_that_one_device_never_had_shifts_no_round():
    """As a device that came too late for the end of a stretch: its next window is of the others' next round."""
    stretches = [(0, "ab"), (0.9, "bac"), (3.0, "cba"), (8.0, "abc")]
    windows = [
        window(device, second + 0.02 * place, duration_s=0.01)
        for second, who in stretches
        for place, device in enumerate(who)
    ]
    alignment = align(windows, THREE, now=at(9))
    assert contents(alignment) == ["abc", "abc", "abc"]
    assert [len(round_.windows["a"]) for round_ in alignment.closed] == [2, 1, 1]
    assert [len(round_.windows["c"]) for round_ in alignment.closed] == [1, 1, 1]


def test_a_burst_that_fills_two_windows_of_each_device_is_one_round():
    order = ["b", "b", "a", "c", "a", "c"]
    burst = [window(device, 0.1 * place, duration_s=0.05) for place, device in enumerate(order)]
    alignment = align([*burst, *(window(device, 4) for device in "cab")], THREE, now=at(5))
    assert contents(alignment) == ["abc", "abc"]
    assert [len(round_.windows["b"]) for round_ in alignment.closed] == [2, 1]


def test_half_of_the_fleet_counts_also_those_that_were_never_heard():
    early = align([window("a", 0), window("a", 60)], THREE, now=at(600))
    assert contents(early) == []
    assert early.open is not None
    assert early.closes_at is None


def test_a_device_that_nobody_heard_yet_is_waited_for_a_moment():
    windows = [window("a", 0), window("b", 1)]
    early = align(windows, THREE, now=at(2))
    assert early.closed == ()
    assert early.missing == ("c",)
    assert early.closes_at == START + SETTLE
    assert contents(align(windows, THREE, now=START + SETTLE)) == ["ab"]


def test_devices_of_different_hours_meet_in_one_slot():
    hourly = [
        window(device, 3600 * hour + 1200 * place, duration_s=3600)
        for hour in range(4)
        for place, device in enumerate("abc")
    ]
    alignment = align(hourly, THREE, now=at(4 * 3600))
    # One that was never heard is not waited for; from then on each is.
    assert contents(alignment)[0] == "ab"
    assert set(contents(alignment)[1:]) == {"abc"}


def test_a_device_that_fell_silent_holds_one_slot_up_and_no_more():
    windows = [window(device, 10 * turn) for turn in range(5) for device in "abc"]
    windows += [window(device, 10 * turn) for turn in range(5, 12) for device in "ab"]
    alignment = align(windows, THREE, now=at(200))
    assert contents(alignment)[:5] == ["abc"] * 5
    assert set(contents(alignment)[5:]) == {"ab"}


def test_a_slow_device_does_not_hold_up_fast_ones():
    fast = [window(device, 5 * turn) for turn in range(200) for device in "ab"]
    slow = [window("c", 0, duration_s=3600), window("c", 900, duration_s=900)]
    alignment = align(fast + slow, THREE, now=at(1000))
    assert len(alignment.closed) > 50


def test_one_that_talks_while_the_others_sleep_is_no_group():
    windows = [window(device, 0) for device in "abc"] + [window("a", 60 * turn) for turn in range(1, 600)]
    alignment = align(windows, THREE, now=at(36_000))
    assert contents(alignment) == ["abc"]
    assert alignment.open is not None
    assert alignment.closes_at is None
    assert alignment.missing == ("b", "c")


def test_those_that_are_gone_for_a_day_count_no_longer():
    day = 86_400
    windows = [window(device, 0) for device in "abc"] + [window("a", day + 60 * turn) for turn in range(1, 5)]
    alignment = align(windows, THREE, now=at(day + 600))
    assert contents(alignment) == ["abc", "a", "a", "a", "a"]


def test_other_devices_are_left_out():
    alignment = align([window("a", 0), window("stranger", 0), window("b", 1)], frozenset("ab"), now=at(1))
    assert contents(alignment) == ["ab"]


def test_what_comes_late_falls_where_it_belongs():
    windows = [window(device, 10 * turn) for turn in range(3) for device in "abc"]
    again = align(reversed(windows), THREE, now=at(30))
    assert contents(again) == ["abc"] * 3


def test_several_windows_of_one_device_in_a_slot_are_one_sketch_and_a_missing_device_is_an_empty_one():
    rounds = align([window("a", 0, rows=5), window("a", 1, rows=7), window("b", 2, rows=3)], THREE, now=at(60)).closed
    sketches = per_device(rounds, THREE, channels=1)
    assert {device: [one.rows for one in series] for device, series in sketches.items()} == {
        "a": [12],
        "b": [3],
        "c": [0],
    }


# -- borders of a round -----------------------------------------------------------------------------

SETTLED = SETTLE.total_seconds()
MOST = PATIENCE.total_seconds()
PAIR = frozenset("ab")
#: Who was never heard keeps a group of four from being full.
FOUR = frozenset("abcd")


def closes_after(windows, members):
    """Seconds after which the open round closes by age; None = it waits."""
    alignment = align(windows, members, now=windows[-1].closed_at)
    assert alignment.open is not None
    return None if alignment.closes_at is None else (alignment.closes_at - START).total_seconds()


def test_any_device_gets_a_little_more_than_a_source_that_went_idle_needs():
    assert SETTLE > limits.WINDOW_IDLE


def test_a_full_round_takes_what_closes_within_a_second_of_its_last_window():
    full = [window("a", 0), window("b", 0.5)]
    together = align([*full, window("a", 1.5)], PAIR, now=at(2))
    assert contents(together) == ["ab"]
    assert together.open is None
    later = align([*full, window("a", 1.6)], PAIR, now=at(2))
    assert contents(later) == ["ab"]
    assert later.open is not None
    assert later.open.opened_at == at(1.6)


@pytest.mark.parametrize(("end", "rounds"), [(SETTLED - 0.1, 1), (SETTLED, 2)])
def test_a_burst_that_lasts_is_one_round_until_it_has_settled(end, rounds):
    burst = [window("a", 0), *(window("ab"[turn % 2], 0.9 * turn) for turn in range(1, int(end / 0.9) + 1))]
    alignment = align([*burst, window("b", end)], PAIR, now=at(end))
    assert len(alignment.closed) + (alignment.open is not None) == rounds


def test_what_was_opened_a_second_after_all_had_closed_is_of_another_round():
    first = [window("a", 0), window("b", 0.5)]
    for opened, is_apart in ((1.5, True), (1.4, False)):
        alignment = align([*first, window("a", 2.5, duration_s=2.5 - opened)], FOUR, now=at(2.5))
        assert bool(alignment.closed) == is_apart
        assert alignment.closes_at == (None if is_apart else START + SETTLE)


def test_the_second_window_of_a_device_opens_another_round_once_the_first_has_settled():
    first = [window("a", 0), window("b", 1)]
    for closed, is_another in ((SETTLED, True), (SETTLED - 0.1, False)):
        alignment = align([*first, window("a", closed, duration_s=closed)], FOUR | {"e"}, now=at(closed))
        assert bool(alignment.closed) is False, "two of five are no half"
        alignment = align([*first, window("a", closed, duration_s=closed)], FOUR, now=at(closed))
        assert bool(alignment.closed) == is_another
    slow = [window(device, 0, duration_s=600) for device in "abcd"]
    others = [window("a", 100, duration_s=99), window("b", 101, duration_s=99)]
    for device, is_another in (("c", False), ("a", True)):
        alignment = align([*slow, *others, window(device, 150, duration_s=149)], FOUR, now=at(150))
        assert (len(alignment.closed) == 2) == is_another, "who was slower contributes when it comes"


def test_half_of_those_that_count_are_enough_and_who_speaks_counts():
    assert closes_after([window("a", 0), window("b", 1)], FOUR) == SETTLED
    assert closes_after([window("a", 0), window("b", 1)], FOUR | {"e"}) is None
    # After a day of silence all but one stopped to count; one of them comes back.
    day = QUORUM_SPAN.total_seconds()
    early = [window(device, 0) for device in "abcd"]
    assert closes_after([*early, window("a", day)], FOUR) is None, "a day ago is lately"
    assert closes_after([*early, window("a", day + 1)], FOUR) is not None
    assert closes_after([*early, window("a", day + 1), window("b", day + 2)], FOUR) is not None
    six = FOUR | {"e", "f"}
    all_six = [window(device, 0) for device in sorted(six)]
    assert closes_after([*all_six, *(window(one, day / 2) for one in "cdef"), window("a", day + 1)], six) is None
    # Of five that count two are no half; the third, long silent, counts as it speaks.
    again = [window("a", day + 1), window("b", day + 2), window("c", day + 3)]
    assert closes_after([*all_six, *(window(one, day / 2) for one in "cdef"), *again[:2]], six) is None
    assert closes_after([*all_six, *(window(one, day / 2) for one in "cdef"), *again], six) is not None


def test_who_was_never_heard_counts_for_a_day_from_the_first_window_on():
    day = QUORUM_SPAN.total_seconds()
    assert closes_after([window("a", 0)], THREE) is None
    alignment = align(
        [window("a", 0), window("b", 1), window("a", day), window("b", day + 1)], FOUR | {"e"}, now=at(day + 2)
    )
    assert alignment.closed == ()
    late = align(
        [window("a", 0), window("b", 1), window("c", 2), window("a", day + 2), window("b", day + 3)],
        FOUR | {"e"}, now=at(day + 4),
    )  # fmt: skip
    assert contents(late) == ["abc"]
    assert late.closes_at is not None, "the two that were never heard count no longer"


def waits_for_c(*before, opened=5_000):
    """How long a round of a and b waits for c, after these windows of c, at which a and b are as well."""
    told = [one for own in before for one in (*(replace(own, device_id=device) for device in "ab"), own)]
    return closes_after([*told, window("a", opened), window("b", opened + 1)], THREE) - opened


def test_a_device_is_waited_for_twice_its_own_rhythm_after_its_last_window():
    assert waits_for_c(window("c", 1)) == SETTLED
    assert waits_for_c(window("c", 1, duration_s=2_501)) == SETTLED, "it was due within a moment"
    assert waits_for_c(window("c", 1, duration_s=3_000)) == 1 + 2 * 3_000 - 5_000
    assert waits_for_c(window("c", 1), window("c", 3_001)) == 3_001 + 2 * 3_000 - 5_000, "as often as it came"
    longer = [window("c", 1), window("c", 3_001, duration_s=3_200)]
    assert waits_for_c(*longer) == 3_001 + 2 * 3_200 - 5_000, "or as long as it took"


def test_who_was_waited_for_and_came_is_waited_for_no_longer():
    """Of five, two are awaited: c for long, d for less, and e never spoke."""
    heard = [window(device, 0) for device in "ab"]
    heard += [window("c", 1, duration_s=3_000), window("d", 2, duration_s=2_800)]
    turn = [*heard, window("a", 5_000), window("b", 5_001, duration_s=2)]
    assert closes_after(turn, FOUR) == 1 + 6_000, "the last one of them"
    late = window("c", 5_500, duration_s=600)
    assert closes_after([*turn, late], FOUR) == 2 + 5_600
    after = window("a", 5_602, duration_s=700)
    assert len(align([*turn, late, after], FOUR, now=at(5_602)).closed) == 2, "d was due"
    assert len(align([*turn, replace(after, closed_at=at(5_601.9))], FOUR | {"e"}, now=at(5_700)).closed) == 1


def test_a_round_has_ended_the_moment_nobody_is_awaited_any_more():
    heard = [window("a", 0), window("b", 0), window("c", 1, duration_s=3_000), window("a", 5_000), window("b", 5_001)]
    for second, has_ended in ((6_000.9, False), (6_001, True)):
        alignment = align([*heard, window("b", 5_002, duration_s=4)], THREE, now=at(second))
        assert (alignment.open is None) == has_ended


def test_nobody_is_waited_for_longer_than_the_longest_windows_take_twice():
    assert PATIENCE == 2 * limits.WINDOW_AGE
    assert waits_for_c(window("c", 2_001, duration_s=4_000)) == 2_001 + MOST - 5_000


@pytest.mark.parametrize(("pause", "due"), [(MOST, 2 * MOST), (MOST + 1, 0)])
def test_who_comes_back_after_a_long_silence_is_not_taken_for_that_slow(pause, due):
    opened = pause + 100
    assert waits_for_c(window("c", 0), window("c", pause), opened=opened) == max(due - opened, SETTLED)


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 20_000), st.integers(0, 4000)), max_size=60),
    st.integers(0, 30_000),
)
def test_every_window_is_in_exactly_one_slot_and_slots_follow_each_other(drawn, later):
    windows = [window(device, second, duration_s=duration) for device, second, duration in drawn]
    now = at(max((second for _, second, _ in drawn), default=0) + later)
    alignment = align(windows, frozenset("abcd"), now=now)
    rounds = [*alignment.closed, *([] if alignment.open is None else [alignment.open])]
    placed = [one for round_ in rounds for series in round_.windows.values() for one in series]
    assert sorted(map(id, placed)) == sorted(id(one) for one in windows if one.device_id in "abcd")
    closings = [[one.closed_at for series in round_.windows.values() for one in series] for round_ in rounds]
    assert all(max(first) <= min(second) for first, second in pairwise(closings))
    # Half of the devices in a round, and two of the longest hours passed: nothing is held back.
    if alignment.open is not None and alignment.closes_at is not None:
        assert now < alignment.closes_at <= alignment.open.opened_at + PATIENCE


def test_sketches_of_other_channels_are_an_error():
    from edgeops.errors import MessageError
    from edgeops.sketch.window import empty_sketch

    wrong = DeviceWindow(device_id="a", closed_at=START, duration=timedelta(0), sketch=empty_sketch(2))
    with pytest.raises(MessageError):
        per_device(align([wrong], frozenset("a"), now=START).closed, ["a"], channels=1)
