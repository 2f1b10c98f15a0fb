"""Tables: logarithm where tails are heavy, standardize, clip; two hidden layers of 64 and 32."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, MissingPolicy, Preprocess, Transform
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes.plan import Plan, number, refuse_unknown, rounded

_HIDDEN, _EMBEDDING = 64, 32
#: After standardizing; beyond it a reading says no more than "far out".
_CLIP = 8.0
#: Excess kurtosis of a normal distribution is 0, of an exponential one 6; and a logarithm does nothing
#: to columns that stay near 0.
_HEAVY_KURTOSIS = 3.0
_WIDE_RANGE = 10.0
#: One transform serves all columns; it is monotone and does little to tame ones.
_HEAVY_SHARE = 0.25
_AUTO = "auto"
_OPTIONS = frozenset({"transform", "learning-rate", "batch"})


def plan(schema: Schema, rows: NDArray[np.float32], options: Mapping[str, float | str]) -> Plan:
    """Decide preprocessing from the training rows (n, columns).

    Options: `transform` (auto, none, signed-log1p), `learning-rate`, `batch`.

    Raises:
        ConfigError: an option that is unknown or out of bounds.
    """
    refuse_unknown(options, _OPTIONS, recipe="dense")
    values = rows.astype(np.float64)
    transform = _transform(values, str(options.get("transform", _AUTO)))
    if transform is Transform.SIGNED_LOG1P:
        values = np.sign(values) * np.log1p(np.abs(values))
    mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    # A constant column says nothing: it becomes 0 whatever it reads.
    multiply = np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-9 * np.maximum(np.abs(mean), 1e-30))
    return Plan(
        recipe="dense",
        preprocess=Preprocess(
            transform=transform,
            multiply=tuple(rounded(value) for value in multiply),
            add=tuple(rounded(value) for value in -mean * multiply),
            clip=_CLIP,
        ),
        missing=MissingPolicy.NEUTRAL if any(one.missing for one in schema.statistics) else MissingPolicy.REFUSE,
        input_shape=(len(schema.columns),),
        is_image=False,
        budgets=Budgets(p95_latency_ms=10.0, memory_bytes=32 * 1024 * 1024),
        epochs=40,
        batch_rows=int(number(options, "batch", 64, low=1, high=4096)),
        learning_rate=number(options, "learning-rate", 2e-3, low=1e-6, high=1.0),
        patience=10,
    )


def network(tf: Any, input_shape: tuple[int, ...], classes: int, seed: int, batch: int | None) -> Any:
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
    answer = layers.Dense(
        classes, activation="softmax", kernel_initializer=initializers.GlorotUniform(seed=seed + 2), name="answer"
    )(embedding)
    return keras.Model(inputs, [answer, embedding], name="dense")


def _transform(values: NDArray[np.float64], wanted: str) -> Transform:
    if wanted != _AUTO:
        try:
            return Transform(wanted)
        except ValueError:
            known = ", ".join((_AUTO, *Transform))
            raise ConfigError(f"option transform is {wanted!r}; it takes {known}") from None
    return Transform.SIGNED_LOG1P if _has_heavy_tails(values) else Transform.NONE


def _has_heavy_tails(values: NDArray[np.float64]) -> bool:
    """Whether a good part of the columns are wide and far from normal."""
    centred = values - np.nanmean(values, axis=0)
    variance = np.nanmean(centred**2, axis=0)
    fourth = np.nanmean(centred**4, axis=0)
    kurtosis = np.divide(fourth, variance**2, out=np.full_like(variance, 3.0), where=variance > 0) - 3.0
    wide = np.nanmax(np.abs(values), axis=0) > _WIDE_RANGE
    return bool(np.mean(wide & (kurtosis > _HEAVY_KURTOSIS)) >= _HEAVY_SHARE)
