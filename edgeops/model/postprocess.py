"""From output tensors to an answer.

Classification: the index of the highest probability (the lowest index of equals), that probability, and its distance
to the second. Regression and anomaly: the value or score, with confidence 1 and margin 0, for such a model does not
say how sure it is. Where a number's transform was learnt, the answer is the inverse of what the tensor holds, so the
256 steps of an int8 answer are relative ones; bounds keep such an inverse from running away. A score above the
manifest's threshold is an alarm, here and nowhere else, so that devices and server say the same.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Manifest, Task, Tensor, Transform
from edgeops.errors import ArtifactError, InputError

Floats = NDArray[np.float32]

_INTEGERS = ("int8", "uint8")
#: Beyond it the inverse of a logarithm is no float32.
_MOST_LOG1P = math.log1p(float(np.finfo(np.float32).max))


class Prediction(msgspec.Struct, frozen=True, eq=False):
    """One answer; a msgspec struct because one is made per inference and costs a tenth of a frozen dataclass."""

    #: Class index, value or score, by task.
    answer: float
    #: Highest probability; 1 where the task has none.
    confidence: float
    #: Highest minus second highest probability; 0 where the task has none.
    margin: float
    #: Per label, float32; None unless the task is classification.
    probabilities: Floats | None
    #: One value per channel, in the manifest's order; NaN = missing.
    channels: Floats
    embedding: Floats | None
    #: Whether a score is an alarm; None = it is no score, or has no threshold.
    alarm: bool | None = None


class Answer(msgspec.Struct, frozen=True, eq=False):
    """What the answer tensor alone says."""

    answer: float
    confidence: float
    margin: float
    probabilities: Floats | None
    alarm: bool | None = None


def is_alarm(score: float, threshold: float | None) -> bool | None:
    """Whether a score lies above the threshold; None = there is none to lie above."""
    return None if threshold is None else score > threshold


def dequantizer(tensor: Tensor) -> Callable[[NDArray[Any]], Floats]:
    """A function from a stored tensor to real values, flat float32; 8-bit types go through a table of all 256.

    Raises:
        ArtifactError: the type is not supported, or has no scale.
    """
    if tensor.dtype == "float32":
        return lambda stored: stored.reshape(-1)
    if tensor.dtype not in _INTEGERS:
        raise ArtifactError(f"output {tensor.name!r} is {tensor.dtype}; float32, int8 and uint8 are supported")
    if tensor.scale <= 0:
        raise ArtifactError(f"output {tensor.name!r} is {tensor.dtype} but has scale {tensor.scale}")
    codes = np.arange(256, dtype=np.uint8).view(tensor.dtype).astype(np.float64)
    table = ((codes - tensor.zero_point) * tensor.scale).astype(np.float32)
    # A signed code below zero counts from the table's end, which is where it stands.
    return lambda stored: table.take(stored).reshape(-1)


def answerer(manifest: Manifest) -> Callable[[Floats], Answer]:
    """A function from the real values of the answer tensor to the answer.

    Raises:
        ArtifactError: the tensor's size does not fit the task.
    """
    size = int(np.prod(manifest.outputs[manifest.output.answer].shape))
    expected = len(manifest.output.labels) if manifest.task is Task.CLASSIFICATION else 1
    if size != expected:
        raise ArtifactError(f"the answer of a {manifest.task} model has {size} values, expected {expected}")
    if manifest.task is Task.CLASSIFICATION:
        return _most_probable
    if manifest.task is Task.ANOMALY:
        return _scored(manifest.output.threshold)
    value = _value_of_log if manifest.output.transform is Transform.SIGNED_LOG1P else _value
    bounds = manifest.output.bounds
    return value if bounds is None else _bounded(value, *bounds)


def _most_probable(probabilities: Floats) -> Answer:
    values: list[float] = probabilities.tolist()  # for up to 256 classes lists are faster than arrays
    _number(sum(values))
    highest = max(values)
    index = values.index(highest)
    values[index] = -math.inf
    return Answer(float(index), highest, highest - max(values), probabilities)


def _value(values: Floats) -> Answer:
    return Answer(_number(values.item(0)), 1.0, 0.0, None)


def _scored(threshold: float | None) -> Callable[[Floats], Answer]:
    def scored(values: Floats) -> Answer:
        score = _number(values.item(0))
        return Answer(score, 1.0, 0.0, None, is_alarm(score, threshold))

    return scored


def _value_of_log(values: Floats) -> Answer:
    """The inverse of sign(x) * log(1 + |x|); rounding to float32 hides how machines' libraries differ."""
    stored = _number(values.item(0))
    size = math.expm1(abs(stored)) if abs(stored) <= _MOST_LOG1P else math.inf
    return Answer(float(np.float32(_number(math.copysign(size, stored)))), 1.0, 0.0, None)


def _bounded(value: Callable[[Floats], Answer], low: float, high: float) -> Callable[[Floats], Answer]:
    def bounded(values: Floats) -> Answer:
        answer = value(values)
        return answer if low <= answer.answer <= high else Answer(min(max(answer.answer, low), high), 1.0, 0.0, None)

    return bounded


def _number(value: float) -> float:
    """NaN and infinities are no answer."""
    if not math.isfinite(value):
        raise InputError(f"the model answered {value}: the reading is outside anything it can compute with")
    return value
