"""Where there is next to nothing: no values, no change, one pair of rows, five rows of a device."""

from dataclasses import replace

import numpy as np
import pytest

from edgeops.drift.baseline import baseline_of
from edgeops.drift.evidence import worth_alone
from edgeops.drift.guard import guard_of
from edgeops.drift.quality import find_faults
from edgeops.drift.siblings import differ_from_siblings
from edgeops.drift.statistics import cumulative
from edgeops.drift.views import group_view
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.window import LIMIT
from tests.unit import drift_values as made


def test_a_channel_that_neither_the_reference_nor_a_voice_has_values_of_says_nothing():
    moved, nothing = made.dealt(64, range(8)), np.zeros(made.BINS)
    counts = np.array([[moved, nothing], [moved, nothing]], float)
    both = made.baseline(2, rows=np.array([10_000.0, 0.0]))
    one = guard_of(group_view(counts[:, :1], outvotes=True), np.zeros(1), made.baseline(), made.POLICY)
    two = guard_of(group_view(counts, outvotes=True), np.zeros(2), both, made.POLICY)
    assert one.p_value < two.p_value < made.POLICY.strict_guarded_alpha
    assert not two.is_split


def test_a_channel_that_the_reference_never_saw_is_not_out_of_its_range():
    never = made.baseline(
        present=np.zeros(1), missing=np.ones(1), shares=np.zeros((1, made.BINS)),
        low=np.full(1, float(LIMIT)), high=np.full(1, -float(LIMIT)),
    )  # fmt: skip
    told = made.history([made.window(made.dealt(60, [31]))])
    assert not find_faults(told, never, made.POLICY, is_input=np.array([True])).any.item()


def test_five_rows_of_one_of_two_devices_are_held_against_all_rows_of_the_other():
    counts = made.dealt(64, range(8)), made.dealt(5, range(24, 32))
    bare = made.evidence(streams=2, drifted=[[True], [True]])
    shares, rows = np.array([[[cumulative(one)] for one in counts]]), np.array([[[64.0], [5.0]]])
    shown = replace(bare, seen=replace(bare.seen, cumulative=shares, effective=rows))
    assert differ_from_siblings(shown, shown, made.POLICY).tolist() == [[True], [True]]


def test_rows_of_a_value_that_does_not_change_tell_of_no_autocorrelation():
    still = replace(made.window(made.dealt(60, [3])), squares=np.zeros(1, np.int64), steps=np.zeros(1, np.int64))
    worth = worth_alone(made.history([still]).sums(), made.baseline())
    assert (worth.lag1.item(), worth.effective.item()) == (0.0, 60.0)


def test_one_row_that_follows_another_makes_a_stream():
    values = np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32)
    values[::2] = np.nan
    values[0, 1] = 0.0
    reference = build_reference(values, ["none", "one"], discrete=(), ordered=True)
    assert baseline_of(reference).is_stream.tolist() == [False, True]


def test_shares_and_variance_of_classes_are_theirs():
    classes = (np.arange(300) % 3).astype(np.float32)[:, np.newaxis]
    baseline = baseline_of(build_reference(classes, ["class"], discrete={"class"}))
    assert baseline.shares.sum() == pytest.approx(1.0)
    assert sorted(baseline.shares[baseline.shares > 0].tolist()) == pytest.approx([1 / 3] * 3)
    assert baseline.variance.item() == pytest.approx(2 / 3)
