"""Which windows of several devices are judged together."""

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
        closed_at=START + timedelta(seconds=at_s),
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
    day = QUORUM_SPAN.total_seconds()
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
