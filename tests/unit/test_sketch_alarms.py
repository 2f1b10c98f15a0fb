"""How many scores were alarms is known from a sketch, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.model.postprocess import is_alarm
from edgeops.sketch.alarms import alarms_in, cut_at, lowest_alarm
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.window import Sketcher

NAMES = ("a", "answer")


def profile(threshold):
    normal = np.random.default_rng(3).exponential(size=(500, 2)).astype(np.float32)
    borders = None if threshold is None else {"answer": lowest_alarm(threshold)}
    return build_reference(normal, NAMES, discrete=(), borders=borders)


@given(
    st.floats(min_value=1e-3, max_value=1e3),
    st.lists(st.floats(min_value=0, max_value=2e3, width=32), min_size=1, max_size=40),
)
def test_the_alarms_of_a_sketch_are_those_that_a_device_raised(threshold, scores):
    reference = profile(threshold)
    scores = np.array([*scores, threshold, lowest_alarm(threshold)], np.float32)
    sketcher = Sketcher(reference)
    sketcher.add(np.stack([np.zeros_like(scores), scores], axis=1))
    raised = sum(bool(is_alarm(float(one), threshold)) for one in scores)
    assert alarms_in(sketcher.sketch(), reference, 1, threshold) == raised


def test_a_reference_that_is_cut_elsewhere_knows_of_no_alarms():
    reference = profile(None)
    sketcher = Sketcher(reference)
    sketcher.add(np.ones((3, 2), np.float32))
    assert alarms_in(sketcher.sketch(), reference, 1, 7.0) is None


@pytest.mark.parametrize("border", [-5.0, 0.5, 15.25, 30.0, 99.0])
def test_one_edge_moves_and_all_still_ascend(border):
    edges = np.arange(31, dtype=np.float32)
    cut = cut_at(edges, np.float32(border))
    assert (np.diff(cut) >= 0).all()
    assert np.float32(border) in cut
    assert (cut != edges).sum() <= 1
