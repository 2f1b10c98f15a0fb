"""Good and bad canaries made from real models and real rows, for the rows about the health gate.

Not a row. Two worlds: activities of people whom no model has met, from ten-second windows of an accelerometer (WISDM),
and whether a room is occupied, from its climate (UCI occupancy, without Light; rows dealt by chance, for the parts are
different worlds). Of each the old model is a small network of scikit-learn, and the new one the same trained with
another seed. It is good if it loses at most one point on all rows; others are drawn again. A bad one is such a network
with a fault, of which there is just so much that it loses five points:

    permuted   classes change places in a part of the input space
    scaled     one input column is multiplied by a constant
    noise      in the weights
    stale      standardized by what the most similar tenth of the training rows have as mean and spread
"""

import csv
import functools
import gzip
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._streams import in_processes

WORLDS = "wisdm", "occupancy"
GOOD = "good"
FAULTS = "permuted", "scaled", "noise", "stale"
MOST_LOSS_OF_GOOD = 0.01
LOSS_OF_BAD = 0.05
#: What is tuned may miss by so much.
_TOLERANCE = 0.002
_HALVINGS = 40
_ROOM = ("Temperature", "Humidity", "CO2", "HumidityRatio")
_NO_READINGS = {"UNIQUE_ID", "user", "class", "XAVG"}
#: An old model this far below the best of its kind is a training that failed; nobody runs it.
_LEAST_ACCURACY = {"wisdm": 0.65, "occupancy": 0.80}

Array = np.ndarray[Any, Any]
Random = np.random.Generator


@dataclass(frozen=True)
class World:
    """Rows to learn from, and rows that devices see."""

    name: str
    known: Array
    known_classes: Array
    rows: Array
    classes: Array
    layers: tuple[int, ...]
    epochs: int


@dataclass(frozen=True)
class Canary:
    """What two models answer to all rows that devices see."""

    world: str
    #: GOOD or the fault.
    kind: str
    truths: Array
    old: Array
    new: Array
    #: The highest probability of the two models, row by row.
    old_confidence: Array
    new_confidence: Array
    #: On rows held out of the training, as a manifest states it; the fault came later.
    old_stated: float
    new_stated: float

    @property
    def loss(self) -> float:
        """Of accuracy, on all rows."""
        return float((self.old == self.truths).mean() - (self.new == self.truths).mean())


def folder() -> Path:
    """Where the research data should be."""
    return Path(os.environ.get("EDGEOPS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def canaries(goods: int, bads: int) -> list[Canary]:
    """So many of each, half of them in each world; every fault as often."""
    kinds = [GOOD] * goods + [FAULTS[number // 2 % len(FAULTS)] for number in range(bads)]
    return in_processes(make, [WORLDS[number % 2] for number in range(goods + bads)], kinds, range(goods + bads))


@functools.cache
def read_world(name: str) -> World:
    """One of the two worlds."""
    return _wisdm(folder()) if name == "wisdm" else _occupancy(folder())


@dataclass(frozen=True)
class Network:
    """A multi-layer perceptron with its preprocessing."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    mean: Array
    spread: Array

    def probabilities(self, rows: Array) -> Array:
        """(n, classes)"""
        values = np.nan_to_num((rows - self.mean) / self.spread)
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = np.maximum(values @ weights + biases, 0)
        values = values @ self.weights[-1] + self.biases[-1]
        if values.shape[1] == 1:
            values = np.hstack([-values / 2, values / 2])
        exponents = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def make(name: str, kind: str, seed: int) -> Canary:
    """One canary."""
    world, random = read_world(name), np.random.default_rng(seed)
    while True:
        old, old_stated = _trained(world, random)
        new, new_stated = _trained(world, random)
        probabilities = old.probabilities(world.rows)
        accuracy = float((probabilities.argmax(axis=1) == world.classes).mean())
        damaged = _answered(new, world) if kind == GOOD else _damaged(new, world, kind, accuracy - LOSS_OF_BAD, random)
        if accuracy < _LEAST_ACCURACY[name] or damaged is None:
            continue
        canary = Canary(
            world=name,
            kind=kind,
            truths=world.classes,
            old=probabilities.argmax(axis=1),
            new=damaged[0],
            old_confidence=probabilities.max(axis=1),
            new_confidence=damaged[1],
            old_stated=old_stated,
            new_stated=new_stated,
        )
        if kind != GOOD or canary.loss <= MOST_LOSS_OF_GOOD:
            return canary


def _trained(world: World, random: Random) -> tuple[Network, float]:
    """A network, and its accuracy on a tenth of the known rows, which it does not learn from."""
    from sklearn.neural_network import MLPClassifier

    held = random.random(len(world.known)) < 0.1
    mean, spread = np.nanmean(world.known, axis=0), np.nanstd(world.known, axis=0) + 1e-9
    inputs = np.nan_to_num((world.known - mean) / spread)
    learner = MLPClassifier(world.layers, max_iter=world.epochs, random_state=int(random.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.fit(inputs[~held], world.known_classes[~held])
    network = Network(tuple(learner.coefs_), tuple(learner.intercepts_), mean, spread)
    return network, float((_answers(network, world.known[held]) == world.known_classes[held]).mean())


#: (answers, confidences) of all rows.
_Answered = tuple[Array, Array]


def _answers(network: Network, rows: Array) -> Array:
    return np.asarray(network.probabilities(rows).argmax(axis=1))


def _answered(network: Network, world: World, rows: Array | None = None) -> _Answered:
    probabilities = network.probabilities(world.rows if rows is None else rows)
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


def _damaged(network: Network, world: World, fault: str, accuracy: float, random: Random) -> _Answered | None:
    """The network with so much of a fault that it has this accuracy; None = no amount of it does that."""
    amounts = {"permuted": _permuted, "scaled": _scaled, "noise": _noisy, "stale": _stale}
    return _tuned(amounts[fault](network, world, random), world, accuracy)


def _tuned(damage: Callable[[float], _Answered], world: World, accuracy: float) -> _Answered | None:
    """By halving, from no fault to all of it."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        answered = damage(middle)
        reached = float((answered[0] == world.classes).mean())
        if abs(reached - accuracy) <= _TOLERANCE:
            return answered
        low, high = (middle, high) if reached > accuracy else (low, middle)
    return None


def _permuted(network: Network, world: World, random: Random) -> Callable[[float], _Answered]:
    classes = int(world.classes.max()) + 1
    order = np.roll(np.arange(classes), 1) if classes == 2 else random.permutation(classes)
    answers, confidences = _answered(network, world)
    across = np.nan_to_num((world.rows - network.mean) / network.spread) @ random.standard_normal(world.rows.shape[1])
    rank = across.argsort().argsort() / len(across)
    return lambda amount: (np.where(rank < amount, order[answers], answers), confidences)


def _scaled(network: Network, world: World, random: Random) -> Callable[[float], _Answered]:
    column = int(random.integers(world.rows.shape[1]))

    def damage(amount: float) -> _Answered:
        rows = world.rows.copy()
        rows[:, column] *= 1 + 20 * amount
        return _answered(network, world, rows)

    return damage


def _noisy(network: Network, world: World, random: Random) -> Callable[[float], _Answered]:
    noise = [random.standard_normal(weights.shape) * weights.std() for weights in network.weights]

    def damage(amount: float) -> _Answered:
        weights = tuple(one + 5 * amount * other for one, other in zip(network.weights, noise, strict=True))
        return _answered(Network(weights, network.biases, network.mean, network.spread), world)

    return damage


def _stale(network: Network, world: World, random: Random) -> Callable[[float], _Answered]:
    known = np.nan_to_num((world.known - network.mean) / network.spread)
    middle = known[random.integers(len(known))]
    alike = np.square(known - middle).sum(axis=1).argsort()[: len(known) // 10]
    shift = known[alike].mean(axis=0) * network.spread
    ratio = np.clip(known[alike].std(axis=0), 1 / 3, 3)

    def damage(amount: float) -> _Answered:
        mean, spread = network.mean + 3 * amount * shift, network.spread * ratio ** (3 * amount)
        return _answered(Network(network.weights, network.biases, mean, spread), world)

    return damage


def _wisdm(data: Path) -> World:
    rows = _read(data / "wisdm_windows" / "wisdm_windows.csv.gz")
    columns = [name for name in rows[0] if name not in _NO_READINGS]
    values = np.array(
        [[float(row[name]) if row[name] not in ("", "?") else np.nan for name in columns] for row in rows]
    )
    classes = np.unique([row["class"] for row in rows], return_inverse=True)[1]
    people = np.array([int(row["user"]) for row in rows])
    seen = np.isin(people, np.unique(people)[::2])
    return World("wisdm", values[~seen], classes[~seen], values[seen], classes[seen], layers=(32,), epochs=30)


def _occupancy(data: Path) -> World:
    rows = _read(data / "occupancy" / "occupancy.csv.gz")
    values = np.array([[float(row[name]) for name in _ROOM] for row in rows])
    classes = np.array([int(row["Occupancy"]) for row in rows])
    seen = np.random.default_rng(0).random(len(rows)) < 0.6
    return World("occupancy", values[~seen], classes[~seen], values[seen], classes[seen], layers=(16, 8), epochs=15)


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))
