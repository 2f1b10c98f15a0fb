"""Finds the recipe of a name.

A recipe decides a `Plan` from the training rows, then builds the network for it. Networks have two outputs, the answer
(class probabilities, a number, or the score of an anomaly) and the embedding, which tells inputs apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
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
    #: What it is, in a line.
    about: str = ""


def _of(module: ModuleType, network: Network | None, tasks: frozenset[Task]) -> Recipe:
    return Recipe(module.plan, network, tasks, module.OPTIONS, (module.__doc__ or "").partition("\n")[0])


RECIPES = {
    RecipeName.DENSE: _of(dense, dense.network, _TELLING),
    RecipeName.CNN: _of(cnn, cnn.network, _TELLING),
    RecipeName.SIGNALS: _of(signals, signals.network, _TELLING),
    RecipeName.SPECTROGRAM: _of(spectrogram, spectrogram.network, _TELLING),
    RecipeName.DISTANCE: _of(distance, None, _FINDING),
    RecipeName.AUTOENCODER: _of(autoencoder, autoencoder.network, _FINDING),
}


def require_task(recipe: Recipe, name: str, task: Task) -> None:
    """Refuse a recipe for what it does not learn.

    Raises:
        ConfigError: names those that do.
    """
    if task in recipe.tasks:
        return
    others = " or ".join(one for one in RECIPES if task in RECIPES[one].tasks)
    if task is Task.ANOMALY:
        raise ConfigError(f"recipe {name} does not learn anomalies; use recipe {others}")
    raise ConfigError(f"recipe {name} learns anomalies; import the dataset with --task anomaly, or use recipe {others}")
