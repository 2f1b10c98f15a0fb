"""A wave of which some devices have an old model beside the new one and others do not: each kind has to be well."""

import msgspec
import pytest

from edgeops.protocol.messages import Intent, Phase
from edgeops.rollout.health.device import DeviceHealth, Live, Period, with_baseline, with_window
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.health.latency import judge_latency
from edgeops.rollout.health.verdict import findings_of
from edgeops.rollout.health.wave import Shown, left, shown_by, with_device
from edgeops.rollout.verdict import Healthy, Undecided, Unhealthy
from tests.unit.health_values import POLICY, Task, device, found, judged, paired, pairs, period, shown, wave, window

ALONE = {"control": Shown()}


def fresh(**fields):
    """A device that had no model before."""
    return device(shadowed=False, before=Period(), pairs=pairs(cells=(), windows=0), **fields)


def lone(**fields):
    """A device that had one, which answers beside nothing."""
    return device(shadowed=False, pairs=pairs(cells=(), windows=0), **fields)


def every(kind, health):
    """All findings of a kind."""
    findings = findings_of(health, POLICY, task=Task.CLASSIFICATION, intent=Intent.IMPROVE)
    return [one for one in findings if one.kind is kind]


def test_no_device_hides_its_errors_behind_the_pairs_of_another_one():
    failing = fresh(since=period(rows=400, errors=800, p95_ms=500.0))
    verdict = judged(wave(device(), *[failing] * 19, **ALONE))
    assert isinstance(verdict, Unhealthy)
    assert verdict.words == (
        "67 % of 22,800 inputs on 19 devices without a past had no answer, and nothing is known of the time before; "
        "limit 1 point more (weak evidence: no old model answered the same inputs on 19 of 20 devices)"
    )


def test_a_wave_of_both_kinds_passes_when_both_are_well():
    verdict = judged(wave(device(), lone(), fresh()))
    assert isinstance(verdict, Healthy), verdict.words
    assert verdict.words.startswith("weak evidence: no old model answered the same inputs on 2 of 3 devices: ")
    assert "0 % of 2,000 inputs on 1 device without an old model beside had no answer" in verdict.words
    assert "0 % of 2,000 inputs on 1 device without a past had no answer" in verdict.words


def test_too_few_inputs_of_one_kind_are_not_made_up_for_by_the_other():
    few = {"rows": 20, "windows": 1}
    assert isinstance(judged(wave(device(), fresh(since=period(**few)), **ALONE)), Undecided)
    assert isinstance(judged(wave(device(), lone(since=period(**few)))), Undecided)


def test_the_past_of_some_is_no_measure_for_those_without_one():
    troubled = lone(before=period(rows=9_000, errors=9_000), since=period(rows=9_000, errors=9_000))
    failing = fresh(since=period(rows=1_000, errors=1_000))
    assert [one.sign for one in every(Kind.ERRORS, wave(troubled, failing, **ALONE))] == [Sign.GOOD, Sign.BAD]


def test_a_device_alone_that_takes_longer_stops_it_whatever_others_pair():
    told = every(Kind.LATENCY, wave(device(), lone(since=period(p95_ms=41.0)), **ALONE))
    assert [one.sign for one in told] == [Sign.GOOD, Sign.BAD]
    assert told[1].words.startswith("p95 41 ms on 1 device without an old model beside against 12 ms before; limit")
    unknown = every(Kind.LATENCY, wave(device(), fresh(), **ALONE))
    assert [one.sign for one in unknown] == [Sign.GOOD, Sign.TOLD]
    assert unknown[1].words == "no window on 1 device without a past tells how long both take"


def test_a_mix_that_moved_on_devices_alone_forbids_to_conclude_whatever_others_pair():
    moved = lone(before=period(mix=(80, 20)), since=period(mix=(30, 70)))
    assert [one.sign for one in every(Kind.MIX, wave(device(), moved, **ALONE))] == [Sign.TOLD, Sign.OPEN]


def test_kinds_share_the_chance_of_a_false_alarm():
    eleven = device(pairs=pairs(cells=(389, 0, 0, 0), new_errors=11))
    assert found(Kind.ERRORS, wave(eleven)).sign is Sign.BAD
    assert found(Kind.ERRORS, wave(eleven, lone())).sign is Sign.OPEN


@pytest.mark.parametrize(
    ("windows", "one_kind", "two_kinds"), [(10, "open", "open"), (11, "bad", "open"), (12, "bad", "bad")]
)
def test_kinds_share_the_chance_of_a_false_alarm_over_latency(windows, one_kind, two_kinds):
    slower = lone(since=period(p95_ms=30.0, windows=windows))
    [alone] = judge_latency(wave(slower), POLICY, alpha=0.05 / 8)
    [_, beside] = judge_latency(wave(device(), slower), POLICY, alpha=0.05 / 8)
    assert (alone.sign, beside.sign) == (one_kind, two_kinds)


# -- a shadow that was given up -------------------------------------------------------------------


def grown(*, live, share=0.2, errors=0):
    """A device that paired its trial, and then so many of 40 windows of 50 inputs."""
    health = DeviceHealth(shadowed=True, shadow_share=share)
    for _ in range(40):
        health = with_baseline(health, window())
    together = paired(rows=10, cells=(10, 0, 0, 0), p95_us=10_000)
    health = with_window(health, window(phase=Phase.TRIAL, paired=paired(rows=50, cells=(50, 0, 0, 0))))
    for number in range(40):
        health = with_window(health, window(errors=errors, paired=together if number < live else None))
    return health


@pytest.mark.parametrize(("live", "sends"), [(0, 0), (1, 0), (10, 0), (20, 1), (40, 1)])
def test_a_device_that_pairs_clearly_less_than_half_of_what_it_shall_lacks_pairs(live, sends):
    told = shown_by(grown(live=live))
    assert (told.shadowed, told.paired, told.beside.devices) == (1, sends, sends)
    assert shown_by(grown(live=live, share=0.0)).paired == 1


def test_a_device_of_slow_inputs_lacks_none_by_chance():
    slow = DeviceHealth(shadowed=True, shadow_share=0.2)
    slow = with_window(slow, window(phase=Phase.TRIAL, paired=paired(rows=20)))
    for _ in range(20):
        slow = with_window(slow, window(rows=1))
    assert shown_by(slow).paired == 1


def test_what_was_skipped_or_matched_nothing_is_no_shadow_that_was_given_up():
    busy = DeviceHealth(shadowed=True, shadow_share=0.2)
    for _ in range(40):
        busy = with_window(busy, window(paired=paired(rows=1, skipped=5, unmatched=4)))
    assert shown_by(busy).paired == 1


def test_what_became_of_the_inputs_that_were_to_be_paired_is_counted():
    none = with_window(DeviceHealth(), window(rows=50, errors=7))
    assert none.live == Live(rows=50, errors=7, chosen=0)
    told = paired(rows=1, errors=20, shadow_errors=300, skipped=4_000, unmatched=50_000)
    assert with_window(none, window(paired=told)).live == Live(rows=100, errors=7, chosen=54_321)


def test_a_wave_waits_for_the_pairs_of_each_device():
    told = found(Kind.TELEMETRY, wave(device(), grown(live=1)))
    assert told.sign is Sign.OPEN
    assert told.words == "not enough was heard: 1 of 2 devices sent what the old model answers beside it"


def test_what_a_device_does_after_its_shadow_was_given_up_is_judged_by_its_past():
    assert [one.sign for one in every(Kind.ERRORS, wave(device(), grown(live=1, errors=20)))] == [Sign.GOOD, Sign.BAD]


def test_a_device_that_left_is_of_no_kind_any_more():
    stays, leaves = device(), fresh(since=period(rows=10))
    rest = left(with_device(shown(stays), leaves), leaves)
    assert (rest.fresh.devices, rest.fresh.since.rows) == (0, 10)
    assert len(every(Kind.ERRORS, wave(canary=rest))) == 1
    assert msgspec.structs.replace(rest, since=rest.beside.since, fresh=Shown().fresh) == shown(stays)
