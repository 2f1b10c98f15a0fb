"""Preprocessing and windowing hold for any reading a sensor can send."""

from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgeops.artifact.manifest import InputWindow, MissingPolicy, Preprocess, Spectrogram, Tensor, Transform
from edgeops.data.cells import NO_MOMENT
from edgeops.model.preprocess import Preprocessor
from edgeops.model.windowing import WindowBuffer, window_places

WINDOW = InputWindow(columns=("a", "b", "c"))
FLOAT = Tensor(name="in", shape=(1, 3), dtype="float32")
INT8 = Tensor(name="in", shape=(1, 3), dtype="int8", scale=1 / 16, zero_point=5)

readings = npst.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(1), st.just(3)), elements=st.floats(width=32))
recipes = st.builds(
    Preprocess,
    transform=st.sampled_from(list(Transform)),
    multiply=st.tuples(*[st.floats(-1e3, 1e3)] * 3),
    add=st.tuples(*[st.floats(-1e3, 1e3)] * 3),
    clip=st.one_of(st.none(), st.floats(0.5, 10)),
)
few = settings(deadline=None, max_examples=100)


@few
@given(readings, recipes, st.sampled_from([FLOAT, INT8]))
def test_the_batch_form_equals_the_incremental_one_for_any_reading(windows, recipe, tensor):
    one = Preprocessor(recipe, WINDOW, tensor, missing=MissingPolicy.NEUTRAL)
    assert one.batch(windows).tobytes() == b"".join(one(window).tobytes() for window in windows)


sounds = npst.arrays(np.float32, st.tuples(st.integers(1, 3), st.just(40), st.just(2)), elements=st.floats(width=32))
heard = st.builds(
    Preprocess,
    multiply=st.tuples(st.floats(-1e3, 1e3)),
    add=st.tuples(st.floats(-1e3, 1e3)),
    spectrogram=st.builds(
        Spectrogram,
        frame=st.just(16),
        hop=st.integers(1, 30),
        bands=st.integers(1, 3),
        low_hz=st.just(0.0),
        high_hz=st.just(50.0),
        floor=st.floats(1e-30, 1e30),
        levelled=st.booleans(),
    ),
)


@settings(few, max_examples=50)
@given(sounds, heard, st.sampled_from([FLOAT, INT8]))
def test_a_spectrogram_is_the_same_alone_and_in_a_batch_and_always_finite(windows, recipe, tensor):
    window = InputWindow(columns=("left", "right"), rows=40, rate_hz=100.0)
    shape = (1, 1 + (40 - 16) // recipe.spectrogram.hop, recipe.spectrogram.bands, 2)
    read = Preprocessor(recipe, window, msgspec.structs.replace(tensor, shape=shape), missing=MissingPolicy.NEUTRAL)
    found = read.batch(windows)
    assert np.isfinite(found).all()
    assert found.tobytes() == b"".join(read(one).tobytes() for one in windows)


@few
@given(readings, recipes)
def test_a_float_model_never_reads_what_is_not_finite_or_not_clipped(windows, recipe):
    read = Preprocessor(recipe, WINDOW, FLOAT, missing=MissingPolicy.NEUTRAL).batch(windows)
    assert np.isfinite(read).all()
    if recipe.clip is not None:
        assert (np.abs(read) <= np.float32(recipe.clip)).all()


@few
# Above about 1e34 a reading in steps is no float32 any more, and missing: earlier than for a float model.
@given(readings.filter(lambda windows: not (np.abs(windows) > 1e34).any()), recipes)
def test_an_integer_model_reads_what_the_float_model_reads_within_one_step(windows, recipe):
    real = Preprocessor(recipe, WINDOW, FLOAT, missing=MissingPolicy.NEUTRAL).batch(windows).astype(np.float64)
    stored = Preprocessor(recipe, WINDOW, INT8, missing=MissingPolicy.NEUTRAL).batch(windows).astype(np.float64)
    # float32 itself is coarser than a step where |x * multiply| and |add| nearly cancel out.
    expected = np.clip(real / INT8.scale + INT8.zero_point, -128, 127)
    assert (np.abs(stored - expected) <= 1.0).all()


@few
@given(
    st.integers(0, 30),
    st.integers(1, 5),
    st.integers(1, 7),
    st.lists(st.sampled_from([0.5, 5.0, -1.0]), min_size=30, max_size=30),
)
def test_windows_are_those_that_slide_over_each_stretch_without_a_gap(count, length, stride, steps):
    window = InputWindow(columns=("a",), rows=length, stride=stride, max_gap_s=1.0)
    table = np.arange(count, dtype=np.float32)[:, np.newaxis]
    times = np.cumsum(steps)[:count].tolist()
    buffer = WindowBuffer(window)
    pushed = [buffer.push(row, round(at_s * 1e9)) for row, at_s in zip(table, times, strict=True)]
    breaks = [i for i in range(1, count) if not 0 <= times[i] - times[i - 1] <= 1.0]
    slid = [
        table[at : at + length].tolist()
        for start, end in pairwise([0, *breaks, count])
        for at in range(start, end - length + 1, stride)
    ]
    assert [found.tolist() for found in pushed if found is not None] == slid


pushes = st.lists(
    st.tuples(st.integers(-1, 2), st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 1.25, -0.25]))), max_size=40
)


@few
@given(pushes, st.integers(1, 5), st.integers(1, 7), st.sampled_from([None, 0.0, 1.0]))
def test_windows_of_whole_tables_are_those_that_buffers_give_row_by_row(rows, length, stride, gap):
    """A row is its group and its step in time; None = the time is unknown."""
    window = InputWindow(columns=("a",), rows=length, stride=stride, max_gap_s=gap)
    groups = np.array([group for group, _ in rows], np.int64)
    steps = np.array([np.nan if step is None else step for _, step in rows])
    times = np.where(np.isnan(steps), NO_MOMENT, (np.nancumsum(steps) * 1e9).astype(np.int64))
    buffers = {group: WindowBuffer(window) for group in range(-1, 3)}
    pushed = [
        buffers[group].push(np.array([place], np.float32), None if at_ns == NO_MOMENT else at_ns)
        for place, (group, at_ns) in enumerate(zip(groups.tolist(), times.tolist(), strict=True))
    ]
    expected = [found[:, 0].tolist() for found in pushed if found is not None]
    places = window_places(window, len(rows), times=times, groups=groups)
    assert places.shape == (len(expected), length)
    assert places.tolist() == expected
