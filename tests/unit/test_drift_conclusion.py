"""What is said of one stream, given the evidence: verdict, kinds, channels, and what is lacking."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import ChannelKind
from edgeops.drift.conclusion import Stream, Watched, conclude
from edgeops.drift.evidence import Worth
from edgeops.drift.finding import Fault, Kind, QualityIssue, Verdict
from edgeops.drift.statistics import effective_rows
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.learnt import build_reference
from tests.unit import drift_values as made

FOUR = (ChannelKind.COLUMN,) * 4
#: Inputs, an answer, and how sure it is.
MODEL = (ChannelKind.COLUMN, ChannelKind.COLUMN, ChannelKind.ANSWER, ChannelKind.CONFIDENCE)


def profile(kinds, *, rows=2_000):
    random = np.random.default_rng(5)
    values = random.normal(size=(rows, len(kinds))).astype(np.float32)
    calibration = None
    if ChannelKind.CONFIDENCE in kinds:
        sure = values[:, kinds.index(ChannelKind.CONFIDENCE)] = random.uniform(0, 1, rows)
        name = f"c{kinds.index(ChannelKind.CONFIDENCE)}"
        calibration = Calibration(channel=name, confidence=sure.astype(np.float32), correct=random.random(rows) < sure)
    names = [f"c{index}" for index in range(len(kinds))]
    return build_reference(values, names, discrete=(), ordered=True, calibration=calibration)


def watched(kinds=FOUR, *, policy=made.POLICY, **changes):
    reference = profile(kinds)
    if changes:
        channels = tuple(msgspec.structs.replace(one, **changes) for one in reference.channels)
        reference = msgspec.structs.replace(reference, channels=channels)
    return Watched(reference, made.channels(*kinds), policy)


def worth(rows, *, lag1, streams):
    present = np.tile(np.array(rows, float), (streams, 1))
    lags = np.full(present.shape, lag1)
    return Worth(present, present, effective_rows(present, lags), lags)


def stream(evidence, *, moved=None, rows=100, windows=1, channel_rows=None, lag1=0.0, issues=(), local=False, place=0):
    _, streams, channels = evidence.exists.shape
    own = worth(channel_rows or [rows] * channels, lag1=lag1, streams=streams)
    return Stream(
        place=place, evidence=evidence, spans=made.spans(of_channels=channels), worth=own,
        moved=np.zeros(channels, np.bool_) if moved is None else np.array(moved),
        counts=np.tile(made.dealt(rows), (channels, 1)).astype(float), rows=rows, windows=windows, issues=issues,
        is_local=local,
    )  # fmt: skip


def judged_in(*flags):
    """Nothing moved; whether the newest judged window of each channel exists."""
    exists = made.full(value=False, of_channels=len(flags))
    exists[0] = np.array(flags)
    return made.evidence(of_channels=len(flags), exists=exists)


def issue(channel):
    return QualityIssue(channel=channel, fault=Fault.STUCK, detail="stays at 3")


# -- verdicts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "verdict"),
    [
        ((True, True, True, True), Verdict.STABLE),
        ((True, False, True, False), Verdict.STABLE),
        ((True, False, False, False), Verdict.NOT_ENOUGH_EVIDENCE),
        ((True, False, False), Verdict.NOT_ENOUGH_EVIDENCE),
        ((True, True, False), Verdict.STABLE),
    ],
)
def test_stable_is_said_when_half_of_the_channels_were_judged(flags, verdict):
    found = conclude(watched(FOUR[: len(flags)]), stream(judged_in(*flags), channel_rows=[10] * len(flags)))
    assert found.verdict is verdict
    assert found.kinds == ()
    assert (found.rows_needed is None) == (verdict is Verdict.STABLE)
    assert (found.rows, found.windows) == (100, 1)


def test_a_stable_stream_is_told_with_the_channels_that_were_not_judged():
    found = conclude(watched(), stream(judged_in(True, False, True, False), local=True))
    assert found.reason.startswith("This device sees what its siblings see on 2 channels over 100 rows.")
    assert found.reason.endswith("rows: c1, c3.")
    assert conclude(watched(), stream(judged_in(True, True, True, True))).reason == (
        "Nothing that matters has moved on 4 channels over 100 rows."
    )


def test_channels_without_a_distribution_count_neither_as_judged_nor_as_waiting():
    values = np.random.default_rng(5).normal(size=(2_000, 4)).astype(np.float32)
    values[:, 2], values[:, 3] = 7.0, np.nan
    reference = build_reference(values, [f"c{index}" for index in range(4)], discrete=(), ordered=True)
    half = Watched(reference, made.channels(*FOUR), made.POLICY)
    found = conclude(half, stream(judged_in(True, False, False, False)))
    assert found.verdict is Verdict.STABLE
    assert "on 1 channels" in found.reason
    assert found.reason.endswith("rows: c1.")
    found = conclude(half, stream(judged_in(False, False, True, True), channel_rows=[10, 20, 0, 0]))
    assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert found.rows_needed == 30, "one of the two is enough"


def test_what_moved_is_drift_of_its_kind():
    for place, kind in ((0, Kind.DATA), (2, Kind.PREDICTION), (3, Kind.PREDICTION)):
        moved = np.arange(4) == place
        found = conclude(watched(MODEL), stream(made.evidence(of_channels=4), moved=moved))
        assert found.verdict is Verdict.DRIFT
        assert found.kinds == (kind,)
        assert [one.drifted for one in found.channels] == moved.tolist()
        assert found.reason.startswith(f"c{place} has moved: ")
    found = conclude(watched(MODEL), stream(made.evidence(of_channels=4), moved=[True, False, True, False]))
    assert found.kinds == (Kind.DATA, Kind.PREDICTION)
    margin = (*MODEL[:2], ChannelKind.MARGIN, ChannelKind.PROJECTION)
    for place in (2, 3):
        found = conclude(watched(margin), stream(made.evidence(of_channels=4), moved=np.arange(4) == place))
        assert found.kinds == (Kind.PREDICTION,)


def test_columns_are_inputs_and_what_the_model_makes_of_them_is_not():
    assert watched(MODEL).is_input.tolist() == [True, True, False, False]


def test_what_moved_counts_as_judged_although_its_newest_window_is_not_full():
    """Of the others nothing is judged; that what moved is broken as well leaves a stable rest."""
    found = conclude(watched(), stream(judged_in(False, False, False, False), moved=[True, True, False, False]))
    assert found.verdict is Verdict.DRIFT
    assert found.rows_needed is None


def test_a_channel_whose_readings_cannot_be_trusted_has_not_moved():
    found = conclude(
        watched(), stream(made.evidence(of_channels=4), moved=[True, False, True, False], issues=(issue("c0"),))
    )
    assert found.verdict is Verdict.DRIFT
    assert found.kinds == (Kind.DATA, Kind.QUALITY)
    assert [one.drifted for one in found.channels] == [False, False, True, False]
    assert found.reason.startswith("Readings cannot be trusted: c0 stays at 3. Look at the sensors, ")
    assert " c2 has moved: " in found.reason
    assert found.quality == (issue("c0"),)
    only = conclude(
        watched(), stream(made.evidence(of_channels=4), moved=[True, *[False] * 3], issues=(issue("c0"),), local=True)
    )
    assert only.verdict is Verdict.DRIFT
    assert only.kinds == (Kind.QUALITY,)
    assert only.reason.endswith("nothing is learnt from these rows until then.")
    assert "Look at this device's sensor" in only.reason


# -- what channels show -----------------------------------------------------------------------------


def test_each_channel_is_shown_in_the_span_that_tells():
    shown = made.evidence(
        streams=2, of_channels=2, telling=np.array([[0, 0], [6, 0]]),
        distance=np.arange(32).reshape(8, 2, 2) / 100, p_value=np.arange(32).reshape(8, 2, 2) / 1000,
        floor=np.arange(32).reshape(8, 2, 2) / 200,
    )  # fmt: skip
    counts = np.stack([made.dealt(100, [place]) for place in range(8)])
    shares = np.cumsum(counts, axis=-1)[:, np.newaxis, np.newaxis] / 100 * np.ones((8, 2, 2, 1))
    shown = replace(shown, seen=replace(shown.seen, cumulative=shares, effective=shown.distance * 100))
    model = watched(FOUR[:2])
    first, second = conclude(model, stream(shown, place=1)).channels
    assert (first.name, first.kind, first.distance, first.p_value, first.floor) == ("c0", Kind.DATA, 0.26, 0.026, 0.13)
    assert (second.name, second.distance, second.p_value, second.floor) == ("c1", 0.03, 0.003, 0.015)
    assert (first.effective_rows, second.effective_rows) == (26.0, 3.0)
    assert [np.flatnonzero(one.window_histogram).tolist() for one in (first, second)] == [[6], [0]]
    assert sum(first.window_histogram) == 100
    assert first.reference_histogram == tuple(model.baseline.counts[0].tolist())


def test_a_channel_without_a_judged_window_shows_all_that_came():
    found = conclude(watched(), stream(judged_in(True, True, True, False), channel_rows=[100, 100, 100, 7]))
    *_, third, last = found.channels
    assert (third.effective_rows, last.effective_rows) == (100.0, 7.0)
    assert last.window_histogram == tuple(made.dealt(100).tolist())


def test_whether_it_was_seen_again_is_told_of_the_channel_that_moved_most():
    distance = made.full(0.2, of_channels=4)
    distance[:, :, 1], distance[:, :, 3] = 0.4, 0.9
    for again, words in (
        ([False, True, False, False], "in two of the last"),
        ([True, False, True, True], "in one merged"),
    ):
        shown = made.evidence(of_channels=4, distance=distance, again=np.array([again]))
        found = conclude(watched(), stream(shown, moved=[True, True, True, False]))
        assert words in found.reason, "the third did not move, however far away it is"


# -- another mix of answers ---------------------------------------------------------------------------

ANSWERED = (ChannelKind.COLUMN, ChannelKind.COLUMN, ChannelKind.ANSWER)
#: Where the columns and the answer are told.
TOLD = (4, 2, 6)


@pytest.fixture(scope="module")
def model():
    """The first column knows the two classes, which come equally often, the second does not."""
    random = np.random.default_rng(5)
    answer = np.arange(2_000) % 2
    values = np.stack((random.normal(size=2_000) + 4 * answer, random.normal(size=2_000), answer), axis=1)
    reference = build_reference(values.astype(np.float32), ["c0", "c1", "c2"], discrete=("c2",), answer="c2")
    return Watched(reference, made.channels(*ANSWERED), made.POLICY)


def answered(model, *, span, moved, distance=(0.3, 0.2, 0.1), first=0.8, not_judged=None, **options):
    """In one span the classes came in other shares, in all others as in the reference."""
    shown = made.evidence(of_channels=3, telling=np.array([TOLD]), distance=made.full(1.0, of_channels=3) * distance)
    classes = model.reference.by_class.counts()
    rows = classes[:, 2].sum(axis=-1)
    mixed = first * classes[0] / rows[0] + (1 - first) * classes[1] / rows[1]
    shares = np.broadcast_to(model.baseline.cumulative, shown.seen.cumulative.shape).copy()
    shares[span, 0] = np.cumsum(mixed, axis=-1)
    if not_judged is not None:
        shown.exists[span, 0, not_judged] = False
    shown = replace(shown, seen=replace(shown.seen, cumulative=shares))
    return conclude(model, stream(shown, moved=moved, **options))


def test_what_another_mix_explains_is_a_matter_of_predictions_only(model):
    found = answered(model, span=6, moved=[True, False, True])
    assert found.verdict is Verdict.DRIFT
    assert found.class_mix_only
    assert found.kinds == (Kind.PREDICTION,)
    assert found.reason.startswith("The answers of the fleet come in another mix (30% of them are of another class ")
    assert [one.drifted for one in found.channels] == [True, False, True]
    local = answered(model, span=6, moved=[True, False, True], local=True)
    assert local.reason.startswith("The answers of this device come in another mix (30% ")


def test_the_mix_is_looked_for_where_the_answers_are_told_or_else_what_moved_most(model):
    assert not answered(model, span=4, moved=[True, False, True]).class_mix_only, "the answers are told elsewhere"
    assert answered(model, span=4, moved=[True, False, False]).class_mix_only, "they did not move"
    farther = (0.3, 0.2, 0.4), (0.3, 0.4, 0.1)
    for distance in farther:
        found = answered(model, span=4, moved=[True, False, False], distance=distance)
        assert found.class_mix_only, "what did not move is not the farthest"


def test_beside_a_broken_sensor_nothing_is_a_mix_only(model):
    found = answered(model, span=6, moved=[True, False, True], issues=(issue("c1"),))
    assert not found.class_mix_only
    assert found.kinds == (Kind.PREDICTION, Kind.QUALITY)
    assert "come in another mix" in found.reason


def test_what_is_not_judged_where_the_answers_are_told_is_not_explained(model):
    found = answered(model, span=6, moved=[True, False, True], not_judged=0)
    assert not found.class_mix_only
    assert found.kinds == (Kind.DATA, Kind.PREDICTION)
    assert answered(model, span=6, moved=[True, False, True], not_judged=1).class_mix_only


def test_where_nothing_moved_no_mix_is_looked_for(model):
    found = answered(model, span=6, moved=[False, False, False])
    assert found.verdict is Verdict.STABLE
    assert not found.class_mix_only


# -- how sure the model is --------------------------------------------------------------------------


def less_sure(*, local=False, moved=(False,) * 4, exists=True, effective=100.0):
    """The newest judged window's confidences lie in the lowest bins."""
    shown = made.evidence(of_channels=4)
    shares = shown.seen.cumulative.copy()
    shares[0, 0, 3] = np.cumsum(made.dealt(100, range(4))) / 100
    if not exists:
        shown.exists[0, 0, 3] = False
    sizes = np.full(shown.exists.shape, effective)
    shown = replace(shown, seen=replace(shown.seen, cumulative=shares, effective=sizes))
    return conclude(watched(MODEL), stream(shown, local=local, moved=moved))


def test_a_fall_of_confidence_stands_beside_a_stable_verdict_and_makes_none():
    found = less_sure()
    assert found.verdict is Verdict.STABLE
    assert found.kinds == (Kind.PERFORMANCE,)
    assert found.estimated_accuracy is not None
    assert found.estimated_accuracy < 0.15
    assert found.reason.endswith("labels would tell.")


def test_of_one_device_a_fall_of_confidence_is_told_beside_drift_only():
    quiet = less_sure(local=True)
    assert quiet.kinds == ()
    assert quiet.estimated_accuracy is not None
    assert "labels would tell" not in quiet.reason
    loud = less_sure(local=True, moved=(True, False, False, False))
    assert loud.kinds == (Kind.DATA, Kind.PERFORMANCE)
    assert "labels would tell" in loud.reason


def test_accuracy_is_estimated_from_the_newest_judged_window_of_a_calibrated_model():
    assert less_sure(exists=False).estimated_accuracy is None
    assert less_sure(effective=1.0).kinds == (Kind.PERFORMANCE,), "even one row of the lowest bins"
    even = conclude(watched(MODEL), stream(made.evidence(of_channels=4)))
    assert even.estimated_accuracy == pytest.approx(0.5, abs=0.03)
    assert even.kinds == ()
    assert conclude(watched(), stream(made.evidence(of_channels=4))).estimated_accuracy is None
    bare = Watched(profile(FOUR), made.channels(*MODEL), made.POLICY)
    assert conclude(bare, stream(made.evidence(of_channels=4))).estimated_accuracy is None


# -- what is lacking --------------------------------------------------------------------------------

NONE_JUDGED = judged_in(False, False, False, False)


def test_the_channel_that_half_wait_for_says_how_many_more_rows_are_needed():
    found = conclude(watched(), stream(NONE_JUDGED, rows=40, channel_rows=[10, 20, 33, 40]))
    assert found.rows_needed == 17, "of 50; the fourth needs fewer, and is one of four"
    found = conclude(watched(), stream(judged_in(False, False, False, True), rows=40, channel_rows=[10, 20, 33, 90]))
    assert found.rows_needed == 17, "one was judged, so one is enough"
    three = watched(FOUR[:3])
    found = conclude(three, stream(judged_in(False, False, False), rows=40, channel_rows=[10, 20, 33]))
    assert found.rows_needed == 30, "two of three"


def test_rows_that_follow_each_other_are_worth_fewer_so_more_are_needed():
    # r = 0.85: 12.3 rows are worth one; 100 are worth 8.1, and 11.9 more need 146.7.
    found = conclude(watched(), stream(NONE_JUDGED, lag1=0.85))
    assert found.rows_needed == 147
    assert "on c1 worth 8.1 independent ones" in found.reason
    assert "autocorrelation 0.8500" in found.reason
    assert "needs about 147 more, 2 windows as they came so far" in found.reason
    ever = conclude(watched(), stream(NONE_JUDGED, lag1=1.0))
    assert ever.rows_needed is None
    assert "the reference itself is worth 0.0 independent rows there" in ever.reason
    assert conclude(watched(), stream(NONE_JUDGED, rows=49, lag1=0.4)).rows_needed == 1, "worth 21, and one is missing"


def test_a_verdict_that_would_need_more_windows_than_are_looked_at_is_said_to():
    # 57 rows a window, and 132.7 more are needed: two windows and a third of one.
    for horizon, rows in ((5, 133), (4, None)):
        policy = replace(made.POLICY, horizon_windows=horizon)
        found = conclude(watched(policy=policy), stream(NONE_JUDGED, rows=114, windows=2, lag1=0.85))
        assert found.rows_needed == rows
        told = "133 more, 3 windows as they came so far" if rows else "more than the horizon of a judgement holds"
        assert told in found.reason


def test_windows_are_counted_as_they_came_and_of_empty_ones_each_holds_a_row():
    policy = replace(made.POLICY, horizon_windows=5)
    found = conclude(watched(policy=policy), stream(NONE_JUDGED, rows=10))
    assert found.rows_needed == 40, "four windows of ten rows fit"
    found = conclude(watched(), stream(NONE_JUDGED, rows=3, windows=4))
    assert "about 47 more, 47 windows as they came so far" in found.reason


def test_where_no_row_came_one_window_may_hold_any_number():
    policy = replace(made.POLICY, horizon_windows=1)
    found = conclude(watched(policy=policy), stream(NONE_JUDGED, rows=0))
    assert found.rows_needed == 50
    assert found.reason == "Too little to say: no rows came yet; a verdict needs about 50 more."


def test_a_reference_that_is_worth_too_little_is_named_as_what_is_lacking():
    found = conclude(watched(effective_rows=19.0), stream(NONE_JUDGED, rows=40))
    assert found.rows_needed is None
    assert "needs a reference over a longer time" in found.reason
    assert conclude(watched(effective_rows=25.0), stream(NONE_JUDGED, rows=40)).rows_needed == 10
