"""Where the verdict of the health gate turns: on one side of a border it is one, on the other another."""

from math import exp

import pytest

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.health.errors import judge_crashes, judge_errors
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.health.inputs import judge_mix
from edgeops.rollout.health.latency import judge_latency, judge_memory
from edgeops.rollout.health.spread import STEPS, step_of
from edgeops.rollout.health.wave import Labels, Shown, Stated, WaveHealth
from edgeops.rollout.policy import HealthPolicy
from tests.unit.health_values import CONTROL, POLICY, DeviceHealth, device, found, judged, pairs, period, shown, wave

ALPHA = 0.05 / 8
DIFFERING = (500, 70, 60, 370)


def answers(cells, *, task=Task.CLASSIFICATION, policy=POLICY, **fields):
    return found(Kind.ANSWERS, wave(device(pairs=pairs(cells=cells)), **fields), task=task, policy=policy)


def unpaired(before, since, control=CONTROL):
    return WaveHealth(canary=shown(DeviceHealth(before=before, since=since)), control=control)


def errors(health):
    [finding] = judge_errors(health, POLICY, alpha=ALPHA)
    return finding


# -- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("agreeing", "sign"), [(87, Sign.OPEN), (88, Sign.GOOD)])
def test_so_many_agreements_prove_that_models_hardly_differ_at_half_of_alpha(agreeing, sign):
    assert answers((agreeing, 0, 0, 0), policy=HealthPolicy(alpha=0.2)).sign is sign


@pytest.mark.parametrize(("old_right", "sign"), [(35, Sign.OPEN), (36, Sign.BAD)])
def test_so_many_labels_prove_that_the_new_model_loses_at_half_of_alpha(old_right, sign):
    assert answers(DIFFERING, labels=Labels(new_right=10, old_right=old_right)).sign is sign


@pytest.mark.parametrize(("differing", "sign"), [(409, Sign.OPEN), (410, Sign.BAD)])
def test_so_many_disagreements_are_impossible_for_equals_at_an_eighth_of_alpha(differing, sign):
    stated = Stated(old_accuracy=0.97)
    assert answers((4_000 - differing, differing, 0, 0), stated=stated).sign is sign


@pytest.mark.parametrize(("far", "limit", "sign"), [(774, 0.025, Sign.OPEN), (775, 0.02425, Sign.BAD)])
def test_such_distances_are_impossible_for_equals_at_an_eighth_of_alpha(far, limit, sign):
    cells = [0] * 24
    cells[3], cells[16] = 1_000 - far, far
    assert answers(tuple(cells), task=Task.REGRESSION, policy=HealthPolicy(max_loss=limit)).sign is sign


def test_answers_that_are_alike_may_be_no_distance_apart():
    cells = [0] * 24
    cells[0], cells[16] = 300, 700
    assert answers(tuple(cells), task=Task.REGRESSION).sign is Sign.OPEN


def test_the_only_disagreement_may_have_the_only_label():
    told = answers((10, 1, 0, 9), labels=Labels(old_right=1))
    assert told.value == pytest.approx(1 / 20)


def test_more_labels_than_disagreements_tell_of_no_more_inputs_than_there_were():
    told = answers((20, 0, 3, 0), labels=Labels(old_right=6))
    assert told.value == pytest.approx(6 / 23)


def test_how_sure_it_is_at_the_end_is_a_matter_of_labels_where_few_disagreements_have_one():
    policy = HealthPolicy(labels=10, max_loss=0.4, alpha=1e-9)
    told = answers((25_000, 25_000, 25_000, 25_000), labels=Labels(old_right=9, neither=1), policy=policy)
    error = 196 * (0.25 * (0.9 - 0.9**2) / 10) ** 0.5
    assert f"between {45 - error:.0f} points and {45 + error:.0f} points" in told.words


def test_how_sure_it_is_at_the_end_is_a_matter_of_inputs_where_all_disagreements_have_a_label():
    policy = HealthPolicy(labels=100, max_loss=0.4, alpha=1e-30)
    told = answers((50, 50, 50, 50), labels=Labels(old_right=90, neither=10), policy=policy)
    error = 196 * ((0.5 * 0.9 - (0.5 * 0.9) ** 2) / 200) ** 0.5
    assert f"between {45 - error:.0f} points and {45 + error:.0f} points" in told.words


def test_where_the_only_disagreement_has_its_label_only_inputs_are_chance():
    policy = HealthPolicy(labels=1, alpha=1e-9)
    told = answers((10, 1, 0, 9), labels=Labels(old_right=1), policy=policy)
    error = 196 * ((0.05 - 0.05**2) / 20) ** 0.5
    assert f"between {5 - error:.2g} points and {5 + error:.0f} points" in told.words


def test_a_model_that_neither_loses_nor_wins_has_lost_nothing():
    assert "0 points of accuracy lost" in answers(DIFFERING, labels=Labels(new_right=5, old_right=5)).words


# -- errors and crashes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "sign"), [(295, Sign.OPEN), (305, Sign.GOOD)])
def test_so_many_inputs_without_an_error_prove_that_errors_did_not_rise_at_half_of_alpha(rows, sign):
    assert errors(unpaired(period(rows=100_000), period(rows=rows), Shown())).sign is sign


def test_a_rise_that_is_certain_and_within_the_limit_is_allowed():
    risen = period(rows=19_840, errors=160)
    assert errors(unpaired(period(rows=100_000), risen, Shown())).sign is Sign.GOOD


def test_what_may_have_been_usual_before_is_allowed():
    risen = period(rows=19_760, errors=240)
    assert errors(unpaired(period(rows=100), risen, Shown())).sign is Sign.GOOD


def test_what_control_devices_may_have_got_more_of_is_no_proof():
    few = shown(DeviceHealth(before=period(), since=period(rows=192, errors=8)))
    assert errors(unpaired(period(), period(rows=940, errors=60), few)).sign is Sign.OPEN
    assert errors(unpaired(period(), period(rows=940, errors=60))).sign is Sign.BAD


@pytest.mark.parametrize("model", ["new", "old"])
def test_an_error_of_the_only_pair_is_one_of_all(model):
    told = errors(wave(device(pairs=pairs(cells=(), rows=0, **{f"{model}_errors": 1}))))
    assert f"1 (100 %) {'ended in an error' if model == 'new' else 'in one'} of the {model} one alone" in told.words


@pytest.mark.parametrize(("crashes", "sign"), [(1, Sign.TOLD), (2, Sign.BAD)])
def test_one_crash_may_be_chance_however_long_there_was_none_and_two_are_not(crashes, sign):
    told = judge_crashes(unpaired(period(windows=40_000), period(windows=1, crashes=crashes)), alpha=ALPHA)
    assert told is not None
    assert told.sign is sign


# -- time and memory ---------------------------------------------------------------------------------


def latency(health, policy=POLICY):
    [finding] = judge_latency(health, policy, alpha=ALPHA)
    return finding


@pytest.mark.parametrize(("windows", "sign"), [(8, Sign.OPEN), (9, Sign.GOOD)])
def test_so_many_windows_prove_that_answers_take_no_longer_at_half_of_alpha(windows, sign):
    assert latency(wave(device(pairs=pairs(windows=windows)))).sign is sign


def test_times_are_told_in_milliseconds_and_compared_with_what_was_before():
    told = latency(wave(device(shadowed=False, since=period(p95_ms=41.0)), control=Shown()))
    typical = {ms: exp(step_of(1_000 * ms) / STEPS) / 1_000 for ms in (12.0, 41.0)}
    assert told.value == pytest.approx(typical[41.0], rel=1e-9)
    assert told.against == pytest.approx(typical[12.0], rel=1e-9)


def test_a_rise_by_a_thousandth_more_than_is_looked_at_is_looked_at():
    rise_us = exp(step_of(18_000) / STEPS) - exp(step_of(12_000) / STEPS)
    slow = wave(device(pairs=pairs(new_ms=18.0)))
    assert latency(slow, HealthPolicy(min_latency_rise_ms=rise_us / 1_000.5)).sign is Sign.BAD
    assert latency(slow, HealthPolicy(min_latency_rise_ms=rise_us / 999.5)).sign is Sign.GOOD


@pytest.mark.parametrize("known", ["memory_bytes", "memory_before_bytes"])
def test_memory_of_one_model_alone_is_not_judged(known):
    assert judge_memory(WaveHealth(canary=Shown(devices=1, **{known: 2**20})), POLICY) is None


# -- the mix, and words ------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "since"), [((80, 0), (50, 50)), ((50, 50), (80, 0))])
def test_a_class_that_is_never_answered_is_part_of_the_mix(before, since):
    one = device(shadowed=False, before=period(mix=before), since=period(mix=since))
    [told] = judge_mix(wave(one, control=Shown()), task=Task.CLASSIFICATION, intent=Intent.IMPROVE)
    assert told.value == pytest.approx(0.5)


def test_harm_that_is_no_weak_evidence_is_told_without_an_addition():
    assert judged(wave(device(pairs=pairs(new_ms=18.0)))).words.endswith("exceeded in 40 of 40 windows")
