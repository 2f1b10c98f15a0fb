"""Raw signals: depthwise-separable convolutions along the rows of a window, their mean over time, one dense layer.

The mean makes an answer independent of where in the window something happens. Convolutions are those of images of
height 1, which every runtime has in int8.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, Preprocess
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes.first_weights import FirstWeights
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan, class_weights_of, missing_of, number, refuse_unknown, target_of
from fleet_server.ml.recipes.scaling import CLIP, standardizing
from fleet_server.ml.recipes.window import WINDOW_OPTIONS, asked_window

_STEM, _FIRST, _REST, _EMBEDDING = 24, 32, 48, 32
_KERNEL = (1, 5)
#: Rows are halved down to so many: what is left is averaged.
_LEFT_ROWS = 8
OPTIONS = WINDOW_OPTIONS | {"learning-rate", "batch"}


def plan(schema: Schema, rows: NDArray[np.float32], targets: NDArray[Any], options: Mapping[str, float | str]) -> Plan:
    """Decide scale and shape from the training rows (n, columns) and what is to be learnt of each (n,).

    Options: `window`, which must be given, `stride`, `learning-rate`, `batch`, and of the task
    `class-weights` or `target-transform`.

    Raises:
        ConfigError: an option that is absent, unknown or out of bounds, or rows that are images.
        DatasetError: all numbers to learn are equal.
    """
    refuse_unknown(options, OPTIONS, recipe="signals", schema=schema)
    if len(schema.shape) > 1:
        raise ConfigError(f"the rows of this dataset are images of shape {schema.shape}; use recipe cnn")
    window = asked_window(schema, options)
    if window is None or window.rows < _LEFT_ROWS:
        raise ConfigError(
            f"recipe signals reads windows of {_LEFT_ROWS} rows or more; say how many one answer needs: --window 64"
        )
    multiply, add = standardizing(rows.astype(np.float64))
    return Plan(
        recipe="signals",
        preprocess=Preprocess(multiply=multiply, add=add, clip=CLIP),
        missing=missing_of(schema),
        input_shape=(1, window.rows, len(schema.columns)),
        is_image=False,
        budgets=Budgets(p95_latency_ms=50.0, memory_bytes=64 * 1024 * 1024),
        epochs=40,
        batch_rows=int(number(options, "batch", 32, low=1, high=4096)),
        learning_rate=number(options, "learning-rate", 2e-3, low=1e-6, high=1.0),
        patience=10,
        target=target_of(schema, targets, options),
        class_weights=class_weights_of(schema, targets, options),
        window=window,
    )


def network(tf: Any, input_shape: tuple[int, ...], head: Head, seed: int, batch: int | None) -> Any:
    """Layer names are given, for generated ones count up and would change the file."""
    keras = tf.keras
    layers = keras.layers
    first = FirstWeights(tf, seed)
    inputs = keras.Input(batch_shape=(batch, *input_shape), name="input")
    tensor = layers.Conv2D(
        _STEM, _KERNEL, padding="same", activation="relu", kernel_initializer=first.he(), name="stem"
    )(inputs)
    for block, (filters, stride) in enumerate(_blocks(input_shape[1])):
        tensor = layers.DepthwiseConv2D(
            _KERNEL, strides=stride, padding="same", depthwise_initializer=first.he(), name=f"depth{block}"
        )(tensor)
        tensor = layers.Conv2D(filters, 1, activation="relu", kernel_initializer=first.he(), name=f"point{block}")(
            tensor
        )
    tensor = layers.GlobalAveragePooling2D(name="mean")(tensor)
    embedding = layers.Dense(_EMBEDDING, activation="relu", kernel_initializer=first.he(), name="embedding")(tensor)
    answer = head.layer(tf, first.seed())(embedding)
    return keras.Model(inputs, [answer, embedding], name="signals")


def _blocks(rows: int) -> list[tuple[int, int]]:
    """(filters, stride): halve until few rows are left, then look once more."""
    blocks = list[tuple[int, int]]()
    while rows > _LEFT_ROWS:
        blocks.append((_REST if blocks else _FIRST, 2))
        rows = -(-rows // 2)
    return [*blocks, (_REST, 1)]
