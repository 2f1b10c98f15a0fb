"""A healed model's reference: inputs from merged windows, the rest from nominated samples, each worth its rows."""

import numpy as np
import pytest

from edgeops.errors import ArtifactError
from edgeops.sketch.calibration import Calibration, fit_calibration
from edgeops.sketch.healed import healed_reference
from edgeops.sketch.histogram import bin_counts
from edgeops.sketch.learnt import build_reference, with_calibration
from edgeops.sketch.window import Sketcher

NAMES = ("a", "b", "answer")


def rows(count, *, seed=1):
    values = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    values[:, 2] = np.arange(count) % 2
    return values


PREVIOUS = build_reference(rows(2000), NAMES, discrete={"answer"}, ordered=True)


def windows(count=400, *, shift=1.0):
    values = rows(count, seed=2)
    values[:, :2] += shift
    sketcher = Sketcher(PREVIOUS)
    sketcher.add(values)
    return sketcher.sketch()


def healed(**changed):
    count = len(changed.get("weights", (1.0,) * 4))
    given = {
        "inputs": windows(),
        "names": NAMES,
        "is_input": (True, True, False),
        "values": np.column_stack((np.zeros(count), np.zeros(count), np.arange(count))).astype(np.float32),
        "weights": np.array([1.0, 1.0, 1.0, 1.0]),
        "discrete": {"answer"},
    }
    given |= changed
    return healed_reference(PREVIOUS, given.pop("inputs"), **given)


def test_input_channels_keep_their_grid_and_take_the_counts_of_the_windows():
    inputs = windows()
    profile = healed(inputs=inputs)
    for place in (0, 1):
        before, after = PREVIOUS.channels[place], profile.channels[place]
        assert (after.edges, after.centre, after.step, after.lag1, after.wander) == (
            before.edges, before.centre, before.step, before.lag1, before.wander,
        )  # fmt: skip
        assert after.effective_rows == 400.0
    kept = profile.summary()
    assert kept.rows == 400
    for field in ("counts", "total", "squares", "pairs", "steps", "low", "high"):
        assert np.array_equal(getattr(kept, field)[:2], getattr(inputs, field)[:2]), field


def test_channels_are_found_by_name_whatever_their_order():
    values = np.column_stack((np.arange(4), np.zeros(4))).astype(np.float32)
    profile = healed(names=("answer", "b"), is_input=(False, True), values=values)
    assert profile.names == ("answer", "b")
    assert np.array_equal(profile.summary().counts[1], windows().counts[1])


def test_a_channel_of_the_new_model_counts_each_sample_as_the_rows_it_stands_for():
    profile = healed(weights=np.array([100.0, 200.0, 60.0, 40.0]))
    summary = profile.summary()
    assert summary.counts[2][:4].tolist() == [100, 200, 60, 40]
    assert summary.total[2] == 200 + 2 * 60 + 3 * 40
    assert summary.squares[2] == 200 + 4 * 60 + 9 * 40
    assert (summary.low[2], summary.high[2], summary.pairs[2], summary.steps[2]) == (0, 3, 0, 0)


def test_shares_of_a_row_are_given_out_so_that_all_rows_are():
    profile = healed(weights=np.array([1.0, 1.0, 1.0]), values=np.ones((3, 3), np.float32), inputs=windows(100))
    assert profile.summary().present[2] == 100


def test_weighted_rows_are_worth_what_kish_says():
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    assert healed(weights=weights).channels[2].effective_rows == pytest.approx(10.0**2 / 30.0)


def test_edges_and_grid_are_those_of_20_000_rows_at_most():
    rare = 0.5 / 20_000.5
    values = np.array([[0, 0, 0], [0, 0, 100]], np.float32)
    profile = healed(values=values, weights=np.array([1 - rare, rare]), inputs=windows(40_000), discrete=())
    channel = profile.channels[2]
    assert (channel.centre, channel.step) == (0.0, 1 / 1024), "less than half of one of them is none"
    assert sorted(profile.summary().counts[2].tolist())[-2:] == [1, 39_999], "and is counted all the same"


def test_a_sample_without_a_value_counts_as_missing_and_is_worth_nothing():
    values = np.array([[0, 0, 5.0], [0, 0, np.nan], [0, 0, 7.0], [0, 0, np.inf]], np.float32)
    profile = healed(values=values, weights=np.array([100.0, 100.0, 100.0, 100.0]), discrete=())
    assert profile.channels[2].effective_rows == pytest.approx(2.0)
    summary = profile.summary()
    assert (summary.present[2], summary.missing[2]) == (200, 200)
    channel = profile.channels[2]
    assert (channel.centre + channel.step * summary.low[2]) == pytest.approx(5.0, abs=channel.step)
    assert (channel.centre + channel.step * summary.high[2]) == pytest.approx(7.0, abs=channel.step)


def test_a_channel_that_no_sample_has_is_absent():
    profile = healed(values=np.full((4, 3), np.nan, np.float32))
    assert profile.channels[2].effective_rows == 0.0
    assert profile.summary().present[2] == 0


def test_values_fall_into_the_bins_that_windows_will_be_measured_with():
    values = np.zeros((50, 3), np.float32)
    values[:, 2] = np.random.default_rng(3).normal(size=50)
    profile = healed(values=values, weights=np.ones(50), inputs=windows(50), discrete=())
    edges = profile.grid.edges[2:]
    assert profile.summary().counts[2].tolist() == bin_counts(values[:, 2:].T.copy(), edges, None)[0].tolist()


def test_what_the_process_does_by_itself_is_carried_over_by_name():
    profile = healed(names=("a", "b", "answer"))
    assert (profile.ordered, profile.block_rows) == (True, PREVIOUS.block_rows)
    old = PREVIOUS.channels[2]
    assert (profile.channels[2].lag1, profile.channels[2].wander) == (old.lag1, old.wander)
    new = healed(names=("a", "b", "projection-0")).channels[2]
    assert (new.lag1, new.wander) == (0.0, bytes(4 * len(PREVIOUS.block_rows)))
    assert profile.by_class is None


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"names": ("a", "x", "answer")}, r"input channels \['x'\] are new"),
        ({"inputs": Sketcher(build_reference(rows(100)[:, :2], "ab", discrete=())).sketch()}, "windows of 2 channels"),
        ({"values": np.zeros((3, 3), np.float32)}, "for 4 samples and 3 channels"),
        ({"values": np.zeros((4, 2), np.float32)}, "for 4 samples and 3 channels"),
        ({"names": (), "is_input": (), "values": np.zeros((4, 0), np.float32)}, "and 0 channels"),
        ({"inputs": Sketcher(PREVIOUS).sketch()}, "needs windows and nominated samples"),
        ({"weights": np.zeros(0), "values": np.zeros((0, 3), np.float32)}, "needs windows and nominated samples"),
        ({"weights": np.array([1.0, 1.0, 1.0, 0.0])}, "stands for more than 0 rows"),
        ({"weights": np.array([1.0, 1.0, 1.0, np.inf])}, "stands for more than 0 rows"),
        ({"weights": np.array([1.0, 1.0, 1.0, np.nan])}, "stands for more than 0 rows"),
    ],
)
def test_what_does_not_fit_together_makes_no_reference(changed, part):
    with pytest.raises(ArtifactError, match=part):
        healed(**changed)


# -- what a confidence is worth -----------------------------------------------------------------


EDGES = np.linspace(0, 1, 33, dtype=np.float32)[1:-1]


def fitted(confidence, correct):
    return fit_calibration(np.array(confidence, np.float32), np.array(correct, bool), EDGES)


def test_without_answers_a_confidence_is_worth_itself():
    shares = fitted([], [])
    middles = (EDGES[:-1] + EDGES[1:]) / 2
    assert shares[1:-1] == pytest.approx(middles)
    assert (shares[0], shares[-1]) == pytest.approx((EDGES[0], EDGES[-1]))


def test_answers_move_a_bin_and_few_of_them_move_it_little():
    middle = float(EDGES[15] + EDGES[16]) / 2
    inside = [middle] * 4
    assert fitted(inside, [True, True, False, False])[16] == pytest.approx((2 + 4 * middle) / 8)
    assert fitted(inside * 100, [True, True, False, False] * 100)[16] == pytest.approx((200 + 4 * middle) / 404)


def test_a_value_on_an_edge_belongs_above_it():
    wrong = fitted([float(EDGES[15])] * 400, [False] * 400)
    assert wrong[16] < 0.25, "the bin above the edge took the wrong answers"


def test_answers_without_a_confidence_say_nothing():
    assert fitted([np.nan] * 100, [False] * 100) == pytest.approx(fitted([], []))


def test_expected_accuracy_never_falls_with_the_confidence():
    rng = np.random.default_rng(4)
    confidence = rng.uniform(size=500)
    shares = fitted(confidence, rng.uniform(size=500) > confidence)
    assert (np.diff(shares) >= 0).all()
    # All answers of the upper half are wrong, all of the lower right: one share for all, the weighted mean.
    crossed = fitted([0.1] * 100 + [0.9] * 100, [True] * 100 + [False] * 100)
    low, high = EDGES.searchsorted([0.1, 0.9], side="right")
    assert crossed[low] == pytest.approx(crossed[high])
    middles = np.concatenate((EDGES[:1], (EDGES[:-1] + EDGES[1:]) / 2, EDGES[-1:]))[low : high + 1]
    assert crossed[low] == pytest.approx((100 + 4 * middles.sum()) / (200 + 4 * len(middles)), rel=1e-5)


def test_a_profile_holds_the_calibration_of_its_confidence_channel():
    calibration = Calibration(
        channel="b", confidence=np.array([0.5] * 50, np.float32), correct=np.array([True] * 50, bool)
    )
    profile = with_calibration(PREVIOUS, calibration)
    expected = fit_calibration(calibration.confidence, calibration.correct, PREVIOUS.grid.edges[1])
    assert profile.expected_accuracy().astype(np.float32).tolist() == expected.tolist()
    assert with_calibration(PREVIOUS, None) is PREVIOUS
    assert healed(calibration=calibration).expected_accuracy() is not None
    made = build_reference(rows(50), NAMES, discrete={"answer"}, calibration=calibration)
    assert made.expected_accuracy() is not None


def test_a_confidence_beyond_one_is_worth_no_more_than_one():
    shares = fit_calibration(np.zeros(0, np.float32), np.zeros(0, bool), 3 * EDGES)
    assert shares.max() == 1.0


def test_a_model_of_inputs_alone_and_one_of_a_single_channel_are_healed():
    kept = healed(is_input=(True, True, True))
    assert kept.names == NAMES
    assert np.array_equal(kept.summary().counts, windows().counts)
    single = healed(names=("a",), is_input=(True,), values=np.zeros((4, 1), np.float32))
    assert single.summary().counts.tolist() == windows().counts[:1].tolist()


def test_a_healed_model_watches_up_to_64_channels():
    names = ("a", *(f"projection-{place}" for place in range(64)))
    for count in (64, 65):
        some = {"names": names[:count], "is_input": (True, *[False] * (count - 1))}
        values = np.random.default_rng(5).normal(size=(4, count)).astype(np.float32)
        if count == 64:
            assert len(healed(**some, values=values).channels) == 64
        else:
            with pytest.raises(ArtifactError, match="and 65 channels"):
                healed(**some, values=values)
