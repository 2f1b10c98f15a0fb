"""Errors, crashes, time and memory."""

import pytest

from edgeops import limits
from edgeops.rollout.health.device import DeviceHealth, Period
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.health.spread import Spread, combined
from edgeops.rollout.health.wave import Shown
from edgeops.rollout.policy import HealthPolicy
from tests.unit.health_values import CONTROL, device, found, held_back, pairs, period, shown, times, wave

ALONE = {"control": Shown()}


def errors(health, **how):
    return found(Kind.ERRORS, health, **how)


def latency(health, **how):
    return found(Kind.LATENCY, health, **how)


def lone(**fields):
    """A device without an old model beside it."""
    return device(shadowed=False, **fields)


# -- errors ------------------------------------------------------------------------------------


def test_errors_of_the_new_model_alone_stop_it():
    told = errors(wave(device(pairs=pairs(cells=(1_900, 0, 0, 0), new_errors=70, old_errors=30))))
    assert told.sign is Sign.BAD
    assert told.words == (
        "of 2,000 inputs that both models had, 70 (3.5 %) ended in an error of the new one alone, 30 (1.5 %) in one of "
        "the old one alone; limit 1 point more"
    )
    assert (told.value, told.against, told.limit) == (0.035, 0.015, 0.01)


def test_errors_of_the_old_model_alone_speak_for_the_new_one():
    assert errors(wave(device(pairs=pairs(cells=(1_900, 0, 0, 0), new_errors=30, old_errors=70)))).sign is Sign.GOOD


def test_few_errors_more_are_not_certain():
    told = errors(wave(device(pairs=pairs(cells=(195, 0, 0, 0), new_errors=5))))
    assert told.sign is Sign.OPEN
    assert told.words.endswith("limit 1 point more; too few inputs to be certain")


def test_no_pair_is_no_proof():
    told = errors(wave(device(pairs=pairs(cells=(), windows=0))))
    assert told.sign is Sign.OPEN
    assert (told.value, told.against) == (0.0, 0.0)


def test_an_eighth_of_alpha_may_be_wrong_about_errors_that_stop_and_half_about_those_that_pass():
    ten, eleven = (wave(device(pairs=pairs(cells=(400 - new, 0, 0, 0), new_errors=new))) for new in (10, 11))
    assert errors(ten).sign is Sign.OPEN
    assert errors(eleven).sign is Sign.BAD
    assert errors(ten, policy=HealthPolicy(alpha=0.1)).sign is Sign.BAD
    few, more = (wave(device(pairs=pairs(cells=(rows, 0, 0, 0)))) for rows in (300, 320))
    assert errors(few).sign is Sign.OPEN
    assert errors(more).sign is Sign.GOOD
    assert errors(few, policy=HealthPolicy(alpha=0.1)).sign is Sign.GOOD


def test_a_device_alone_is_set_against_its_own_past():
    since = period(rows=1_900, errors=80, dropped=20)
    told = errors(wave(lone(before=period(rows=1_990, errors=10), since=since), **ALONE))
    assert told.sign is Sign.BAD
    assert told.words == "5 % of 2,000 inputs had no answer, against 0.5 % before; limit 1 point more"
    assert (told.value, told.against, told.limit) == (0.05, 0.005, 0.01)
    usual = errors(wave(lone(before=period(rows=1_900, errors=100), since=since), **ALONE))
    assert usual.sign is Sign.GOOD
    worse = errors(wave(lone(before=period(rows=1_930, errors=70), since=since), **ALONE))
    assert worse.sign is Sign.OPEN
    assert worse.words.endswith("against 3.5 % before; limit 1 point more; too few inputs to be certain")
    better = errors(wave(lone(before=period(rows=1_800, errors=200), since=since), **ALONE))
    assert better.sign is Sign.GOOD


def test_what_happens_to_control_devices_too_is_not_the_models_fault():
    since = period(rows=1_900, errors=100)
    control = shown(*[held_back(since=period(rows=1_900, errors=100))] * 4)
    told = errors(wave(lone(since=since), control=control))
    assert told.sign is not Sign.BAD
    assert told.words.startswith("5 % of 2,000 inputs had no answer, against 0 % before and 5 % on 4 control devices")
    assert told.against == 0.05
    assert errors(wave(lone(since=since))).sign is Sign.BAD


def test_what_control_devices_always_had_is_no_norm_for_others():
    troubled = shown(held_back(before=period(rows=1_000, errors=1_000), since=period(rows=1_000, errors=1_000)))
    told = errors(wave(lone(since=period(rows=1_400, errors=600)), control=troubled))
    assert told.sign is Sign.BAD
    assert told.against == 0.0
    assert told.words.startswith(
        "30 % of 2,000 inputs had no answer, against 0 % before and 50 % on 1 control device (50 % before); limit"
    )
    assert errors(wave(lone(), control=troubled)).sign is Sign.GOOD


def test_a_device_keeps_what_it_always_had_and_what_control_devices_got_meanwhile():
    usual = lone(before=period(rows=1_900, errors=100), since=period(rows=1_800, errors=200))
    got_worse = shown(*[held_back(since=period(rows=1_900, errors=100))] * 4)
    told = errors(wave(usual, control=got_worse))
    assert told.sign is not Sign.BAD
    assert told.against == pytest.approx(0.1)
    assert errors(wave(usual)).sign is Sign.BAD
    better = shown(held_back(before=period(rows=1_000, errors=1_000), since=period()))
    assert errors(wave(usual, control=better)).against == pytest.approx(0.05)


def test_control_devices_of_few_inputs_tell_nothing():
    failing = lone(since=period(rows=1_400, errors=600))
    for few in (
        held_back(since=period(rows=100, errors=99)),
        held_back(before=period(rows=199), since=period(rows=1_000, errors=1_000)),
    ):
        assert errors(wave(failing, control=shown(few))).sign is Sign.BAD
    enough = held_back(before=period(rows=200), since=period(rows=1_000, errors=1_000))
    assert errors(wave(failing, control=shown(enough))).sign is not Sign.BAD


def test_devices_without_a_past_have_control_devices_alone_for_a_measure():
    first = lone(before=Period(), since=period(rows=1_900, errors=100))
    told = errors(wave(first, control=shown(held_back(since=period(rows=1_900, errors=100)))))
    assert (told.sign is Sign.BAD, told.against) == (False, 0.05)
    few = errors(wave(first, control=shown(held_back(since=period(rows=100, errors=99)))))
    assert (few.sign, few.against) == (Sign.BAD, None)


def test_one_control_device_is_told_in_the_singular():
    told = errors(wave(lone(), control=shown(held_back())))
    assert "on 1 control device (0 % before);" in told.words
    without_past = errors(wave(lone(), control=shown(held_back(before=Period()))))
    assert "and 0 % on 1 control device; limit" in without_past.words


def test_without_a_past_and_without_control_the_limit_itself_counts():
    assert errors(wave(lone(before=Period(), since=period(rows=1_900, errors=100)), **ALONE)).sign is Sign.BAD
    first = errors(wave(lone(before=Period(), since=period()), **ALONE))
    assert first.sign is Sign.GOOD
    assert first.against is None
    assert first.words == (
        "0 % of 2,000 inputs had no answer, and nothing is known of the time before; limit 1 point more"
    )
    assert errors(wave(lone(before=Period(), since=period(rows=1_992, errors=8)), **ALONE)).sign is not Sign.BAD


def test_where_nothing_is_known_of_the_time_before_few_inputs_will_do_up_to_the_limit():
    just, beyond = (
        errors(
            wave(lone(before=Period(), since=period(rows=rows, errors=1)), **ALONE), policy=HealthPolicy(min_rows=98)
        )
        for rows in (99, 98)
    )
    assert just.sign is Sign.GOOD
    assert beyond.sign is Sign.OPEN
    assert beyond.words.endswith("limit 1 point more; too few inputs to be certain")
    known = errors(wave(lone(before=period(rows=100), since=period(rows=99, errors=1)), **ALONE))
    assert known.sign is Sign.OPEN


def test_a_short_past_does_not_make_a_usual_error_an_alarm():
    since = period(rows=1_960, errors=40)
    assert errors(wave(lone(before=period(rows=50), since=since), **ALONE)).sign is not Sign.BAD
    assert errors(wave(lone(before=period(rows=20_000), since=since), **ALONE)).sign is Sign.BAD


# -- crashes -----------------------------------------------------------------------------------


def crashes(health, **how):
    return found(Kind.CRASHES, health, **how)


def test_no_crash_is_not_told():
    assert crashes(wave()) is None


def test_crashes_that_came_with_the_model_stop_it():
    told = crashes(wave(device(since=period(crashes=4, windows=10))))
    assert told.sign is Sign.BAD
    assert told.words == "4 starts of the agent that nobody asked for, 0 before and on control devices"
    assert (told.value, told.against) == (4, 0)


def test_one_crash_is_told_and_decides_nothing():
    told = crashes(wave(device(since=period(crashes=1, windows=1))))
    assert told.sign is Sign.TOLD
    assert told.words.startswith("1 start of the agent")


def test_a_fleet_that_restarts_daily_anyway_does_so_in_the_bake_too():
    """Ten canaries, two days of windows before: two starts each; then a day of which every one starts once more."""
    day = {"windows": 24, "rows": 24_000}
    daily = device(before=period(crashes=2, windows=48, rows=48_000), since=period(crashes=1, **day))
    assert crashes(wave(*[daily] * 10, **ALONE)).sign is Sign.TOLD
    never = device(before=period(crashes=0, windows=48, rows=48_000), since=period(crashes=1, **day))
    assert crashes(wave(*[never] * 10, **ALONE)).sign is Sign.BAD
    worse = device(before=period(crashes=2, windows=48, rows=48_000), since=period(crashes=6, **day))
    assert crashes(wave(*[worse] * 10, **ALONE)).sign is Sign.BAD


def test_a_device_that_always_crashed_still_does():
    often = device(before=period(crashes=40), since=period(crashes=10, windows=10))
    assert crashes(wave(often, **ALONE)).sign is Sign.TOLD
    control = shown(DeviceHealth(since=period(crashes=10, windows=10), before=period(crashes=7)))
    told = crashes(wave(device(before=Period(), since=period(crashes=9, windows=10)), control=control))
    assert (told.sign, told.against) == (Sign.TOLD, 10)
    quiet = shown(DeviceHealth(since=period(windows=90)))
    assert crashes(wave(device(before=Period(), since=period(crashes=9, windows=10)), control=quiet)).sign is Sign.BAD


def test_where_nothing_is_known_of_the_time_before_three_crashes_are_too_many():
    def told(number, **fields):
        return crashes(wave(device(before=Period(), since=period(crashes=number, **fields)), **ALONE)).sign

    assert (told(2), told(3)) == (Sign.TOLD, Sign.BAD)
    unmeasured = wave(device(before=period(), since=Period(crashes=3)), **ALONE)
    assert crashes(unmeasured).sign is Sign.BAD


# -- time --------------------------------------------------------------------------------------


def test_a_model_that_takes_longer_on_the_same_inputs_is_stopped():
    told = latency(wave(device(pairs=pairs(new_ms=18.0))))
    assert told.sign is Sign.BAD
    assert told.words == (
        "p95 18 ms against 12 ms of the old model on the same inputs, 12 ms before and 12 ms on 4 control devices; "
        "limit 1.25 x, exceeded in 40 of 40 windows"
    )
    assert (told.value, told.against, told.limit) == (pytest.approx(18, rel=0.03), pytest.approx(12, rel=0.03), 1.25)


def test_a_model_that_takes_as_long_is_not():
    told = latency(wave(device(pairs=pairs(new_ms=12.0))))
    assert told.sign is Sign.GOOD
    assert told.words.endswith("; limit 1.25 x")
    assert latency(wave(device(pairs=pairs(new_ms=2.0)))).sign is Sign.GOOD


def test_the_limit_is_between_two_steps():
    assert latency(wave(device(pairs=pairs(new_ms=15.6)))).sign is Sign.BAD
    assert latency(wave(device(pairs=pairs(new_ms=14.6)))).sign is Sign.GOOD
    assert latency(wave(device(pairs=pairs(new_ms=15.6))), policy=HealthPolicy(max_latency_ratio=1.4)).sign is Sign.GOOD


@pytest.mark.parametrize("limit", [1.01, 1.05, 1.1, 1.25, 1.4])
def test_a_model_below_a_limit_is_not_stopped_and_one_beyond_it_does_not_pass(limit):
    def sign(ratio):
        slow = device(pairs=pairs(new_ms=100.0 * ratio, old_ms=100.0))
        return latency(wave(slow), policy=HealthPolicy(max_latency_ratio=limit, min_latency_rise_ms=0.0)).sign

    assert [sign(limit * factor) for factor in (0.985, 1.015)] == [Sign.GOOD, Sign.BAD]
    assert all(sign(limit * factor) is not Sign.BAD for factor in (0.99, 0.995, 0.999))
    assert all(sign(limit * factor) is not Sign.GOOD for factor in (1.001, 1.005, 1.01))


def test_windows_at_the_limit_are_held_against_neither_side():
    told = latency(wave(device(pairs=pairs(new_ms=11.0, old_ms=10.0))), policy=HealthPolicy(max_latency_ratio=1.1))
    assert told.sign is Sign.OPEN
    assert told.words.endswith("limit 1.1 x, met to within 1 % in 40; 40 windows cannot tell for certain")


def test_few_windows_cannot_tell():
    few = device(pairs=pairs(new_ms=18.0, windows=4))
    told = latency(wave(few))
    assert told.sign is Sign.OPEN
    assert told.words.endswith("exceeded in 4 of 4 windows; 4 windows cannot tell for certain")
    assert latency(wave(device(pairs=pairs(windows=5)))).sign is Sign.OPEN
    assert latency(wave(device(pairs=pairs(windows=1)))).words.endswith("1 window cannot tell for certain")
    assert latency(wave(device(pairs=pairs(windows=9)))).sign is Sign.GOOD
    assert latency(wave(device(pairs=pairs(new_ms=18.0, windows=9)))).sign is Sign.OPEN
    assert latency(wave(device(pairs=pairs(new_ms=18.0, windows=13)))).sign is Sign.BAD


def test_a_busy_host_has_as_many_votes_as_windows():
    busy = device(pairs=pairs(windows=30), since=period(), memory_bytes=0)
    noisy = pairs(windows=5, new_ms=600.0)
    both = shown(busy, device(pairs=noisy))
    assert latency(wave(control=CONTROL, canary=both)).sign is Sign.GOOD


def test_a_rise_that_nobody_notices_is_not_looked_at():
    def rise(windows, **how):
        return latency(wave(device(pairs=pairs(new_ms=2.8, old_ms=2.0, windows=windows))), **how)

    assert rise(40).sign is Sign.GOOD
    assert rise(40).words.endswith("exceeded in 40 of 40 windows; less than 1 ms more are not looked at")
    assert (rise(9).sign, rise(10).sign) == (Sign.OPEN, Sign.GOOD)
    assert rise(40, policy=HealthPolicy(min_latency_rise_ms=0.5)).sign is Sign.BAD
    assert "not looked at" not in latency(wave()).words


def test_a_time_that_nobody_notices_is_not_looked_at():
    def quick(windows, new_ms=0.09):
        return latency(wave(device(pairs=pairs(new_ms=new_ms, old_ms=0.05, windows=windows)))).sign

    assert [quick(windows) for windows in (2, 3, 9)] == [Sign.OPEN, Sign.GOOD, Sign.GOOD]
    assert quick(3, new_ms=1.04) is Sign.OPEN
    assert quick(3, new_ms=0.96) is Sign.GOOD


def test_a_rise_by_just_what_is_looked_at_is_looked_at():
    assert latency(wave(device(pairs=pairs(new_ms=3.1, old_ms=2.0)))).sign is Sign.BAD
    assert latency(wave(device(pairs=pairs(new_ms=2.6, old_ms=2.0)))).sign is Sign.GOOD


def test_pairs_without_a_time_prove_nothing():
    told = latency(wave(device(pairs=pairs(windows=0))))
    assert (told.sign, told.value) == (Sign.OPEN, None)
    assert told.words == "no window tells how long both take, 12 ms before and 12 ms on 4 control devices"


def test_a_device_alone_is_compared_with_its_own_past():
    told = latency(wave(lone(since=period(p95_ms=41.0)), **ALONE))
    assert told.sign is Sign.BAD
    assert told.words == "p95 41 ms against 12 ms before; limit 1.25 x, exceeded in 40 of 40 windows"
    with_control = latency(wave(lone(since=period(p95_ms=41.0))))
    assert with_control.words.startswith("p95 41 ms against 12 ms before and 12 ms on 4 control devices; limit")
    assert latency(wave(lone(), **ALONE)).sign is Sign.GOOD


def test_what_control_devices_take_longer_too_is_not_the_models_fault():
    slowed = shown(*[DeviceHealth(before=period(), since=period(p95_ms=41.0))] * 4)
    told = latency(wave(lone(since=period(p95_ms=41.0)), control=slowed))
    assert told.sign is Sign.GOOD
    assert told.against == pytest.approx(40, rel=0.03)
    quicker = shown(*[DeviceHealth(before=period(p95_ms=24.0), since=period(p95_ms=12.0))] * 4)
    assert latency(wave(lone(), control=quicker)).sign is Sign.BAD


def test_without_a_past_the_time_is_not_judged():
    told = latency(wave(lone(before=Period()), **ALONE))
    assert (told.sign, told.words) == (Sign.TOLD, "no window tells how long both take")


def test_a_pair_of_times_counts_for_a_shadowed_device_even_where_its_own_past_says_otherwise():
    assert latency(wave(device(since=period(p95_ms=60.0)))).sign is Sign.GOOD
    assert combined(times(1, 2), Spread()) == times(1, 2)


# -- memory -------------------------------------------------------------------------------------


def memory(new_mib, old_mib, *, devices=1, **how):
    one = device(memory_bytes=int(new_mib * 2**20), memory_before_bytes=int(old_mib * 2**20))
    return found(Kind.MEMORY, wave(*[one] * devices), **how)


def test_memory_beyond_the_limit_stops_a_model():
    told = memory(31, 20)
    assert told.sign is Sign.BAD
    assert told.words == "31.0 MiB against 20.0 of the old model; limit 1.5 x"
    assert (told.value, told.limit) == (1.55, 1.5)
    assert memory(30, 20).sign is Sign.GOOD
    assert memory(31, 20, policy=HealthPolicy(max_memory_ratio=1.6)).sign is Sign.GOOD


def test_a_small_rise_of_memory_is_not_looked_at():
    assert limits.HEALTH_MEMORY_RISE_BYTES == 4 * 2**20
    assert memory(3, 1).sign is Sign.GOOD
    assert memory(5, 1).sign is Sign.BAD
    assert memory(4.99, 1).sign is Sign.GOOD


def test_memory_is_told_per_device():
    assert memory(31, 20, devices=2).words == "31.0 MiB against 20.0 of the old model; limit 1.5 x"
    assert memory(3, 1, devices=3).sign is Sign.GOOD
    unknown = device(memory_bytes=0, memory_before_bytes=0)
    one = device(memory_bytes=31 * 2**20, memory_before_bytes=20 * 2**20)
    assert found(Kind.MEMORY, wave(one, unknown)).words == "31.0 MiB against 20.0 of the old model; limit 1.5 x"


def test_unknown_memory_is_not_judged():
    assert memory(31, 0) is None
    assert memory(0, 31) is None
