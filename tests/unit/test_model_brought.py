"""How a brought model fits rows: shapes, outputs, types and scores, each with an answer that says what to do."""

import numpy as np
import pytest

from edgeops.artifact.manifest import Tensor, Variant
from edgeops.errors import ArtifactError, ConfigError
from edgeops.model.brought import (
    Instructions,
    Scores,
    answer_place,
    check_embedding,
    check_instructions,
    check_types,
    concrete_shape,
    input_window,
    scores_of,
    variant_of,
)

TABLE = ("a", "b", "c", "d")
PIXELS = tuple(f"p{place}" for place in range(48))
NOTHING = Instructions()


def tensor(dtype: str, *, scale: float = 0.0) -> Tensor:
    return Tensor(name="x", shape=(1, 4), dtype=dtype, scale=scale)


def window_of(shape, said=NOTHING, *, columns=TABLE, item=(4,)):
    found = input_window(shape, columns, item, said)
    return found.rows, found.stride


@pytest.mark.parametrize("shape", [(1, 4), (4,), (1, 4, 1), (1, 1, 4)])
def test_a_row_is_read_whatever_extents_of_one_stand_around_it(shape):
    assert window_of(shape) == (1, 1)


def test_a_window_is_found_in_the_shape_and_overlaps_by_half():
    assert window_of((1, 64, 4)) == (64, 32)
    assert window_of((1, 64, 4), Instructions(stride=5)) == (64, 5)
    assert window_of((1, 64, 1), columns=("a",), item=(1,)) == (64, 32)


def test_a_flat_window_is_taken_only_where_a_person_says_its_length():
    with pytest.raises(ArtifactError, match=r"if these are windows of 64 rows, say so"):
        window_of((1, 256))
    assert window_of((1, 256), Instructions(window=64)) == (64, 32)
    assert window_of((64, 4), Instructions(window=64)) == (64, 32)


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (1, 48)])
def test_an_image_is_read_as_it_is_or_flat(shape):
    assert window_of(shape, columns=PIXELS, item=(4, 4, 3)) == (1, 1)


@pytest.mark.parametrize(
    ("shape", "said", "advice"),
    [
        ((1, 5), NOTHING, r"shape \(1, 5\), the snapshot has rows of 4 columns: .* choose the columns"),
        ((32, 4), NOTHING, "32 inputs at once; convert it with a batch of 1"),
        ((1, 4, 64), NOTHING, "axes are in another order; turn them within the model"),
        ((1, 64, 4), Instructions(window=32), "the snapshot has windows of 32 rows of 4 columns"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_with_advice(shape, said, advice):
    with pytest.raises(ArtifactError, match=advice):
        window_of(shape, said)


def test_channels_that_come_first_are_refused():
    with pytest.raises(ArtifactError, match=r"images of 4 x 4 x 3: its axes are in another order"):
        window_of((1, 3, 4, 4), columns=PIXELS, item=(4, 4, 3))


def test_images_are_no_windows():
    with pytest.raises(ConfigError, match="a window of 8 rows was said"):
        window_of((1, 48), Instructions(window=8), columns=PIXELS, item=(4, 4, 3))


@pytest.mark.parametrize(
    ("shape", "item", "said", "concrete"),
    [
        ((None, 4), (4,), NOTHING, (1, 4)),
        ((None, None, 4), (4,), Instructions(window=16), (1, 16, 4)),
        ((None, None, None, 3), (4, 4, 3), NOTHING, (1, 4, 4, 3)),
        ((None, None, None, 1), (6, 8), NOTHING, (1, 6, 8, 1)),
        ((8, 4), (4,), NOTHING, (8, 4)),
    ],
)
def test_what_a_network_leaves_open_is_as_the_snapshot_has_it(shape, item, said, concrete):
    columns = TABLE if len(item) == 1 else PIXELS
    assert concrete_shape(shape, columns, item, said) == concrete


def test_a_window_that_nothing_tells_the_length_of_is_refused():
    with pytest.raises(ArtifactError, match=r"open shape \(any, any, 4\); say how many rows a window has"):
        concrete_shape((None, None, 4), TABLE, (4,), NOTHING)


def test_the_answer_is_the_output_of_its_size():
    assert answer_place([(1, 8), (1, 3)], {3}, None, what="one value for each of 3 labels") == 1
    assert answer_place([(1, 3), (1, 3)], {3}, 1, what="one value for each of 3 labels") == 1


@pytest.mark.parametrize(
    ("shapes", "said", "words"),
    [
        ([(1, 8)], None, r"which is three; the outputs are 0: \(1, 8\). Do the labels belong"),
        ([(1, 3), (1, 3)], None, r"several outputs could be the answer, three: .*; say which one"),
        ([(1, 3)], 4, "there is no output 4"),
        ([(1, 3), (1, 8)], 1, "output 1 has 8 values, the answer is three"),
    ],
)
def test_an_answer_that_is_not_found_is_told_with_all_outputs(shapes, said, words):
    with pytest.raises(ArtifactError, match=words):
        answer_place(shapes, {3}, said, what="three")


def test_an_embedding_is_an_output_of_its_own():
    check_embedding([(1, 3), (1, 8)], 1, answer=0)
    check_embedding([(1, 3)], None, answer=0)
    for place in (0, 2):
        with pytest.raises(ArtifactError, match=f"output {place}"):
            check_embedding([(1, 3), (1, 8)], place, answer=0)


@pytest.mark.parametrize(
    ("dtype", "words"), [("int16", "is int16; float32, int8, uint8 are supported"), ("uint8", "without a scale")]
)
def test_tensors_that_no_device_can_fill_or_read_are_refused(dtype, words):
    check_types(tensor("uint8", scale=0.1), tensor("float32"))
    for ends in ((tensor(dtype), tensor("float32")), (tensor("float32"), tensor(dtype))):
        with pytest.raises(ArtifactError, match=words):
            check_types(*ends)


@pytest.mark.parametrize(
    ("ends", "types", "variant"),
    [
        ("int8", {"int8", "int32"}, Variant.INT8),
        ("uint8", {"uint8", "int32"}, Variant.INT8),
        ("float32", {"float32", "int8"}, Variant.DYNAMIC),
        ("float32", {"float32", "float16"}, Variant.FLOAT16),
        ("float32", {"float32", "int32"}, Variant.FLOAT32),
    ],
)
def test_a_finished_file_is_one_variant_by_its_tensors(ends, types, variant):
    assert variant_of(tensor(ends), tensor(ends), types) is variant


def test_a_file_that_is_quantized_at_one_end_is_refused():
    with pytest.raises(ArtifactError, match="the input is float32 and the answer int8"):
        variant_of(tensor("float32"), tensor("int8"), {"int8"})


@pytest.mark.parametrize(
    ("answers", "step", "scores"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], 0.0, Scores.PROBABILITIES),
        ([[0.99, 0.02]], 1 / 256, Scores.PROBABILITIES),
        ([[3.0, -2.0]], 0.0, Scores.LOGITS),
        ([[0.9, 0.8]], 0.0, Scores.SEVERAL),
    ],
)
def test_scores_are_told_by_their_range_and_sum(answers, step, scores):
    assert scores_of(np.array(answers, np.float32), step=step) is scores


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Instructions(standardize=True, multiply=(2.0,)), "leave one of the two out"),
        (Instructions(add=(1.0, 2.0)), "add has 2 numbers for 4 columns; give 1 or 4"),
        (Instructions(multiply=(float("nan"),)), "multiply has a number that is not finite"),
        (Instructions(labels=("a", "b", "a")), "the label 'a' is given twice"),
    ],
)
def test_instructions_that_contradict_are_refused(said, words):
    with pytest.raises(ConfigError, match=words):
        check_instructions(said, 4)


def test_the_outputs_of_a_detector_or_regression_are_one_number():
    assert answer_place([(1, 8), (1, 1)], {1}, None, what="one score") == 1
