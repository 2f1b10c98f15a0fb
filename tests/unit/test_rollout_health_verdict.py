"""The verdict over all kinds of evidence, and what only forbids to conclude."""

import msgspec
import pytest

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.health.device import DeviceHealth, Inputs, Period
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, counted, ms, percent, points
from edgeops.rollout.health.inputs import distance
from edgeops.rollout.health.wave import Labels, Shown, WaveHealth
from edgeops.rollout.policy import HealthPolicy
from edgeops.rollout.verdict import Healthy, Undecided, Unhealthy
from tests.unit.health_values import device, found, held_back, judged, pairs, period, shown, wave

ALONE = {"control": Shown()}
#: Differ on so much that labels decide.
DIFFERING = pairs(cells=(500, 70, 60, 370))


def telemetry(health, **how):
    return found(Kind.TELEMETRY, health, **how)


# -- the verdict --------------------------------------------------------------------------------


def test_a_wave_that_shows_all_that_is_asked_is_healthy():
    verdict = judged(wave())
    assert isinstance(verdict, Healthy)
    assert verdict.words == (
        "2,000 inputs on 1 device, 1,000 of them by both models; 4 control devices; "
        "they differ on 0 of 1,000 inputs (0 %), so no more than that can be lost; limit 2.5 points; "
        "of 1,000 inputs that both models had, 0 (0 %) ended in an error of the new one alone, 0 (0 %) in one of the "
        "old one alone; limit 1 point more; "
        "p95 12 ms against 12 ms of the old model on the same inputs, 12 ms before and 12 ms on 4 control devices; "
        "limit 1.25 x; 0 % of all readings are missing, 0 % is usual"
    )


def test_harm_in_one_kind_stops_a_model_whatever_else_is_missing():
    slow = device(pairs=pairs(cells=DIFFERING.cells, new_ms=18.0))
    verdict = judged(wave(slow))
    assert isinstance(verdict, Unhealthy)
    assert verdict.words.startswith("p95 18 ms against 12 ms of the old model")
    assert "who is right" not in verdict.words


def test_every_harm_is_told():
    verdict = judged(wave(device(pairs=pairs(new_ms=18.0, new_errors=200))))
    assert isinstance(verdict, Unhealthy)
    assert "; and p95 18 ms" in verdict.words


def test_what_is_missing_is_told():
    verdict = judged(wave(device(pairs=pairs(cells=DIFFERING.cells, windows=2)), labels=Labels(waiting=3)))
    assert isinstance(verdict, Undecided)
    assert "who is right is not known" in verdict.words
    assert "; and p95 12 ms" in verdict.words


def test_a_verdict_carries_its_findings_in_the_order_of_their_strength():
    verdict = judged(wave(device(memory_bytes=2**20, memory_before_bytes=2**20, since=rated(1_800))))
    findings = msgspec.convert(verdict.evidence["findings"], tuple[HealthFinding, ...])
    assert [one.kind for one in findings] == [
        Kind.TELEMETRY, Kind.ANSWERS, Kind.ERRORS, Kind.LATENCY, Kind.MEMORY, Kind.QUALITY, Kind.MIX, Kind.ESTIMATE,
    ]  # fmt: skip
    for health in (wave(device(pairs=pairs(new_ms=18.0))), WaveHealth()):
        assert judged(health).evidence["findings"]


def test_a_few_devices_are_weak_evidence():
    lone = judged(wave(**ALONE))
    assert isinstance(lone, Healthy)
    assert lone.words.startswith("weak evidence: 1 device, compared with itself: 2,000 inputs")
    two = judged(wave(device(), device(), **ALONE))
    assert two.words.startswith("weak evidence: 2 devices, compared with themselves: ")
    three = judged(wave(device(), device(), device(), **ALONE))
    assert three.words.startswith("6,000 inputs on 3 devices, 3,000 of them by both models; they differ")
    with_control = judged(wave(control=shown(*[held_back()] * 2)))
    assert not with_control.words.startswith("weak")
    bad = judged(wave(device(pairs=pairs(new_ms=18.0)), **ALONE))
    assert bad.words.endswith("windows (weak evidence: 1 device, compared with itself)")
    assert not judged(wave(device(pairs=pairs(new_ms=18.0)))).words.endswith(")")


def test_without_an_old_model_beside_it_the_evidence_is_weak():
    verdict = judged(wave(device(shadowed=False)))
    assert isinstance(verdict, Healthy)
    assert verdict.words.startswith("weak evidence: no old model answered the same inputs: 2,000 inputs on 1 device; 4")


def test_a_first_model_passes_on_the_inputs_that_were_asked_for():
    first = device(shadowed=False, before=Period(), since=period(rows=40, windows=1))
    policy = HealthPolicy(min_rows=40)
    verdict = judged(wave(first, **ALONE), policy=policy)
    assert isinstance(verdict, Healthy)
    assert verdict.words.startswith(
        "weak evidence: a first model, with nothing to compare it with: 40 inputs on 1 device; 0 % of 40 inputs had no "
        "answer, and nothing is known of the time before; limit 1 point more"
    )
    assert isinstance(judged(wave(first, **ALONE), policy=HealthPolicy(min_rows=41)), Undecided)
    with_past = device(shadowed=False, since=period(rows=40, windows=1))
    assert isinstance(judged(wave(with_past, **ALONE), policy=policy), Undecided)
    with_control = wave(first, control=shown(DeviceHealth(since=period())))
    assert not judged(with_control, policy=policy).words.startswith("weak evidence: a first")


# -- what is owed ----------------------------------------------------------------------------------


def test_nothing_is_no_health():
    verdict = judged(WaveHealth())
    assert isinstance(verdict, Undecided)
    assert verdict.words.startswith(
        "not enough was heard: 0 of 0 devices have been heard since they took the model, 0 of 200 inputs answered; and "
    )


def test_a_device_that_was_not_heard_holds_its_wave():
    told = telemetry(wave(device(), DeviceHealth(shadowed=True, before=period())))
    assert told.sign is Sign.OPEN
    assert told.words == (
        "not enough was heard: 1 of 2 devices have been heard since they took the model, 1 of 2 devices sent what the "
        "old model answers beside it"
    )
    assert isinstance(judged(wave(device(), DeviceHealth(before=period()))), Undecided)


def test_a_device_that_fell_silent_holds_its_wave():
    told = telemetry(wave(silent=1))
    assert (told.sign, told.words) == (Sign.OPEN, "not enough was heard: 1 device fell silent")


def test_a_device_that_shows_nothing_of_the_end_of_the_bake_holds_its_wave():
    told = telemetry(wave(quiet=3))
    words = "not enough was heard: 3 devices sent nothing in the last part of the bake and since"
    assert (told.sign, told.words) == (Sign.OPEN, words)


def test_a_wave_all_of_whose_devices_were_removed_is_not_enough():
    told = telemetry(wave(removed=2))
    words = "not enough was heard: 2 devices left the fleet, and no other of the wave is there"
    assert (told.sign, told.words) == (Sign.OPEN, words)


def test_a_quarantined_device_is_told_where_the_others_do_not_prove_enough():
    assert telemetry(wave(distrusted=1)).sign is Sign.GOOD
    told = telemetry(wave(silent=1, distrusted=1))
    words = "not enough was heard: 1 device fell silent, what 1 quarantined device showed is not believed"
    assert (told.sign, told.words) == (Sign.OPEN, words)


def test_so_many_inputs_are_asked_for():
    few = wave(device(since=period(rows=199), pairs=pairs(cells=(199,) + (0,) * 3)))
    assert telemetry(few).words == (
        "not enough was heard: 199 of 200 inputs answered, 199 of 200 inputs answered by both models"
    )
    assert telemetry(few, policy=HealthPolicy(min_rows=199)).sign is Sign.GOOD
    lone = device(shadowed=False, pairs=pairs(cells=()))
    assert telemetry(wave(lone)).sign is Sign.GOOD


def test_pairs_that_are_owed_are_asked_for():
    told = telemetry(wave(device(), device(pairs=pairs(cells=(), windows=0))))
    assert told.words == "not enough was heard: 1 of 2 devices sent what the old model answers beside it"
    heard = telemetry(wave(device(), device()))
    assert (heard.sign, heard.value, heard.limit) == (Sign.GOOD, 4_000, 200)


# -- readings, mix, estimate --------------------------------------------------------------------------


def quality(*, before=0, since=0, control=None, control_before=0, rows=2_000):
    canary = device(before=period(missing=before), since=period(missing=since))
    past = period(missing=control_before)
    others = Shown() if control is None else shown(held_back(before=past, since=period(missing=control, rows=rows)))
    return found(Kind.QUALITY, wave(canary, control=others))


def test_missing_readings_forbid_to_conclude():
    told = quality(before=80, since=800)
    assert told.sign is Sign.OPEN
    assert told.words == (
        "10 % of all readings are missing, 1 % is usual; look at the sensors: nothing is concluded from what is left"
    )
    assert (told.value, told.against, told.limit) == (0.1, 0.01, 0.05)
    assert quality(before=400, since=800).sign is Sign.GOOD
    assert quality(before=392, since=800).sign is Sign.OPEN
    assert quality(before=0, since=800, control=800).sign is Sign.GOOD
    assert [quality(since=800, control=80, rows=rows).sign for rows in (199, 200)] == [Sign.OPEN, Sign.GOOD]
    assert quality(before=800, since=800, control=0).sign is Sign.GOOD
    assert quality(before=400, since=1_200, control=800).sign is Sign.GOOD


def test_what_control_devices_always_missed_is_not_usual_for_others():
    assert quality(since=800, control=800, control_before=800).sign is Sign.OPEN
    assert quality(since=800, control=199, rows=199).sign is Sign.OPEN
    unknown = device(before=Period(), since=period(missing=800))
    beside = wave(unknown, control=shown(held_back(since=period(missing=800))))
    assert found(Kind.QUALITY, beside).sign is Sign.GOOD


def test_a_few_rows_with_missing_readings_are_no_broken_sensor():
    canary = device(since=Period(rows=8, inputs=Inputs(values=32, missing=4)))
    assert found(Kind.QUALITY, wave(canary)).sign is Sign.GOOD
    assert found(Kind.QUALITY, wave(device(since=Period(rows=8)))) is None
    unknown = device(before=Period(), since=period(missing=800))
    assert found(Kind.QUALITY, wave(unknown, **ALONE)).against == 0.0


def mix(health, **how):
    return found(Kind.MIX, health, **how)


def test_answers_that_went_to_other_classes_are_told_beside_the_old_models():
    moved = wave(device(pairs=pairs(cells=(500, 300, 0, 200))))
    told = mix(moved)
    assert (told.sign, told.value) == (Sign.TOLD, pytest.approx(0.3))
    assert told.words == "30 % of the answers went to other classes than the old model's"
    assert mix(moved, intent=Intent.HEAL).words.endswith("old model's, as is expected of a model that heals")
    assert mix(moved, task=Task.REGRESSION) is None
    assert mix(wave(device(pairs=pairs(cells=(500, 500))))) is None


def test_a_mix_that_moved_without_an_old_model_beside_it_forbids_to_conclude():
    def lone(before, since):
        return device(shadowed=False, before=period(mix=before), since=period(mix=since))

    told = mix(wave(lone((80, 20), (50, 50)), **ALONE))
    assert told.sign is Sign.OPEN
    assert told.words == (
        "30 % of the answers go to other classes than before; more than 20 points, and no old model beside it tells "
        "whether rightly"
    )
    assert (told.value, told.limit) == (pytest.approx(0.3), 0.2)
    assert mix(wave(lone((80, 20), (61, 39)), **ALONE)).sign is Sign.TOLD
    healed = mix(wave(lone((80, 20), (50, 50)), **ALONE), intent=Intent.HEAL)
    assert healed.sign is Sign.TOLD
    assert healed.words == ("30 % of the answers go to other classes than before, as is expected of a model that heals")
    control = shown(DeviceHealth(before=period(mix=(80, 20)), since=period(mix=(60, 40))))
    beside = mix(wave(lone((80, 20), (50, 50)), control=control))
    assert (beside.sign, beside.words) == (
        Sign.TOLD, "30 % of the answers go to other classes than before, 20 % on control devices",
    )  # fmt: skip
    for unknown in (lone((), (50, 50)), lone((80, 20), ()), lone((80, 20), (50, 30, 20))):
        assert mix(wave(unknown)) is None


def test_mixes_are_compared_as_shares():
    assert distance((1, 1), (10, 10)) == 0.0
    assert distance((4, 0), (0, 1)) == 1.0
    assert distance((3, 1), (1, 3)) == 0.5


def rated(right, *, rows=2_000):
    """So many right answers are expected by their confidences."""
    inputs = Inputs(values=4 * rows, rated=rows, expected_right_milli=1_000 * right)
    return msgspec.structs.replace(period(rows=rows), inputs=inputs)


def test_confidences_alone_are_told_and_decide_nothing():
    assert found(Kind.ESTIMATE, wave()) is None
    sure, unsure = rated(1_860), rated(840)
    told = found(Kind.ESTIMATE, wave(device(before=sure, since=unsure)))
    assert (told.sign, told.value, told.against) == (Sign.TOLD, 0.42, 0.93)
    assert told.words == "confidences alone say 42 % accuracy, 93 % before; that decides nothing"
    assert found(Kind.ESTIMATE, wave(device(since=unsure))).words == (
        "confidences alone say 42 % accuracy; that decides nothing"
    )
    assert isinstance(judged(wave(device(before=sure, since=unsure))), Healthy)


# -- figures -------------------------------------------------------------------------------------------


def test_figures_have_two_digits_that_say_something():
    assert [percent(share) for share in (0.0, 0.0123, 0.123, 0.1251, 1.0)] == ["0 %", "1.2 %", "12 %", "13 %", "100 %"]
    assert [points(share) for share in (0.01, -0.01, 0.025, 0.1)] == ["1 point", "-1 points", "2.5 points", "10 points"]
    assert [ms(time_us) for time_us in (51, 12_345, 1_234_567)] == ["0.051 ms", "12 ms", "1235 ms"]
    assert [counted(number, "label") for number in (0, 1, 1_200)] == ["0 labels", "1 label", "1,200 labels"]
