"""Small images: a stem, depthwise-separable convolutions down to 4 x 4, one dense layer."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, MissingPolicy, Preprocess
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes.first_weights import FirstWeights
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan, class_weights_of, number, refuse_unknown, target_of
from fleet_server.ml.recipes.rounding import rounded

_STEM, _FIRST, _REST, _EMBEDDING = 24, 48, 64, 32
_SMALLEST_SIDE = 4
#: Full scale of pixels: fractions, scikit-learn's digits, 8, 10, 12 and 16 bits.
_FULL_SCALES = (1.0, 16.0, 255.0, 1023.0, 4095.0, 65535.0)
OPTIONS = frozenset({"learning-rate", "batch"})


def plan(schema: Schema, rows: NDArray[np.float32], targets: NDArray[Any], options: Mapping[str, float | str]) -> Plan:
    """Decide shape and scale from the training rows (n, pixels) and what is to be learnt of each (n,).

    Options: `learning-rate`, `batch`, and of the task `class-weights` or `target-transform`.

    Raises:
        ConfigError: rows that are no images, or an option that is unknown or out of bounds.
        DatasetError: all numbers to learn are equal.
    """
    refuse_unknown(options, OPTIONS, recipe="cnn", schema=schema)
    if schema.clip:
        raise ConfigError("the rows of this dataset are recordings; use recipe spectrogram")
    lowest, highest = float(np.nanmin(rows)), float(np.nanmax(rows))
    low = min(lowest, 0.0)
    high = next((scale for scale in _FULL_SCALES if low == 0.0 and highest <= scale), highest)
    if high <= low:
        raise ConfigError("all pixels of all images are equal; recipe cnn has nothing to learn from")
    return Plan(
        recipe="cnn",
        preprocess=Preprocess(multiply=(rounded(1 / (high - low)),), add=(rounded(-low / (high - low)),)),
        missing=MissingPolicy.REFUSE,
        input_shape=_image_shape(schema),
        is_image=True,
        budgets=Budgets(p95_latency_ms=50.0, memory_bytes=64 * 1024 * 1024),
        epochs=40,
        batch_rows=int(number(options, "batch", 32, low=1, high=4096)),
        learning_rate=number(options, "learning-rate", 2e-3, low=1e-6, high=1.0),
        patience=12,
        shift_pixels=1,
        target=target_of(schema, targets, options),
        class_weights=class_weights_of(schema, targets, options),
    )


def network(tf: Any, input_shape: tuple[int, ...], head: Head, seed: int, batch: int | None) -> Any:
    """Layer names are given, for generated ones count up and would change the file."""
    keras = tf.keras
    layers = keras.layers
    first = FirstWeights(tf, seed)
    inputs = keras.Input(batch_shape=(batch, *input_shape), name="input")
    tensor = layers.Conv2D(_STEM, 3, padding="same", activation="relu", kernel_initializer=first.he(), name="stem")(
        inputs
    )
    for block, (filters, stride) in enumerate(_blocks(input_shape)):
        tensor = layers.DepthwiseConv2D(
            3, strides=stride, padding="same", depthwise_initializer=first.he(), name=f"depth{block}"
        )(tensor)
        tensor = layers.Conv2D(filters, 1, activation="relu", kernel_initializer=first.he(), name=f"point{block}")(
            tensor
        )
    tensor = layers.Flatten(name="flat")(tensor)
    embedding = layers.Dense(_EMBEDDING, activation="relu", kernel_initializer=first.he(), name="embedding")(tensor)
    answer = head.layer(tf, first.seed())(embedding)
    return keras.Model(inputs, [answer, embedding], name="cnn")


def _blocks(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(filters, stride): halve until both sides are small, then look once more."""
    side, blocks = max(shape[:2]), list[tuple[int, int]]()
    while side > _SMALLEST_SIDE:
        blocks.append((_REST if blocks else _FIRST, 2))
        side = -(-side // 2)
    return [*blocks, (_REST, 1)]


def _image_shape(schema: Schema) -> tuple[int, int, int]:
    """(height, width, colours); a flat row of a square number of values is a square grey image."""
    match schema.shape:
        case (height, width):
            return _large_enough(height, width, 1)
        case (height, width, colours):
            return _large_enough(height, width, colours)
        case (values,) if math.isqrt(values) ** 2 == values:
            return _large_enough(math.isqrt(values), math.isqrt(values), 1)
        case _:
            raise ConfigError(
                f"recipe cnn needs images, the rows of this dataset have shape {schema.shape}; "
                "import an npz whose array has shape (rows, height, width), or use recipe dense"
            )


def _large_enough(height: int, width: int, colours: int) -> tuple[int, int, int]:
    if min(height, width) < _SMALLEST_SIDE:
        raise ConfigError(f"images of {height} x {width} pixels are too small for recipe cnn; use recipe dense")
    return height, width, colours
