"""Anomalies: how badly a window is rebuilt from a few numbers, by a network that learnt to rebuild normal ones.

The score is the sum of the squared errors, in standard deviations of each column (a bottleneck of a feed-forward
network, Kramer 1991). It is computed inside the file, as the product of the errors with themselves: runtimes add int8
products in 32 bits and round once, whereas squares that are tensors of their own would each be rounded to one of 256
steps, and nearly all of them to 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, MissingPolicy, Preprocess
from edgeops.data.schema import Schema
from fleet_server.ml.recipes.first_weights import FirstWeights
from fleet_server.ml.recipes.head import ANSWER, Head
from fleet_server.ml.recipes.plan import Plan, number, refuse_unknown
from fleet_server.ml.recipes.scaling import CLIP, standardizing
from fleet_server.ml.recipes.still import refuse_still
from fleet_server.ml.recipes.window import WINDOW_OPTIONS, asked_window

_HIDDEN, _EMBEDDING = 64, 8
_MARGIN = "margin"
#: How many times worse than nearly all normal windows an alarm is rebuilt. Noise, which nobody can rebuild, is a large
#: part of every score, so a little more is much.
_USUAL_MARGIN = 1.5
OPTIONS = WINDOW_OPTIONS | {_MARGIN, "learning-rate", "batch"}


def plan(schema: Schema, rows: NDArray[np.float32], _targets: NDArray[Any], options: Mapping[str, float | str]) -> Plan:
    """Decide the scale from the training rows (n, columns).

    Options: `window`, `stride`, `margin`, `learning-rate`, `batch`.

    Raises:
        ConfigError: an option that is unknown or out of bounds, or a column that does not change.
    """
    refuse_unknown(options, OPTIONS, recipe="autoencoder", schema=schema)
    refuse_still(schema)
    window = asked_window(schema, options)
    multiply, add = standardizing(rows.astype(np.float64))
    return Plan(
        recipe="autoencoder",
        preprocess=Preprocess(multiply=multiply, add=add, clip=CLIP),
        missing=MissingPolicy.REFUSE,
        input_shape=(1 if window is None else window.rows, len(schema.columns)),
        is_image=False,
        budgets=Budgets(p95_latency_ms=10.0, memory_bytes=32 * 1024 * 1024),
        epochs=100,
        batch_rows=int(number(options, "batch", 32, low=1, high=4096)),
        learning_rate=number(options, "learning-rate", 2e-3, low=1e-6, high=1.0),
        patience=10,
        window=window,
        margin=number(options, _MARGIN, _USUAL_MARGIN, low=0.1, high=1e6),
    )


def network(tf: Any, input_shape: tuple[int, ...], _head: Head, seed: int, batch: int | None) -> Any:
    """Layer names are given, for generated ones count up and would change the file."""
    keras = tf.keras
    layers = keras.layers
    first = FirstWeights(tf, seed)
    values = int(np.prod(input_shape))
    inputs = keras.Input(batch_shape=(batch, *input_shape), name="input")
    flat = layers.Flatten(name="flat")(inputs)
    tensor = layers.Dense(_HIDDEN, activation="relu", kernel_initializer=first.he(), name="shrink")(flat)
    # Half of the values at most: what is as wide as its input can copy it.
    width = max(min(_EMBEDDING, values // 2), 1)
    embedding = layers.Dense(width, kernel_initializer=first.he(), name="embedding")(tensor)
    tensor = layers.Dense(_HIDDEN, activation="relu", kernel_initializer=first.he(), name="grow")(embedding)
    rebuilt = layers.Dense(values, kernel_initializer=first.he(), name="rebuilt")(tensor)
    errors = layers.Subtract(name="errors")([flat, rebuilt])
    score = layers.Dot(axes=1, name=ANSWER)([errors, errors])
    return keras.Model(inputs, [score, embedding], name="autoencoder")
