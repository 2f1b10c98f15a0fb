"""From output tensors to an answer."""

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import Output, Preprocess, Task, Tensor, Transform, decode_manifest, encode_value
from edgeops.errors import ArtifactError, InputError
from edgeops.model.postprocess import answerer, dequantizer
from edgeops.model.preprocess import transform_rows
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


def regression(transform=Transform.NONE):
    return msgspec.structs.replace(
        tiny_manifest(),
        task=Task.REGRESSION,
        output=Output(units="kWh", transform=transform),
        outputs=(Tensor(name="out", shape=(1, 1), dtype="float32"),),
    )


def test_a_regression_answers_its_value():
    answer = answerer(regression())(floats(21.5))
    assert (answer.answer, answer.confidence, answer.margin, answer.probabilities) == (21.5, 1.0, 0.0, None)


@pytest.mark.parametrize(("threshold", "alarms"), [(2.0, [False, False, True]), (None, [None, None, None])])
def test_a_score_above_the_threshold_is_an_alarm(threshold, alarms):
    manifest = msgspec.structs.replace(regression(), task=Task.ANOMALY, output=Output(threshold=threshold))
    answers = [answerer(manifest)(floats(score)) for score in (0.5, 2.0, 2.25)]
    assert [answer.answer for answer in answers] == [0.5, 2.0, 2.25]
    assert [answer.alarm for answer in answers] == alarms


def test_what_is_no_score_is_no_alarm():
    assert answerer(regression())(floats(1e9)).alarm is None
    assert answerer(tiny_manifest())(floats(0.5, 0.2, 0.1)).alarm is None


def test_a_number_whose_logarithm_was_learnt_is_answered_in_its_units():
    numbers = floats(0.0, 0.5, -3.0, 450.0, -1e6, 1e20)
    learnt = transform_rows(
        numbers[:, np.newaxis], Preprocess(transform=Transform.SIGNED_LOG1P), missing=tiny_manifest().missing
    )
    answer = answerer(regression(Transform.SIGNED_LOG1P))
    answers = [answer(row).answer for row in learnt]
    assert answers == pytest.approx(numbers.tolist(), rel=2e-6)
    assert all(one == float(np.float32(one)) for one in answers), "every machine rounds to the same float32"


def test_a_number_beyond_its_bounds_is_answered_with_the_nearer_one():
    manifest = regression(Transform.SIGNED_LOG1P)
    bounded = msgspec.structs.replace(manifest, output=msgspec.structs.replace(manifest.output, bounds=(0.0, 20.0)))
    answer = answerer(bounded)
    assert [answer(floats(learnt)).answer for learnt in (-1.0, 5.0)] == [0.0, 20.0]
    assert answer(floats(np.log1p(7))).answer == pytest.approx(7, rel=1e-6)
    with pytest.raises(InputError, match="the model answered"):
        answer(floats(np.nan))


def test_bounds_are_those_of_a_number_and_ascend():
    manifest = regression()
    for task, bounds in ((Task.REGRESSION, (2.0, 1.0)), (Task.CLASSIFICATION, (0.0, 1.0))):
        output = Output(labels=("a", "b", "c"), bounds=bounds)
        with pytest.raises(ArtifactError, match="lies within"):
            decode_manifest(encode_value(msgspec.structs.replace(manifest, task=task, output=output)))


@pytest.mark.parametrize("learnt", [89.0, -800.0])
def test_a_logarithm_of_no_float32_is_no_answer(learnt):
    with pytest.raises(InputError, match=r"the model answered -?inf"):
        answerer(regression(Transform.SIGNED_LOG1P))(floats(learnt))


def test_only_a_number_has_a_transform():
    manifest = tiny_manifest()
    output = msgspec.structs.replace(manifest.output, transform=Transform.SIGNED_LOG1P)
    with pytest.raises(ArtifactError, match="only that of a regression has one"):
        decode_manifest(encode_value(msgspec.structs.replace(manifest, output=output)))


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
