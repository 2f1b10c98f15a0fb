"""From raw readings to the input tensor."""

import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow, MissingPolicy, Preprocess, Tensor, Transform
from edgeops.errors import ArtifactError, InputError
from edgeops.model.preprocess import Preprocessor, transform_rows

COLUMNS = ("a", "b", "c")
WINDOW = InputWindow(columns=COLUMNS)
FLOAT = Tensor(name="in", shape=(1, 3), dtype="float32")
INT8 = Tensor(name="in", shape=(1, 3), dtype="int8", scale=0.05, zero_point=-3)
STANDARDIZE = Preprocess(multiply=(0.5, 2.0, 0.1), add=(1.0, -1.0, 0.0), clip=4.0)


def stage(preprocess, tensor, *, missing=MissingPolicy.NEUTRAL, window=WINDOW):
    return Preprocessor(preprocess, window, tensor, missing=missing)


def readings(*values):
    return np.array([values], np.float32)


def test_a_float_model_reads_the_clipped_multiply_add():
    assert stage(STANDARDIZE, FLOAT)(readings(2, 1, 500)).tolist() == [[2.0, 1.0, 4.0]]


def test_quantization_is_folded_into_the_multiply_add():
    rng = np.random.default_rng(1)
    quantized, real = stage(STANDARDIZE, INT8), stage(STANDARDIZE, FLOAT)
    for values in rng.normal(scale=3, size=(200, 1, 3)).astype(np.float32):
        expected = np.clip(np.rint(real(values) / INT8.scale + INT8.zero_point), -128, 127)
        difference = np.abs(quantized(values).astype(int) - expected)
        assert difference.max() <= 1  # one step where both roundings meet


def test_integers_saturate_at_the_bounds_of_clip_and_type():
    assert stage(STANDARDIZE, INT8)(readings(1e9, -1e9, 0)).tolist() == [[77, -83, -3]]
    unclipped = stage(Preprocess(), INT8)
    assert unclipped(readings(1e9, -1e9, 0)).tolist() == [[127, -128, -3]]


def test_unsigned_tensors_are_supported():
    tensor = Tensor(name="in", shape=(1, 3), dtype="uint8", scale=1 / 16, zero_point=0)
    assert stage(Preprocess(), tensor)(readings(0, 1, 99)).tolist() == [[0, 16, 255]]


def test_one_multiply_serves_all_columns():
    assert stage(Preprocess(multiply=(1 / 16,)), FLOAT)(readings(16, 8, 0)).tolist() == [[1.0, 0.5, 0.0]]


def test_heavy_tails_are_tamed_with_their_sign():
    preprocess = Preprocess(transform=Transform.SIGNED_LOG1P)
    got = stage(preprocess, FLOAT)(readings(-1e6, 0, 1e6))
    assert got.tolist() == [[np.float32(-np.log1p(1e6)), 0.0, np.float32(np.log1p(1e6))]]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 3.4e38])
@pytest.mark.parametrize("tensor", [FLOAT, INT8])
def test_a_missing_value_is_neutral_after_preprocessing(broken, tensor):
    got = stage(STANDARDIZE, tensor)(readings(broken, 1, 0))
    assert got[0, 0] == tensor.zero_point
    assert got[0, 1] == stage(STANDARDIZE, tensor)(readings(0, 1, 0))[0, 1]


def test_a_model_that_refuses_missing_values_names_the_columns():
    with pytest.raises(InputError, match="2 missing values in a, c; the model refuses"):
        stage(STANDARDIZE, FLOAT, missing=MissingPolicy.REFUSE)(readings(np.nan, 1, np.nan))


def test_a_missing_value_leaves_nothing_behind():
    one = stage(STANDARDIZE, INT8)
    before = one(readings(1, 2, 3)).tolist()
    one(readings(np.nan, np.nan, np.nan))
    assert one(readings(1, 2, 3)).tolist() == before


@pytest.mark.parametrize("tensor", [FLOAT, INT8])
@pytest.mark.parametrize("transform", list(Transform))
def test_the_batch_form_equals_the_incremental_one_bit_for_bit(tensor, transform):
    rng = np.random.default_rng(2)
    windows = (rng.normal(size=(300, 1, 3)) * rng.choice([1, 100, 1e6], size=(300, 1, 3))).astype(np.float32)
    windows[::7, 0, 1] = np.nan
    preprocess = Preprocess(transform=transform, multiply=(0.5, 2.0, 0.1), add=(1.0, -1.0, 0.0), clip=4.0)
    one = stage(preprocess, tensor)
    batch = one.batch(windows)
    assert batch.dtype == tensor.dtype
    assert batch.tobytes() == b"".join(one(window).tobytes() for window in windows)


def test_training_reads_what_a_float_model_reads():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(50, 3)).astype(np.float32)
    one = stage(STANDARDIZE, FLOAT)
    expected = np.concatenate([one(row[np.newaxis]).copy() for row in rows])
    assert transform_rows(rows, STANDARDIZE, missing=MissingPolicy.NEUTRAL).tobytes() == expected.tobytes()


def test_windows_and_images_keep_their_order():
    window = InputWindow(columns=("a", "b"), rows=3)
    tensor = Tensor(name="in", shape=(1, 3, 2, 1), dtype="float32")
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    got = stage(Preprocess(multiply=(1.0, 10.0), add=(0.0, 1.0)), tensor, window=window)(values)
    assert got.shape == (1, 3, 2, 1)
    assert got.ravel().tolist() == [0, 11, 2, 31, 4, 51]


def test_a_window_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"the model reads \(1, 3\)"):
        stage(STANDARDIZE, FLOAT)(np.zeros((1, 4), np.float32))
    with pytest.raises(InputError, match=r"the model reads \(1, 3\)"):
        stage(STANDARDIZE, FLOAT).batch(np.zeros((2, 1, 4), np.float32))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor(name="in", shape=(1, 4), dtype="float32"), "the input window"),
        (Tensor(name="in", shape=(1, 3), dtype="int16", scale=1.0), "int16"),
        (Tensor(name="in", shape=(1, 3), dtype="int8"), "scale 0"),
    ],
)
def test_a_tensor_that_cannot_hold_the_window_is_refused(tensor, message):
    with pytest.raises(ArtifactError, match=message):
        stage(STANDARDIZE, tensor)
