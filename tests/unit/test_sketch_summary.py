"""What people are told of a sketch, and the autocorrelation that it is weighed by."""

import numpy as np
import pytest

from edgeops.sketch.learnt import build_reference
from edgeops.sketch.summary import autocorrelation, summarize
from edgeops.sketch.window import Sketcher

#: Grid 0, 1, 2 ...
CLASSES = build_reference(np.arange(4, dtype=np.float32)[:, np.newaxis], ["class"], discrete={"class"})


def sketch_of(*values):
    sketcher = Sketcher(CLASSES)
    sketcher.add(np.array(values, np.float32)[:, np.newaxis])
    return sketcher.sketch()


NONE = float("nan")


@pytest.mark.parametrize(
    ("values", "lag"),
    [
        ((0, 2, 4, 6), 1 - 4 / (2 * 5)),
        ((0, 1), -1.0),
        ((0, 8), -1.0),
        ((0, 1, 0), -1.0),
        ((0, 0, 1, 1), 1 - (1 / 3) / (2 * 0.25)),
        ((5, 5, 5), 0.0),
        ((0, NONE, 1), 0.0),
        ((NONE, NONE), 0.0),
        ((), 0.0),
    ],
)
def test_autocorrelation_is_one_less_half_the_mean_step_in_variances_and_at_least_minus_one(values, lag):
    assert autocorrelation(sketch_of(*values)).tolist() == [pytest.approx(lag)]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((3, 1), (2, 0, 2.0, 1.0, 1.0, 3.0, -1.0)),
        ((3, NONE, 1), (2, 1, 2.0, 1.0, 1.0, 3.0, None)),
        ((NONE, 2), (1, 1, 2.0, 0.0, 2.0, 2.0, None)),
        ((NONE,), (0, 1, None, None, None, None, None)),
        ((), (0, 0, None, None, None, None, None)),
    ],
)
def test_what_no_values_show_is_not_told(values, told):
    (one,) = summarize(sketch_of(*values), CLASSES)
    assert one.name == "class"
    assert (one.count, one.missing, one.mean, one.std, one.min, one.max, one.lag1) == told
    assert sum(one.histogram) == one.count
