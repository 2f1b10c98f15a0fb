"""What a regression is estimated to err by without labels: it follows the mix of answers, while inputs are stable."""

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import Channel, ChannelKind, Output, Task
from edgeops.drift.finding import EstimatedError, Kind, Verdict
from edgeops.drift.performance import MeanError, estimate_mae, mean_error_of
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge, judge_fleet
from edgeops.sketch.intervals import Held
from edgeops.sketch.learnt import build_reference, with_intervals
from edgeops.sketch.window import Sketcher
from tests.golden.tiny import tiny_manifest

INPUTS = 8
CHANNELS = (
    *(Channel(name=f"x{index}", kind=ChannelKind.COLUMN, index=index) for index in range(INPUTS)),
    Channel(name="answer", kind=ChannelKind.ANSWER),
)
NAMES = [channel.name for channel in CHANNELS]
POLICY = DriftPolicy()


def world(rows, *, seed, shift=0.0):
    """Channels (rows, 9), each input moved by so many deviations, and errors whose spread grows with the answer."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, INPUTS)) + shift
    answers = 5 + inputs.sum(axis=1) / np.sqrt(INPUTS)
    errors = np.abs(random.normal(size=rows)) * np.exp((answers - 5) / 2)
    return np.column_stack((inputs, answers)).astype(np.float32), errors


def learnt():
    """The reference of 10,000 rows, its half-widths and the mean error of 2,000 that were held back."""
    values, _ = world(10_000, seed=1)
    held, errors = world(2_000, seed=2)
    profile = build_reference(values, NAMES, discrete=())
    profile = with_intervals(profile, Held(answers=held[:, -1], errors=errors), answer="answer")
    return profile, MeanError(mae=float(errors.mean()), units="bar")


REFERENCE, ERROR = learnt()


def sketch(values):
    sketcher = Sketcher(REFERENCE)
    sketcher.add(values)
    return sketcher.sketch()


def windows(*, shift=0.0, rows=2_000, count=3, seed=0):
    return [sketch(world(rows, seed=100 + 10 * seed + place, shift=shift)[0]) for place in range(count)]


def judged(given, *, reference=REFERENCE, error=ERROR):
    return judge(reference, given, POLICY, channels=CHANNELS, mean_error=error)


def true_error(shift):
    return world(200_000, seed=3, shift=shift)[1].mean()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [-0.13, 0.0, 0.13])
def test_the_estimate_is_within_a_tenth_of_the_true_error_while_inputs_are_stable(seed, shift):
    found = judged(windows(shift=shift, seed=seed))
    assert Kind.DATA not in found.kinds
    assert found.estimated_error.unknown_because is None
    assert found.estimated_error.mae == pytest.approx(true_error(shift), rel=0.1)
    assert (found.estimated_error.evaluation_mae, found.estimated_error.units) == (ERROR.mae, "bar")


def test_answers_that_moved_alone_are_drift_of_predictions_and_the_evaluation_set_no_longer_tells_the_error():
    found = judged(windows(shift=0.13))
    assert (found.verdict, found.kinds) == (Verdict.DRIFT, (Kind.PREDICTION,))
    assert ERROR.mae < 0.87 * true_error(0.13)
    assert found.estimated_error.mae > 1.1 * ERROR.mae


def test_it_decides_nothing():
    with_error, without = (judged(windows(shift=0.13), error=error) for error in (ERROR, None))
    assert without.estimated_error is None
    assert with_error.verdict is without.verdict
    assert (with_error.kinds, with_error.reason) == (without.kinds, without.reason)


def unknown(found):
    assert found.estimated_error.mae is None
    assert found.estimated_error.evaluation_mae == ERROR.mae
    return found.estimated_error.unknown_because


def test_where_inputs_have_moved_there_is_none():
    found = judged(windows(shift=0.5))
    assert (found.verdict, Kind.DATA in found.kinds) == (Verdict.DRIFT, True)
    assert "inputs have moved" in unknown(found)


def test_where_one_input_has_moved_and_the_answers_have_not_there_is_none():
    values, _ = world(2_000, seed=7)
    values[:, 0] += 1
    found = judged([sketch(values)] * 3)
    assert found.kinds == (Kind.DATA,)
    assert "inputs have moved" in unknown(found)


def test_what_the_model_sees_in_the_inputs_must_be_as_it_was_too():
    channels = (Channel(name="x0", kind=ChannelKind.PROJECTION), *CHANNELS[1:])
    values, _ = world(2_000, seed=7)
    values[:, 0] += 1
    found = judge(REFERENCE, [sketch(values)] * 3, POLICY, channels=channels, mean_error=ERROR)
    assert found.kinds == (Kind.PREDICTION,)
    assert "inputs have moved" in unknown(found)


def test_where_readings_cannot_be_trusted_there_is_none():
    values, _ = world(2_000, seed=7)
    values[:, 0] = np.nan
    found = judged([sketch(values)] * 3)
    assert Kind.QUALITY in found.kinds
    assert unknown(found) == "readings cannot be trusted"


@pytest.mark.parametrize("given", [[], windows(rows=10, count=1)], ids=["nothing came", "ten rows came"])
def test_without_evidence_there_is_none(given):
    found = judged(given)
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "too little was seen of the inputs" in unknown(found)


@pytest.mark.parametrize(
    ("unseen", "reason"),
    [
        (slice(0, INPUTS), "too little was seen of the inputs to say that they are stable"),
        (slice(INPUTS, None), "too few answers were seen"),
    ],
    ids=["inputs", "answers"],
)
def test_where_nearly_all_of_one_side_is_missing_as_it_always_was_there_is_none(unseen, reason):
    learnt_from, now = world(10_000, seed=1)[0], world(2_000, seed=7)[0]
    for values in (learnt_from, now):
        values[np.arange(len(values)) % 100 > 0, unseen] = np.nan
    reference = build_reference(learnt_from, NAMES, discrete=())
    sketcher = Sketcher(reference)
    sketcher.add(now)
    known = msgspec.structs.replace(reference, intervals=REFERENCE.intervals)
    assert unknown(judged([sketcher.sketch()], reference=known)) == reason


def test_no_single_device_has_one_for_it_may_be_as_its_siblings_are_while_all_have_moved():
    found = judge_fleet(
        REFERENCE, {f"edge-{place}": windows(seed=place) for place in range(3)}, POLICY, channels=CHANNELS,
        mean_error=ERROR,
    )  # fmt: skip
    assert found.fleet.estimated_error.mae == pytest.approx(true_error(0), rel=0.1)
    assert {one.estimated_error for one in found.local.values()} == {None}


def test_a_model_that_does_not_know_its_half_widths_has_none():
    assert judged(windows(), reference=msgspec.structs.replace(REFERENCE, intervals=b"")).estimated_error is None
    flat = msgspec.structs.replace(REFERENCE, intervals=np.zeros(32, "<f4").tobytes())
    assert judged(windows(), reference=flat).estimated_error == EstimatedError(
        mae=None, unknown_because="its intervals have no width", evaluation_mae=ERROR.mae, units="bar"
    )


def test_a_bin_counts_by_its_half_width_and_its_share():
    widths = np.repeat([1.0, 3.0], 16)
    even, upper = np.ones(32), np.repeat([0.0, 5.0], 16)
    assert estimate_mae(2.0, widths, even, even) == pytest.approx(2.0)
    assert estimate_mae(2.0, widths, upper, even) == pytest.approx(3.0)
    assert estimate_mae(2.0, widths, 0 * even, even) is None
    assert estimate_mae(2.0, widths, even, 0 * even) is None


def test_the_mean_error_is_the_manifest_s_and_of_regressions_only():
    manifest = msgspec.structs.replace(
        tiny_manifest(), task=Task.REGRESSION, metrics={"mae": 2.0}, output=Output(units="bar")
    )
    assert mean_error_of(manifest) == MeanError(mae=2.0, units="bar")
    assert mean_error_of(msgspec.structs.replace(manifest, metrics={})) is None
    assert mean_error_of(msgspec.structs.replace(manifest, task=Task.ANOMALY)) is None
