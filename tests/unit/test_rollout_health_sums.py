"""What devices show adds up, in any order, and a wave is the sum of its devices."""

import math
from itertools import permutations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops.protocol.messages import Phase
from edgeops.rollout.health.belonging import Belonging
from edgeops.rollout.health.device import (
    DeviceHealth,
    Inputs,
    Live,
    Pairs,
    Period,
    with_baseline,
    with_crash,
    with_memory,
    with_window,
)
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.health.spread import Spread, combined, moved, sides_of, spread_of, step_of
from edgeops.rollout.health.sums import minus, plus
from edgeops.rollout.health.wave import (
    Labels,
    Part,
    Shown,
    Stated,
    WaveHealth,
    left,
    replaced,
    shown_by,
    with_device,
    without_device,
)
from tests.unit.health_values import device, paired, pairs, period, shown, window

COUNTS = st.integers(0, 1_000)
#: A device is made of many numbers, which takes long on a busy machine.
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WINDOWS = st.builds(
    window,
    rows=st.integers(0, 60),
    errors=COUNTS,
    dropped=COUNTS,
    duration_ms=COUNTS,
    p95_us=st.integers(0, 10**7),
    paired=st.none()
    | st.builds(
        paired,
        rows=COUNTS,
        errors=COUNTS,
        shadow_errors=COUNTS,
        skipped=COUNTS,
        p95_us=st.integers(0, 10**7),
        shadow_p95_us=st.integers(0, 10**7),
        cells=st.sampled_from([(), (0, 0, 0, 0)]) | st.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
    ),
)
INPUTS = st.none() | st.builds(Inputs, values=COUNTS, missing=COUNTS, mix=st.tuples(COUNTS, COUNTS, COUNTS))


@st.composite
def devices(draw):
    """A device that was grown window by window."""
    health = DeviceHealth(shadowed=draw(st.booleans()), memory_before_bytes=draw(COUNTS))
    for one in draw(st.lists(WINDOWS, max_size=2)):
        health = with_baseline(health, one)
    for one in draw(st.lists(WINDOWS, max_size=2)):
        health = with_window(health, one, draw(INPUTS))
    return with_memory(health, draw(COUNTS))


# -- a logarithmic scale ------------------------------------------------------------------


def test_a_device_that_left_owes_nothing_more_and_what_it_showed_stays():
    stays = device(since=period(rows=40, errors=2), shadowed=False)
    leaves = device(since=period(rows=30, errors=1), shadowed=True, pairs=pairs(cells=(5, 1, 0, 4)))
    both = with_device(with_device(Shown(), stays), leaves)
    rest = left(both, leaves)
    assert (both.devices, both.heard, both.shadowed, both.paired) == (2, 2, 1, 1)
    assert (rest.devices, rest.heard, rest.shadowed, rest.paired) == (1, 1, 0, 0)
    assert (rest.since, rest.before, rest.pairs) == (both.since, both.before, both.pairs)


def test_a_step_is_a_hundredth_of_a_logarithm():
    assert (step_of(1.0), step_of(math.e), step_of(1.01), step_of(0.99), step_of(12_000)) == (0, 100, 1, -1, 939)


def test_entries_of_the_step_of_a_value_are_on_neither_side_of_it():
    spread = spread_of([8, 9, 9, 10, 11, 11, 11])
    assert (step_of(1.1), sides_of(spread, 1.1)) == (10, (3, 3))
    assert sides_of(spread, 2.0) == (7, 0)
    assert sides_of(spread, 1.01) == (0, 7)


def test_the_lower_median_counts():
    assert Spread().median is None
    assert Spread().typical is None
    assert spread_of([3]).median == 3
    assert spread_of([5, 1]).median == 1
    assert spread_of([5, 1, 9]).median == 5
    assert spread_of([1, 1, 9, 9]).median == 1
    assert spread_of([1, 1, 9, 9, 9]).median == 9
    assert spread_of([100, 100]).typical == pytest.approx(math.e)


def test_entries_are_counted_in_order():
    assert spread_of([4, -2, 4]) == Spread(counts=((-2, 1), (4, 2)))
    assert spread_of([4, -2, 4]).total == 3
    assert moved(spread_of([4, -2]), 3) == spread_of([7, 1])


def test_what_is_taken_out_leaves_no_trace():
    both = combined(spread_of([1, 2]), spread_of([2, 3]))
    assert both == Spread(counts=((1, 1), (2, 2), (3, 1)))
    assert combined(both, spread_of([2, 3]), sign=-1) == spread_of([1, 2])


# -- sums --------------------------------------------------------------------------------


def test_counts_by_position_add_up_whatever_their_length():
    assert plus(Inputs(mix=(1, 2)), Inputs(mix=(0, 1, 5))) == Inputs(mix=(1, 3, 5))
    assert plus(Inputs(mix=(0, 1, 5)), Inputs(mix=(1, 2))) == Inputs(mix=(1, 3, 5))
    assert minus(Inputs(mix=(1, 2)), Inputs(mix=(1, 2))) == Inputs()


def test_every_field_of_a_period_and_of_pairs_adds_up():
    one, other = period(errors=1, dropped=2, crashes=3, missing=4, mix=(1, 2)), period(rows=100, windows=2)
    both = plus(one, other)
    assert (both.windows, both.rows, both.errors, both.dropped, both.duration_ms, both.crashes) == (
        42,
        2_100,
        1,
        2,
        420_000,
        3,
    )
    assert (both.latency_p95.total, both.inputs.values, both.inputs.missing) == (42, 8_400, 4)
    assert minus(both, other) == one


@FEW
@given(devices(), devices(), devices())
def test_the_order_of_devices_does_not_matter_and_one_that_leaves_leaves_nothing(first, second, third):
    sums = {msgspec.json.encode(shown(*order)) for order in permutations([first, second, third])}
    assert len(sums) == 1
    assert without_device(shown(first, second), second) == shown(first)
    assert without_device(shown(first), first) == Shown()


@FEW
@given(devices(), devices(), WINDOWS, INPUTS)
def test_news_of_a_device_changes_a_wave_as_if_it_had_been_summed_up_anew(first, second, news, inputs):
    grown = with_window(second, news, inputs)
    assert replaced(shown(first, second), second, grown) == shown(first, grown)


@FEW
@given(st.lists(st.tuples(WINDOWS, INPUTS), max_size=4), st.randoms(use_true_random=False))
def test_windows_may_come_in_any_order(windows, random):
    def grown(order):
        health = DeviceHealth()
        for one, inputs in order:
            health = with_window(health, one, inputs)
            health = with_baseline(health, one, inputs)
        return health

    mixed = list(windows)
    random.shuffle(mixed)
    assert grown(windows) == grown(mixed)


@FEW
@given(devices())
def test_what_is_stored_is_what_is_read(health):
    kept = msgspec.json.decode(msgspec.json.encode(health))
    assert msgspec.convert(kept, DeviceHealth) == health
    together = WaveHealth(canary=shown(health))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(together)), WaveHealth) == together


def test_what_was_not_seen_takes_no_room():
    for kind in (DeviceHealth, Period, Pairs, Inputs, Live, Spread, Part, Shown, Labels, Stated, WaveHealth):
        assert msgspec.json.encode(kind()) == b"{}"
    assert Live().chosen == 0


def test_a_device_that_showed_nothing_owes_and_takes_nothing():
    nothing = DeviceHealth()
    assert (nothing.shadowed, nothing.memory_bytes, nothing.memory_before_bytes) == (False, 0, 0)
    assert shown_by(nothing) == Shown(devices=1, fresh=Part(devices=1))


def test_the_names_that_are_stored_stay():
    kinds = "telemetry answers errors crashes latency memory quality mix estimate"
    assert " ".join(Kind) == kinds
    assert (" ".join(Sign), " ".join(Belonging)) == ("good bad open told", "since past")


# -- a device ------------------------------------------------------------------------------


def test_a_window_counts_as_the_device_told_it():
    inputs = Inputs(values=200, missing=3, mix=(30, 20))
    grown = with_window(DeviceHealth(), window(errors=2, dropped=1), inputs)
    assert grown.before == Period()
    assert grown.since == Period(
        windows=1, rows=50, errors=2, dropped=1, duration_ms=10_000, latency_p95=spread_of([939]), inputs=inputs
    )
    assert grown.pairs == Pairs()
    assert with_baseline(DeviceHealth(), window(), inputs).before.inputs == inputs
    assert with_baseline(DeviceHealth(), window()).since == Period()


def test_pairs_count_as_the_device_told_them():
    told = paired(rows=10, errors=1, shadow_errors=2, skipped=3, cells=(5, 0, 2, 3))
    grown = with_window(DeviceHealth(shadowed=True), window(paired=told))
    assert grown.pairs == Pairs(
        windows=1, rows=10, new_errors=1, old_errors=2, skipped=3, cells=(5, 0, 2, 3),
        ratio_p95=spread_of([step_of(1.2)]), new_p95=spread_of([939]), old_p95=spread_of([step_of(10_000)]),
    )  # fmt: skip
    assert grown.pairs.seen == 13
    assert grown.shadowed


def test_a_window_of_few_rows_has_no_time_of_its_own_but_its_pairs_have():
    few = with_window(DeviceHealth(), window(rows=9, paired=paired(rows=1))).since
    assert few.latency_p95 == Spread()
    assert with_window(DeviceHealth(), window(rows=9, paired=paired(rows=1))).pairs.ratio_p95.total == 1
    assert with_window(DeviceHealth(), window(rows=10)).since.latency_p95.total == 1


def test_a_time_of_nothing_is_unknown():
    for new_us, old_us in ((0, 10), (10, 0), (0, 0)):
        told = with_window(DeviceHealth(), window(p95_us=0, paired=paired(p95_us=new_us, shadow_p95_us=old_us)))
        assert told.pairs.ratio_p95 == Spread()
        assert (told.pairs.new_p95.total, told.pairs.old_p95.total) == (int(new_us > 0), int(old_us > 0))
        assert told.since.latency_p95 == Spread()


def test_a_time_of_a_microsecond_is_a_time():
    assert with_window(DeviceHealth(), window(p95_us=1)).since.latency_p95 == spread_of([0])
    assert with_window(DeviceHealth(), window(paired=paired(p95_us=1, shadow_p95_us=1))).pairs.ratio_p95 == spread_of(
        [0]
    )


def test_crashes_add_up_and_of_memory_the_peak_counts():
    assert with_crash(with_crash(DeviceHealth())).since == Period(crashes=2)
    assert with_memory(with_memory(DeviceHealth(memory_before_bytes=4), 7), 5) == DeviceHealth(
        memory_bytes=7, memory_before_bytes=4
    )


# -- what a device adds to its wave ----------------------------------------------------------


def test_a_device_adds_what_it_owes_and_what_it_sent():
    silent = shown_by(DeviceHealth(shadowed=True, before=period()))
    assert (silent.devices, silent.heard, silent.shadowed, silent.paired) == (1, 0, 1, 0)
    heard = shown_by(device())
    assert (heard.devices, heard.heard, heard.shadowed, heard.paired) == (1, 1, 1, 1)
    lone = shown_by(device(shadowed=False))
    assert (lone.heard, lone.shadowed, lone.paired) == (1, 0, 0)
    assert shown_by(with_window(DeviceHealth(), window(rows=1))).heard == 1
    assert shown_by(with_window(DeviceHealth(), window(rows=0, errors=1))).heard == 1
    assert shown_by(with_window(DeviceHealth(), window(rows=0, dropped=1))).heard == 0


def test_what_a_device_shows_in_its_trial_counts_and_is_no_word_of_the_time_after_it():
    tried = with_window(DeviceHealth(), window(phase=Phase.TRIAL))
    assert (shown_by(tried).since.rows, shown_by(tried).heard) == (50, 0)
    assert shown_by(with_window(tried, window())).heard == 1


def test_where_no_bake_follows_the_trial_is_what_a_device_shows():
    tried = with_window(DeviceHealth(tried_alone=True), window(phase=Phase.TRIAL))
    assert shown_by(tried).heard == 1
    assert shown_by(DeviceHealth(tried_alone=True)).heard == 0
    assert shown_by(with_window(DeviceHealth(tried_alone=True), window())).heard == 1


def test_a_device_owes_pairs_until_it_sent_one():
    assert shown_by(DeviceHealth(shadowed=True, pairs=Pairs(new_errors=1))).paired == 1
    assert shown_by(DeviceHealth(shadowed=True, pairs=Pairs(skipped=1))).paired == 0


def test_a_device_is_measured_by_its_own_past():
    slower = shown_by(device(since=period(p95_ms=12.0 * math.e), before=period(p95_ms=12.0)))
    assert slower.own_p95 == spread_of([100] * 40)
    assert shown_by(device(before=Period())).own_p95 == Spread()
    assert slower.since.latency_p95.median == step_of(12_000 * math.e)


def test_memory_counts_where_both_are_known():
    known = shown_by(DeviceHealth(memory_bytes=7, memory_before_bytes=4))
    assert (known.memory_bytes, known.memory_before_bytes) == (7, 4)
    for new, old in ((7, 0), (0, 4)):
        unknown = shown_by(DeviceHealth(memory_bytes=new, memory_before_bytes=old))
        assert (unknown.memory_bytes, unknown.memory_before_bytes) == (0, 0)
    assert shown_by(DeviceHealth(memory_bytes=1, memory_before_bytes=1)).memory_bytes == 1


def test_a_wave_is_the_sum_of_its_devices():
    both = with_device(with_device(Shown(), device()), device(pairs=pairs(cells=(1, 2, 3, 4))))
    assert (both.devices, both.heard, both.shadowed, both.paired) == (2, 2, 2, 2)
    assert both.pairs.cells == (601, 2, 3, 404)
    assert (both.before.rows, both.since.rows, both.own_p95.total) == (4_000, 4_000, 80)
