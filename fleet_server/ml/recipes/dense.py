"""Tables: logarithm where tails are heavy, standardize, clip; two hidden layers of 64 and 32.

A window of rows is read as one long row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, Preprocess, Transform
from edgeops.data.schema import Schema
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan, class_weights_of, missing_of, number, refuse_unknown, target_of
from fleet_server.ml.recipes.scaling import CLIP, standardizing
from fleet_server.ml.recipes.tails import AUTO, asked_for, signed_log1p
from fleet_server.ml.recipes.window import WINDOW_OPTIONS, asked_window

_HIDDEN, _EMBEDDING = 64, 32
#: Excess kurtosis of a normal distribution is 0, of an exponential one 6; and a logarithm does nothing
#: to columns that stay near 0.
_HEAVY_KURTOSIS = 3.0
_WIDE_RANGE = 10.0
#: One transform serves all columns; it is monotone and does little to tame ones.
_HEAVY_SHARE = 0.25
_TRANSFORM = "transform"
OPTIONS = WINDOW_OPTIONS | {_TRANSFORM, "learning-rate", "batch"}


def plan(schema: Schema, rows: NDArray[np.float32], targets: NDArray[Any], options: Mapping[str, float | str]) -> Plan:
    """Decide preprocessing from the training rows (n, columns) and what is to be learnt of each (n,).

    Options: `transform` (auto, none, signed-log1p), `learning-rate`, `batch`, `window`, `stride`, and of the task
    `class-weights` or `target-transform`.

    Raises:
        ConfigError: an option that is unknown or out of bounds.
        DatasetError: all numbers to learn are equal.
    """
    refuse_unknown(options, OPTIONS, recipe="dense", schema=schema)
    window = asked_window(schema, options)
    values = rows.astype(np.float64)
    transform = asked_for(str(options.get(_TRANSFORM, AUTO)), option=_TRANSFORM)
    if transform is None:
        transform = Transform.SIGNED_LOG1P if _has_heavy_tails(values) else Transform.NONE
    if transform is Transform.SIGNED_LOG1P:
        values = signed_log1p(values)
    multiply, add = standardizing(values)
    return Plan(
        recipe="dense",
        preprocess=Preprocess(
            transform=transform,
            multiply=multiply,
            add=add,
            clip=CLIP,
        ),
        missing=missing_of(schema),
        input_shape=(len(schema.columns) * (1 if window is None else window.rows),),
        is_image=False,
        budgets=Budgets(p95_latency_ms=10.0, memory_bytes=32 * 1024 * 1024),
        epochs=40,
        batch_rows=int(number(options, "batch", 64, low=1, high=4096)),
        learning_rate=number(options, "learning-rate", 2e-3, low=1e-6, high=1.0),
        patience=10,
        target=target_of(schema, targets, options),
        class_weights=class_weights_of(schema, targets, options),
        window=window,
    )


def network(tf: Any, input_shape: tuple[int, ...], head: Head, seed: int, batch: int | None) -> Any:
    """Layer names are given, for generated ones count up and would change the file."""
    keras = tf.keras
    layers, initializers = keras.layers, keras.initializers
    inputs = keras.Input(batch_shape=(batch, *input_shape), name="input")
    hidden = layers.Dense(
        _HIDDEN, activation="relu", kernel_initializer=initializers.HeNormal(seed=seed), name="hidden"
    )(inputs)
    embedding = layers.Dense(
        _EMBEDDING, activation="relu", kernel_initializer=initializers.HeNormal(seed=seed + 1), name="embedding"
    )(hidden)
    answer = head.layer(tf, seed + 2)(embedding)
    return keras.Model(inputs, [answer, embedding], name="dense")


def _has_heavy_tails(values: NDArray[np.float64]) -> bool:
    """Whether a good part of the columns are wide and far from normal."""
    centred = values - np.nanmean(values, axis=0)
    variance = np.nanmean(centred**2, axis=0)
    fourth = np.nanmean(centred**4, axis=0)
    kurtosis = np.divide(fourth, variance**2, out=np.full_like(variance, 3.0), where=variance > 0) - 3.0
    wide = np.nanmax(np.abs(values), axis=0) > _WIDE_RANGE
    return bool(np.mean(wide & (kurtosis > _HEAVY_KURTOSIS)) >= _HEAVY_SHARE)
