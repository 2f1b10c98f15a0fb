"""What a verdict must and must not be, on seeded streams of sixteen channels."""

import time

import numpy as np
import pytest

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Kind, Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge, judge_fleet
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.window import Sketcher, empty_sketch

CHANNELS = tuple(Channel(name=f"x{index}", kind=ChannelKind.COLUMN, index=index) for index in range(16))
NAMES = tuple(channel.name for channel in CHANNELS)
POLICY = DriftPolicy()
W = 500


def series(rows, *, rho=0.0, seed=0):
    """AR(1), unit variance, float32 (rows, 16)."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(rows, 16)) * np.sqrt(1 - rho**2)
    values = np.empty((rows, 16))
    values[0] = random.normal(size=16)
    for row in range(1, rows):
        values[row] = rho * values[row - 1] + noise[row]
    return values.astype(np.float32)


def reference_of(*, rho=0.0, seed=100, rows=5_000):
    return build_reference(series(rows, rho=rho, seed=seed), NAMES, discrete=(), ordered=True)


def sketch(reference, values):
    sketcher = Sketcher(reference)
    sketcher.add(np.ascontiguousarray(values, dtype=np.float32))
    return sketcher.sketch()


def windows(reference, values, size=W):
    return [sketch(reference, values[start : start + size]) for start in range(0, len(values), size)]


@pytest.fixture(scope="module")
def reference():
    return reference_of()


@pytest.mark.parametrize("seed", range(5))
def test_the_same_world_is_stable(reference, seed):
    found = judge(reference, windows(reference, series(6 * W, seed=seed)), POLICY, channels=CHANNELS)
    assert found.verdict is Verdict.STABLE
    assert not found.kinds


@pytest.mark.parametrize("seed", range(5))
def test_half_a_deviation_in_one_of_sixteen_channels_is_found_and_named(reference, seed):
    values = series(4 * W, seed=seed)
    values[W:, 3] += 0.5
    found = judge(reference, windows(reference, values), POLICY, channels=CHANNELS)
    assert found.verdict is Verdict.DRIFT
    assert found.kinds == (Kind.DATA,)
    assert [one.name for one in found.channels if one.drifted] == ["x3"]
    assert "x3" in found.reason


@pytest.mark.parametrize("rho", [0.9, 0.99])
def test_a_slow_sensor_that_did_not_change_is_never_called_drift(rho):
    for seed in range(4):
        slow = reference_of(rho=rho, seed=200 + seed)
        found = judge(slow, windows(slow, series(8 * W, rho=rho, seed=seed)), POLICY, channels=CHANNELS)
        assert found.verdict is not Verdict.DRIFT


def test_a_stretch_of_a_slow_sensor_is_no_drift_although_the_reference_was_shuffled():
    """Each stretch shows a part of the range, and noise that makes its rows look more independent than they are."""
    random = np.random.default_rng(7)
    slow = (series(12_000, rho=0.9995, seed=7) + random.normal(size=(12_000, 16)) * 0.03).astype(np.float32)
    shuffled = build_reference(random.permutation(slow[:8_000]), NAMES, discrete=(), ordered=False)
    found = judge(shuffled, windows(shuffled, slow[8_000:]), POLICY, channels=CHANNELS)
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "independent" in found.reason


def test_too_few_independent_rows_are_not_enough_evidence_and_it_says_how_many_more():
    slow = reference_of(rho=0.99)
    found = judge(slow, windows(slow, series(W, rho=0.99, seed=1)), POLICY, channels=CHANNELS)
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert found.rows_needed is not None
    assert found.rows_needed > 0


def test_a_handful_of_rows_is_not_enough_evidence(reference):
    found = judge(reference, windows(reference, series(30)), POLICY, channels=CHANNELS)
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_three_devices_with_a_few_rows_each_show_a_large_change_together(reference):
    values = series(81, seed=3) + 1.5
    parts = {f"device-{place}": [sketch(reference, values[place::3])] for place in range(3)}
    assert judge_fleet(reference, parts, POLICY, channels=CHANNELS).fleet.verdict is Verdict.DRIFT


def test_old_stable_windows_do_not_dilute_a_fresh_change(reference):
    values = series(21 * W, seed=5)
    values[20 * W :] += 1.0
    found = judge(reference, windows(reference, values[: 20 * W + 150]), POLICY, channels=CHANNELS)
    assert found.verdict is not Verdict.STABLE


def fleet(reference, number, *, seed=0, rounds=4, shift=0.0):
    return {
        f"device-{place:02}": windows(reference, series(rounds * W, seed=1_000 * seed + place) + np.float32(shift))
        for place in range(number)
    }


def test_a_small_shift_of_all_is_found_in_the_fleet(reference):
    found = judge_fleet(reference, fleet(reference, 20, shift=0.25), POLICY, channels=CHANNELS)
    assert found.fleet.verdict is Verdict.DRIFT


def test_one_device_that_moved_is_a_local_finding_and_none_of_the_fleet(reference):
    devices = fleet(reference, 20)
    devices["device-07"] = fleet(reference, 8, shift=1.0)["device-07"]
    found = judge_fleet(reference, devices, POLICY, channels=CHANNELS)
    assert found.fleet.verdict is Verdict.STABLE
    assert [name for name, one in found.local.items() if one.verdict is Verdict.DRIFT] == ["device-07"]


@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize("rows_factor", [1, 50])
def test_one_liar_cannot_make_a_verdict_of_the_fleet(reference, number, rows_factor):
    devices = fleet(reference, number, seed=2)
    lie = np.repeat(series(4 * W, seed=9) + np.float32(5.0), rows_factor, axis=0)
    devices["device-00"] = windows(reference, lie, W * rows_factor)
    assert judge_fleet(reference, devices, POLICY, channels=CHANNELS).fleet.verdict is not Verdict.DRIFT


@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize("rows_factor", [1, 50])
def test_one_liar_cannot_hide_a_verdict_of_the_fleet(reference, number, rows_factor):
    devices = fleet(reference, number, seed=3, shift=1.0)
    lie = np.repeat(series(4 * W, seed=9), rows_factor, axis=0)
    devices["device-00"] = windows(reference, lie, W * rows_factor)
    assert judge_fleet(reference, devices, POLICY, channels=CHANNELS).fleet.verdict is Verdict.DRIFT


NOTHING = empty_sketch(16)


def test_a_liar_is_no_fleet_while_all_but_one_of_the_others_sleep(reference):
    devices = fleet(reference, 4, seed=5, rounds=6)
    for asleep in ("device-02", "device-03"):
        devices[asleep][3:] = [NOTHING] * 3
    devices["device-00"] = fleet(reference, 1, seed=6, rounds=6, shift=3.0)["device-00"]
    found = judge_fleet(reference, devices, POLICY, channels=CHANNELS)
    assert found.fleet.verdict is Verdict.STABLE
    assert [name for name, one in found.local.items() if one.verdict is Verdict.DRIFT] == ["device-00"]


def test_what_both_show_that_are_awake_is_the_fleets(reference):
    devices = fleet(reference, 3, seed=7, rounds=6)
    moved = fleet(reference, 2, seed=8, rounds=3, shift=0.5)
    for name, windows_ in moved.items():
        devices[name][3:] = windows_
    devices["device-02"][3:] = [NOTHING] * 3
    assert judge_fleet(reference, devices, POLICY, channels=CHANNELS).fleet.verdict is Verdict.DRIFT


def test_where_one_device_alone_sent_enough_rows_its_fault_is_its_own(reference):
    devices = {
        "device-00": [sketch(reference, series(80, seed=1) + np.float32(40.0))],
        "device-01": [sketch(reference, series(27, seed=2))],
        "device-02": [sketch(reference, series(27, seed=3))],
    }
    found = judge_fleet(reference, devices, POLICY, channels=CHANNELS)
    assert not found.fleet.quality
    assert found.fleet.verdict is not Verdict.DRIFT
    assert found.local["device-00"].quality


def test_a_liar_that_waits_for_a_chance_among_small_windows_gets_none(reference):
    """Of 27 rows each the others must say enough by themselves, and not once in twenty judgements by chance."""
    lie = sketch(reference, np.full((27, 16), -4.0))
    for seed in range(3):
        others = {
            f"device-{place}": windows(reference, series(40 * 27, seed=50 * seed + place), 27) for place in (1, 2)
        }
        for turn in range(1, 41):
            devices = {name: own[:turn] for name, own in others.items()}
            found = judge_fleet(reference, {"liar": [lie] * turn, **devices}, POLICY, channels=CHANNELS)
            assert found.fleet.verdict is not Verdict.DRIFT


def test_where_no_row_came_it_is_told_how_many_are_needed(reference):
    for devices in ({}, {"device-00": []}, {**fleet(reference, 2), "device-99": []}):
        found = judge_fleet(reference, devices, POLICY, channels=CHANNELS)
        silent = found.local.get("device-99", found.fleet)
        assert silent.verdict is Verdict.NOT_ENOUGH_EVIDENCE
        assert silent.rows_needed == POLICY.min_rows
        assert "no rows came yet" in silent.reason


def test_a_device_that_joins_an_old_fleet_is_told_how_many_rows_it_needs(reference):
    policy = DriftPolicy(horizon_windows=8)
    devices = fleet(reference, 2, rounds=8)
    devices["device-99"] = [sketch(reference, series(30))]
    found = judge_fleet(reference, devices, policy, channels=CHANNELS).local["device-99"]
    assert found.rows_needed == POLICY.min_rows - 30


@pytest.fixture(scope="module")
def half_dead():
    """A reference in which x5 reads 7 and never changes."""
    values = series(5_000, seed=100)
    values[:, 5] = 7.0
    return build_reference(values, NAMES, discrete=(), ordered=True)


def dead_fleet(reference, value, *, number=3):
    parts = {}
    for place in range(number):
        values = series(4 * W, seed=70 + place)
        values[:, 5] = value
        parts[f"device-{place}"] = windows(reference, values)
    return parts


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_channel_that_never_changes_is_no_drift_and_is_told_when_it_begins_to(half_dead, number):
    still = judge_fleet(half_dead, dead_fleet(half_dead, 7.0, number=number), POLICY, channels=CHANNELS)
    for found in (still.fleet, *still.local.values()):
        assert found.verdict is Verdict.STABLE, found.reason
        assert not found.quality
    begins = judge_fleet(half_dead, dead_fleet(half_dead, 9.0, number=number), POLICY, channels=CHANNELS).fleet
    assert begins.kinds == (Kind.QUALITY,)
    assert [issue.channel for issue in begins.quality] == ["x5"]
    assert "was 7 throughout the reference and is 9.00" in begins.reason
    assert not any(channel.drifted for channel in begins.channels)


def test_what_rounding_does_to_a_channel_that_never_changes_is_no_beginning(half_dead):
    around = np.float32(7.0) + np.float32(1e-6) * series(4 * W, seed=1)[:, 5]
    found = judge_fleet(half_dead, dead_fleet(half_dead, around), POLICY, channels=CHANNELS).fleet
    assert found.verdict is Verdict.STABLE
    assert not found.quality


def test_a_model_that_watches_constants_only_says_so(reference):
    dead = build_reference(np.full((500, 16), 3.0, np.float32), NAMES, discrete=(), ordered=True)
    same = [sketch(dead, np.full((W, 16), 3.0))] * 4
    found = judge_fleet(dead, {"a": same, "b": same, "c": same}, POLICY, channels=CHANNELS)
    for one in (found.fleet, *found.local.values()):
        assert one.verdict is Verdict.NOT_ENOUGH_EVIDENCE
        assert one.rows_needed is None
        assert "nothing that could be compared" in one.reason
    other = judge(dead, [sketch(dead, series(W))] * 4, POLICY, channels=CHANNELS)
    assert other.kinds == (Kind.QUALITY,)
    assert len(other.quality) == 16


def test_a_stuck_sensor_is_data_quality_and_calls_for_a_person(reference):
    values = series(4 * W, seed=4)
    values[:, 2] = values[0, 2]
    found = judge(reference, windows(reference, values), POLICY, channels=CHANNELS)
    assert Kind.QUALITY in found.kinds
    assert [issue.channel for issue in found.quality] == ["x2"]


def test_one_wild_reading_is_no_broken_sensor(reference):
    values = series(W, seed=6)
    values[10, 5] = 1e6
    found = judge(reference, windows(reference, values), POLICY, channels=CHANNELS)
    assert not found.quality


def test_a_sensor_whose_reference_had_one_wild_reading_is_not_stuck():
    """It makes the reference's grid coarse, not its bins."""
    learnt = series(5_000, seed=7)
    learnt[100, 5] = 1e9
    coarse = build_reference(learnt, NAMES, discrete=(), ordered=True)
    found = judge(coarse, windows(coarse, series(2 * W, seed=8)), POLICY, channels=CHANNELS)
    assert not found.quality
    assert found.verdict is Verdict.STABLE


def test_a_device_that_sent_nothing_yet_changes_nothing(reference):
    devices = fleet(reference, 3)
    devices["device-99"] = [empty_sketch(16)] * 4
    assert judge_fleet(reference, devices, POLICY, channels=CHANNELS).fleet.verdict is Verdict.STABLE


def test_a_thousand_devices_are_judged_in_one_look(reference):
    one = fleet(reference, 10, rounds=1)
    many = {f"device-{place:04}": one[f"device-{place % 10:02}"] for place in range(1_000)}
    started = time.process_time()
    found = judge_fleet(reference, many, POLICY, channels=CHANNELS)
    print(f"{time.process_time() - started:.2f} s CPU for 1,000 devices x 16 channels")
    assert len(found.local) == 1_000
