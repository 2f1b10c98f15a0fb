"""Finds the recipe of a name.

A recipe decides a `Plan` from the training rows, then builds the network for it. Networks have two outputs, the answer
(class probabilities, a number, or the score of an anomaly) and the embedding, which tells inputs apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Task
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes import autoencoder, cnn, dense, distance, signals, spectrogram
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.recipes.plan import Plan

Options = Mapping[str, float | str]
#: (schema, training rows with NaN for missing, what is to be learnt of each, options by name) -> plan.
Planner = Callable[[Schema, NDArray[np.float32], NDArray[Any], Options], Plan]
#: (TensorFlow, input shape, head, seed, batch size or None) -> Keras model with outputs [answer, embedding].
Network = Callable[[Any, tuple[int, ...], Head, int, int | None], Any]

_TELLING = frozenset({Task.CLASSIFICATION, Task.REGRESSION})
_FINDING = frozenset({Task.ANOMALY})


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is learnt."""

    plan: Planner
    #: What is trained in steps; None = the recipe learns in one, as `distance` alone does.
    network: Network | None
    tasks: frozenset[Task]
    #: Names of its own options, beside those of a task.
    options: frozenset[str]


RECIPES = {
    RecipeName.DENSE: Recipe(dense.plan, dense.network, _TELLING, dense.OPTIONS),
    RecipeName.CNN: Recipe(cnn.plan, cnn.network, _TELLING, cnn.OPTIONS),
    RecipeName.SIGNALS: Recipe(signals.plan, signals.network, _TELLING, signals.OPTIONS),
    RecipeName.SPECTROGRAM: Recipe(spectrogram.plan, spectrogram.network, _TELLING, spectrogram.OPTIONS),
    RecipeName.DISTANCE: Recipe(distance.plan, None, _FINDING, distance.OPTIONS),
    RecipeName.AUTOENCODER: Recipe(autoencoder.plan, autoencoder.network, _FINDING, autoencoder.OPTIONS),
}


def find_recipe(name: RecipeName, task: Task) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: it does not learn that task.
    """
    recipe = RECIPES[name]
    if task in recipe.tasks:
        return recipe
    others = " or ".join(one for one in RECIPES if task in RECIPES[one].tasks)
    if task is Task.ANOMALY:
        raise ConfigError(f"recipe {name} does not learn anomalies; use recipe {others}")
    raise ConfigError(f"recipe {name} learns anomalies; import the dataset with --task anomaly, or use recipe {others}")
