"""Anomalies: how far the mean of a window lies from the means of normal ones (`edgeops.model.distance`).

Nothing is trained in steps. The network is the distance itself: a mean over the rows, one dense layer, squares, a sum.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, MissingPolicy, Preprocess
from edgeops.data.schema import Schema
from edgeops.model.distance import Distance
from fleet_server.ml.recipes.plan import Plan, number, refuse_unknown
from fleet_server.ml.recipes.scaling import CLIP, standardizing
from fleet_server.ml.recipes.still import refuse_still
from fleet_server.ml.recipes.window import WINDOW_OPTIONS, asked_window

_MARGIN = "margin"
#: How many times further than nearly all normal windows an alarm begins, in squares: twice as far. A machine that is a
#: little warmer tomorrow is further away than any window of today.
_USUAL_MARGIN = 4.0
OPTIONS = WINDOW_OPTIONS | {_MARGIN}


def plan(schema: Schema, rows: NDArray[np.float32], _targets: NDArray[Any], options: Mapping[str, float | str]) -> Plan:
    """Decide the scale from the training rows (n, columns).

    Options: `window`, `stride`, `margin`.

    Raises:
        ConfigError: an option that is unknown or out of bounds, or a column that does not change.
    """
    refuse_unknown(options, OPTIONS, recipe="distance", schema=schema)
    refuse_still(schema)
    window = asked_window(schema, options)
    multiply, add = standardizing(rows.astype(np.float64))
    return Plan(
        recipe="distance",
        preprocess=Preprocess(multiply=multiply, add=add, clip=CLIP),
        missing=MissingPolicy.REFUSE,
        input_shape=(1 if window is None else window.rows, len(schema.columns)),
        is_image=False,
        budgets=Budgets(p95_latency_ms=10.0, memory_bytes=32 * 1024 * 1024),
        epochs=0,
        batch_rows=0,
        learning_rate=0.0,
        patience=0,
        window=window,
        margin=number(options, _MARGIN, _USUAL_MARGIN, low=0.1, high=1e6),
    )


def network(tf: Any, distance: Distance) -> Any:
    """A Keras model of batch size 1 with outputs [score, what is squared and summed]."""
    keras = tf.keras
    layers = keras.layers
    channels = len(distance.offset)
    inputs = keras.Input(batch_shape=(1, distance.window_rows, channels), name="input")
    mean = layers.GlobalAveragePooling1D(name="mean")(inputs)
    embedding = layers.Dense(channels, name="embedding")(mean)
    squares = layers.Multiply(name="squares")([embedding, embedding])
    score = layers.Dense(1, use_bias=False, kernel_initializer="ones", name="answer")(squares)
    model = keras.Model(inputs, [score, embedding], name="distance")
    model.get_layer("embedding").set_weights([distance.matrix.T.astype(np.float32), distance.offset.astype(np.float32)])
    return model
