"""How a model that a person brings fits the rows of a snapshot: which rows go in, which output is the answer.

Nothing is guessed that a file cannot tell: where a shape or an output may mean two things, a person must say which.
What the model is worth is judged elsewhere, on the snapshot's rows.
"""

import math
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import InputWindow, Tensor, Variant
from edgeops.errors import ArtifactError, ConfigError

_INTEGERS = ("int8", "uint8")
_TYPES = ("float32", *_INTEGERS)
#: What rounding may do to the sum of probabilities, beside half a step of each.
_SUM_TOLERANCE = 0.01

Place = Annotated[int, msgspec.Meta(ge=0, le=1000)]
RowCount = Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_WINDOW_ROWS)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Numbers = Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of the model; what is None is found, or left as it is."""

    #: Classes in the order of the model's outputs; empty = those of the snapshot, in its order.
    labels: tuple[Label, ...] = ()
    #: What readings are multiplied with and what is added then: one for all columns, or one for each.
    multiply: Numbers | None = None
    add: Numbers | None = None
    #: Mean 0 and deviation 1, by the snapshot's training rows.
    standardize: bool = False
    #: Rows that one answer sees, and rows from one answer to the next.
    window: RowCount | None = None
    stride: RowCount | None = None
    #: Places among the outputs.
    answer: Place | None = None
    embedding: Place | None = None
    #: A score above it is an alarm.
    threshold: float | None = None


class Scores(StrEnum):
    """What the numbers of a classifier's answer are."""

    #: Between 0 and 1, one in sum.
    PROBABILITIES = "probabilities"
    #: Any numbers, the highest for the likeliest class.
    LOGITS = "logits"
    #: Each between 0 and 1, and not one in sum: classes that do not exclude each other.
    SEVERAL = "several"


def check_instructions(said: Instructions, columns: int) -> None:
    """Refuse what contradicts itself, or does not fit the number of columns.

    Raises:
        ConfigError: names what does.
    """
    if said.standardize and (said.multiply is not None or said.add is not None):
        raise ConfigError("standardize computes what to multiply with and to add; leave one of the two out")
    for name, numbers in (("multiply", said.multiply), ("add", said.add)):
        if numbers is not None and len(numbers) not in (1, columns):
            raise ConfigError(f"{name} has {len(numbers)} numbers for {columns} columns; give 1 or {columns}")
        if not all(math.isfinite(number) for number in numbers or ()):
            raise ConfigError(f"{name} has a number that is not finite")
    if len(set(said.labels)) != len(said.labels):
        twice = next(label for label in said.labels if said.labels.count(label) > 1)
        raise ConfigError(f"the label {twice!r} is given twice; each output has a class of its own")


def concrete_shape(
    shape: Sequence[int | None], columns: Sequence[str], item: Sequence[int], said: Instructions
) -> tuple[int, ...]:
    """A network's input shape with a batch of one, other open extents as the snapshot has them.

    Args:
        shape: as the network says; None = any.
        columns: of the snapshot.
        item: shape of one row: (columns,), or (height, width[, channels]) of an image.
        said: the window, where rows are open.

    Raises:
        ArtifactError: an extent is open that nothing tells.
    """
    if not shape:
        raise ArtifactError("the input is a single number without a batch; a model reads rows")
    natural = tuple(item) if len(item) > 1 else (said.window, len(columns))
    inner = tuple(shape[1:])
    known = natural[-len(inner) :] if len(inner) <= len(natural) else (*natural, *(1,) * (len(inner) - len(natural)))
    settled = tuple(own if own is not None else other for own, other in zip(inner, known, strict=True))
    if any(extent is None for extent in settled):
        raise ArtifactError(
            f"the input has the open shape {_words(shape)}; say how many rows a window has, or fix the shape and bring "
            "the model again"
        )
    batch = 1 if shape[0] is None else shape[0]
    return (batch, *(extent for extent in settled if extent is not None))


def input_window(
    shape: Sequence[int], columns: tuple[str, ...], item: Sequence[int], said: Instructions
) -> InputWindow:
    """The rows that one inference sees, by the shape of the input tensor.

    Extents of 1 do not count: they move no value. A flat tensor takes several rows only where a person says how many.

    Raises:
        ArtifactError: the tensor holds something else than rows of these columns.
        ConfigError: the window that a person says is not the tensor's.
    """
    squeezed, width, values = _squeezed(shape), len(columns), math.prod(shape)
    if len(item) > 1:
        rows = 1
        fits = squeezed in (_squeezed(item), _squeezed((values,))) and values == width
    else:
        rows = max(values // width, 1) if said.window is None else said.window
        is_told = rows == 1 or said.window is not None
        # A first extent of many is a batch, unless a person says that these are rows.
        is_found = squeezed == _squeezed((rows, width)) and (is_told or shape[0] == 1)
        fits = values == rows * width and (is_found or (is_told and squeezed == _squeezed((values,))))
    if not fits:
        raise ArtifactError(_misfit(tuple(shape), columns, tuple(item), said))
    if said.window not in (None, rows):
        raise ConfigError(f"the model reads single rows of the snapshot, and a window of {said.window} rows was said")
    stride = said.stride or max(rows // 2, 1)
    return InputWindow(columns=columns, rows=rows, stride=stride)


def answer_place(shapes: Sequence[Sequence[int]], sizes: Collection[int], said: int | None, *, what: str) -> int:
    """Which output is the answer.

    Args:
        shapes: of all outputs, in order.
        sizes: how many values an answer may have.
        said: the place that a person says.
        what: an answer should be, in words.

    Raises:
        ArtifactError: none or several are of this size, or the one that was said is not.
    """
    told = ", ".join(f"{place}: {tuple(shape)}" for place, shape in enumerate(shapes))
    if said is not None:
        if said >= len(shapes):
            raise ArtifactError(f"there is no output {said}; the model has {told}")
        if math.prod(shapes[said]) not in sizes:
            raise ArtifactError(
                f"output {said} has {math.prod(shapes[said])} values, the answer is {what}; the outputs are {told}"
            )
        return said
    fitting = [place for place, shape in enumerate(shapes) if math.prod(shape) in sizes]
    if not fitting:
        raise ArtifactError(
            f"no output has as many values as the answer, which is {what}; the outputs are {told}. Do the labels "
            "belong to this model?"
        )
    if len(fitting) > 1:
        raise ArtifactError(f"several outputs could be the answer, {what}: {told}; say which one")
    return fitting[0]


def check_embedding(shapes: Sequence[Sequence[int]], embedding: int | None, *, answer: int) -> None:
    """Refuse an embedding that is no output of its own.

    Raises:
        ArtifactError: it is not there, or the answer.
    """
    if embedding is None:
        return
    if embedding >= len(shapes):
        raise ArtifactError(f"there is no output {embedding} to be the embedding; the model has {len(shapes)}")
    if embedding == answer:
        raise ArtifactError(f"output {embedding} is the answer and cannot be the embedding, too")


def check_types(reading: Tensor, *outputs: Tensor) -> None:
    """Refuse tensors that a device cannot fill or read.

    Args:
        reading: the input.
        outputs: those that are read.

    Raises:
        ArtifactError: names the tensor and its type.
    """
    for kind, tensor in (("input", reading), *(("output", one) for one in outputs)):
        if tensor.dtype not in _TYPES:
            raise ArtifactError(
                f"{kind} {tensor.name!r} is {tensor.dtype}; {', '.join(_TYPES)} are supported: convert the model again "
                "with one of these"
            )
        if tensor.dtype in _INTEGERS and tensor.scale <= 0:
            raise ArtifactError(
                f"{kind} {tensor.name!r} is {tensor.dtype} without a scale, so nothing says what its numbers mean; "
                "convert the model with a quantized input and output"
            )


def variant_of(reading: Tensor, answer: Tensor, types: Collection[str]) -> Variant:
    """What a finished file is, by its ends and the types of all tensors in it.

    Raises:
        ArtifactError: only one end is quantized.
    """
    ends = {reading.dtype in _INTEGERS, answer.dtype in _INTEGERS}
    if len(ends) > 1:
        raise ArtifactError(
            f"the input is {reading.dtype} and the answer {answer.dtype}; convert the model with both quantized or "
            "both float32"
        )
    if ends == {True}:
        return Variant.INT8
    if "int8" in types:
        return Variant.DYNAMIC
    return Variant.FLOAT16 if "float16" in types else Variant.FLOAT32


def scores_of(answers: NDArray[np.float32], *, step: float) -> Scores:
    """What the finite answers (n, classes) of a classifier are; `step` = of a quantized output, 0 of floats."""
    sums = answers.sum(axis=1, dtype=np.float64)
    tolerance = _SUM_TOLERANCE + step * answers.shape[1] / 2
    within = bool((answers >= -tolerance).all() and (answers <= 1 + tolerance).all())
    if within and bool((np.abs(sums - 1) <= tolerance).all()):
        return Scores.PROBABILITIES
    return Scores.SEVERAL if within else Scores.LOGITS


def _misfit(shape: tuple[int, ...], columns: tuple[str, ...], item: tuple[int, ...], said: Instructions) -> str:
    width, values = len(columns), math.prod(shape)
    if len(item) > 1:
        wanted = f"images of {' x '.join(map(str, item))}"
    elif said.window is None:
        wanted = f"rows of {width} columns"
    else:
        wanted = f"windows of {said.window} rows of {width} columns"
    expected = math.prod(item) if len(item) > 1 else (said.window or 1) * width
    advice = "bring a model that reads these, or choose the columns with features or exclude when importing"
    squeezed = _squeezed(shape)
    if values == expected * shape[0] and shape[0] > 1:
        advice = f"it reads {shape[0]} inputs at once; convert it with a batch of 1"
    elif len(squeezed) > 1 and squeezed[0] == item[-1]:
        advice = "its axes are in another order; turn them within the model, which then reads rows as they come"
    elif len(item) == 1 and said.window is None and values > width and values % width == 0:
        advice = f"if these are windows of {values // width} rows, say so"
    return f"the model's input has the shape {shape}, the snapshot has {wanted}: {advice}"


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def _words(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if extent is None else str(extent) for extent in shape)})"
