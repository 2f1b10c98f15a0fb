"""From output tensors to an answer."""

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import Output, Task, Tensor
from edgeops.errors import ArtifactError, InputError
from edgeops.model.postprocess import answerer, dequantizer
from tests.golden.tiny import tiny_manifest


def floats(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 128), ("uint8", 0, 256)])
def test_every_code_of_an_8_bit_tensor_becomes_its_real_value(dtype, low, high):
    real = dequantizer(Tensor(name="out", shape=(1, 256), dtype=dtype, scale=0.25, zero_point=-3))
    codes = np.arange(low, high).astype(dtype)[np.newaxis]
    assert real(codes).tolist() == [0.25 * (code + 3) for code in range(low, high)]


def test_float_tensors_are_flattened_only():
    real = dequantizer(Tensor(name="out", shape=(1, 2, 2), dtype="float32"))
    assert real(np.arange(4, dtype=np.float32).reshape(1, 2, 2)).tolist() == [0, 1, 2, 3]


def test_the_highest_probability_is_the_answer():
    answer = answerer(tiny_manifest())(floats(0.25, 0.5, 0.125))
    assert (answer.answer, answer.confidence, answer.margin) == (1.0, 0.5, 0.25)
    assert answer.probabilities.tolist() == [0.25, 0.5, 0.125]


def test_of_equals_the_first_is_the_answer_and_the_margin_is_zero():
    answer = answerer(tiny_manifest())(floats(0.25, 0.375, 0.375))
    assert (answer.answer, answer.margin) == (1.0, 0.0)


def test_a_regression_answers_its_value():
    manifest = msgspec.structs.replace(
        tiny_manifest(),
        task=Task.REGRESSION,
        output=Output(units="kWh"),
        outputs=(Tensor(name="out", shape=(1, 1), dtype="float32"),),
    )
    answer = answerer(manifest)(floats(21.5))
    assert (answer.answer, answer.confidence, answer.margin, answer.probabilities) == (21.5, 1.0, 0.0, None)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_is_no_answer(broken):
    with pytest.raises(InputError, match="the model answered"):
        answerer(tiny_manifest())(floats(0.5, broken, 0.1))


def test_an_answer_of_the_wrong_size_is_refused():
    manifest = msgspec.structs.replace(tiny_manifest(), output=Output(labels=("a", "b")))
    with pytest.raises(ArtifactError, match="has 3 values, expected 2"):
        answerer(manifest)


@pytest.mark.parametrize(("dtype", "message"), [("int32", "int32"), ("int8", "scale 0")])
def test_an_output_that_cannot_be_read_is_refused(dtype, message):
    with pytest.raises(ArtifactError, match=message):
        dequantizer(Tensor(name="out", shape=(1, 3), dtype=dtype))
