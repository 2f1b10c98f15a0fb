"""A table is resampled to what its rows give one by one, whatever their times are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.artifact.manifest import InputWindow, Resampling
from edgeops.model.resampling import Resampler, resample

few = settings(deadline=None, max_examples=150)
MS = 10**6
#: A reading, its group and its step in time; the step of the grid is 10 ms, the longest gap 35 ms.
rows = st.lists(
    st.tuples(
        st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6, width=32)),
        st.integers(0, 2),
        st.sampled_from([0, 1, 3 * MS, 7 * MS, 10 * MS, 10 * MS + 1, 23 * MS, 35 * MS, 36 * MS, -20 * MS]),
    ),
    max_size=60,
)


def window(method):
    return InputWindow(columns=("a", "b"), rows=2, rate_hz=100.0, max_gap_s=0.035, resampling=method)


@few
@given(rows, st.sampled_from(list(Resampling)))
@pytest.mark.filterwarnings("error")
def test_a_table_is_resampled_to_what_its_rows_give_one_by_one_bit_for_bit(found, method):
    values = np.array([(value, place) for place, (value, _, _) in enumerate(found)], np.float32).reshape(-1, 2)
    groups = np.array([group for _, group, _ in found], np.int64)
    times = np.cumsum([step for _, _, step in found]).astype(np.int64)
    resamplers = [Resampler(window(method)) for _ in range(3)]
    given_by: list[list[np.ndarray]] = [[], [], []]
    for row, group, at_ns in zip(values, groups.tolist(), times.tolist(), strict=True):
        given_by[group] += resamplers[group].push(row, at_ns)
    whole = resample(window(method), values, times, groups=groups)
    one_by_one = np.concatenate([np.array(part, np.float32).reshape(-1, 2) for part in given_by])
    assert whole.values.dtype == np.float32
    assert whole.values.tobytes() == one_by_one.tobytes()
    assert len(whole.times) == len(whole.sources) == len(whole.values)
    end = whole.times + (10 * MS if method is Resampling.MEAN else 0)
    assert (times[whole.sources] <= end).all()
