"""Finds the recipe of a name: `dense` for tables, `cnn` for small images, `signals` for windows of raw signals.

A recipe decides a `Plan` from the training rows, then builds the network for it. Networks have two
outputs, the answer (class probabilities, or a number) and the embedding (what the last layer reads).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes import cnn, dense, signals
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.recipes.plan import Plan

Options = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The two halves of a recipe."""

    #: (schema, training rows with NaN for missing, what is to be learnt of each, options by name) -> plan.
    plan: Callable[[Schema, NDArray[np.float32], NDArray[Any], Options], Plan]
    #: (TensorFlow, input shape, head, seed, batch size or None) -> Keras model with outputs [answer, embedding].
    network: Callable[[Any, tuple[int, ...], Head, int, int | None], Any]


def find_recipe(name: RecipeName) -> Recipe:
    """The recipe of that name, of those that are trained in steps.

    Raises:
        ConfigError: it is not.
    """
    match name:
        case RecipeName.DENSE:
            return Recipe(dense.plan, dense.network)
        case RecipeName.CNN:
            return Recipe(cnn.plan, cnn.network)
        case RecipeName.SIGNALS:
            return Recipe(signals.plan, signals.network)
        case RecipeName.DISTANCE:
            raise ConfigError("recipe distance learns anomalies; import the dataset with --task anomaly")
        case _:
            assert_never(name)
