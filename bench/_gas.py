"""Sixteen gas sensors that age: learns, drifts, buys labels and heals, without a fleet.

Not a row. Learnt are batches 1 and 2 and nothing else but bought labels. Of each later batch, shuffled with the seed,
the first half is what devices have seen: labels of some of it are bought, the model is trained again from scratch on
batches 1 and 2 and all labels bought so far, and the second half judges. Every answer, also those that choices rest
on, is `Model.predict` of the file.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeops import limits
from edgeops.artifact.manifest import FORMAT, InputWindow, Lineage, Manifest, Output, Requirements, Task, Variant
from edgeops.artifact.package import package
from edgeops.data.splits import Split
from edgeops.learning.sampling import choose, nominate
from edgeops.model.model import Model
from edgeops.model.preprocess import transform_rows
from fleet_server.ml.conversion import convert
from fleet_server.ml.framework import load_tensorflow
from fleet_server.ml.recipes import dense
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.training import Labelled, Trainer
from tests.imported import import_file

LATER = (3, 4, 5, 6, 8, 9)
LABELS = (10, 30, 60)
DEVICES = 5
RANDOM_SHARE = 0.2
LABEL_WEIGHT = 5.0
_HOLD_OUT = 0.2
_CALIBRATION_ROWS = 300
_NO_DIGEST = "sha256:" + "0" * 64

CHOSEN, WITH_SHARE, BY_CHANCE, MARGIN = "chosen", f"chosen with {RANDOM_SHARE:.0%} by chance", "by chance", "margin"

Array = np.ndarray[Any, Any]
Random = np.random.Generator
#: (embeddings, uncertainty, labels, random) -> indexes of the rows to buy.
Choice = Callable[[Array, Array, int, Random], Array]


def data_path() -> Path:
    """Where the research data should be."""
    default = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("EDGEOPS_TEST_DATA", default)) / "gas_drift" / "gas_drift.npz"


def _by_fleet(random_share: float) -> Choice:
    def choice(embeddings: Array, uncertainty: Array, labels: int, random: Random) -> Array:
        """Five devices nominate over what they hold, the server chooses among all nominations."""
        asked = int(np.ceil(max(limits.NOMINATION_SURPLUS * labels, limits.LEAST_NOMINEES) / DEVICES))
        nominees = [
            (rows[nominee.index], nominee.by_chance, device)
            for device, rows in enumerate(np.array_split(np.arange(len(embeddings)), DEVICES))
            for nominee in nominate(
                embeddings[rows], uncertainty[rows], asked, random_share=random_share, random=random
            )
        ]
        rows, by_chance, devices = (np.array(column) for column in zip(*nominees, strict=True))
        chosen = choose(
            embeddings[rows], uncertainty[rows], by_chance, devices, labels, random_share=random_share, random=random
        )
        return np.asarray(rows[chosen])

    return choice


def _by_chance(embeddings: Array, _: Array, labels: int, random: Random) -> Array:
    return random.permutation(len(embeddings))[:labels]


def _by_margin(_: Array, uncertainty: Array, labels: int, _random: Random) -> Array:
    return np.argsort(-uncertainty, kind="stable")[:labels]


WAYS: dict[str, Choice] = {
    CHOSEN: _by_fleet(0.0),
    WITH_SHARE: _by_fleet(RANDOM_SHARE),
    BY_CHANCE: _by_chance,
    MARGIN: _by_margin,
}


@dataclass(frozen=True)
class Rows:
    """Raw readings and classes."""

    values: Array
    classes: Array

    def only(self, rows: Array) -> "Rows":
        return Rows(self.values[rows], self.classes[rows])

    def __add__(self, other: "Rows") -> "Rows":
        return Rows(np.concatenate([self.values, other.values]), np.concatenate([self.classes, other.classes]))


def study(seed: int, way: str) -> dict[Any, list[float]]:
    """Accuracies by batch: `static`, and by (way, labels, `before` | `after` | `float32`); float32 of our ways only."""
    sensors = Sensors(seed)
    static = sensors.train()
    figures: dict[Any, list[float]] = {"static": [static.accuracy(held) for _, held in sensors.later()]}
    for labels in LABELS:
        for what, accuracies in _heal(sensors, static, WAYS[way], labels, floats=way in (CHOSEN, WITH_SHARE)):
            figures[way, labels, what] = accuracies
    return figures


def be_quiet() -> None:
    """Converters print; a benchmark's output is a table."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _heal(
    sensors: "Sensors", static: "Answerer", choice: Choice, labels: int, *, floats: bool
) -> Iterator[tuple[str, list[float]]]:
    random = np.random.default_rng((sensors.seed, labels))
    running, bought = static, Rows(sensors.known.values[:0], sensors.known.classes[:0])
    before, after, float32 = [], [], []
    for seen, held in sensors.later():
        before.append(running.accuracy(held))
        bought += seen.only(choice(*running.look_at(seen), labels, random))
        running = sensors.train(bought)
        after.append(running.accuracy(held))
        if floats:
            float32.append(running.sibling().accuracy(held))
    yield from (("before", before), ("after", after), *((("float32", float32),) if floats else ()))


class Sensors:
    """The data as one seed shuffles it, and how it is learnt."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        path = data_path()
        snapshot = import_file(
            path, file_name=path.name, label="gas", where=("batch=1,2",), hold_out=_HOLD_OUT, seed=seed
        )
        train, validation = snapshot.only(Split.TRAIN), snapshot.only(Split.VALIDATION)
        self._schema = snapshot.schema
        self.known, self._validation = Rows(train.values, train.classes), Rows(validation.values, validation.classes)
        with np.load(path) as source:
            # Classes are sorted by number; later batches have no others.
            self._all = Rows(source["X"], source["gas"].astype(np.int64) - int(source["gas"].min()))
            self._batch = source["batch"]
        self._tf = load_tensorflow()

    def later(self) -> Iterator[tuple[Rows, Rows]]:
        """Of each later batch what devices have seen, and what is held out."""
        for batch in LATER:
            rows = np.random.default_rng((self.seed, batch)).permutation(np.flatnonzero(self._batch == batch))
            half = len(rows) // 2
            yield self._all.only(rows[:half]), self._all.only(rows[half:])

    def train(self, bought: Rows | None = None) -> "Answerer":
        """What `fleet_server.ml.build` does, without its judgements, for int8."""
        rows = self.known if bought is None else self.known + bought
        plan = dense.plan(self._schema, rows.values, rows.classes, {})
        ready = _prepared(rows, plan)
        if bought is not None:
            weights = np.repeat(np.float32([1.0, LABEL_WEIGHT]), (len(self.known.classes), len(bought.classes)))
            ready = Labelled(inputs=ready.inputs, targets=ready.targets, weights=weights)
        trainer = Trainer(self._tf, dense.network, plan, Head(Task.CLASSIFICATION, len(self._schema.classes)))
        network = trainer.network(
            trainer.fit(ready, _prepared(self._validation, plan), seed=self.seed, stops_early=bought is None)
        )
        return Answerer(self, plan, network, self._calibration(ready.inputs), Variant.INT8)

    def _calibration(self, inputs: Array) -> Array:
        """Bought rows up to half, the others of batches 1 and 2."""
        random, known = np.random.default_rng(self.seed), len(self.known.classes)
        bought = known + random.permutation(len(inputs) - known)[: _CALIBRATION_ROWS // 2]
        old = random.permutation(known)[: _CALIBRATION_ROWS - len(bought)]
        return np.ascontiguousarray(inputs[np.concatenate([old, bought])])

    def manifest(self, plan: Plan, variant: Variant, converted: Any) -> Manifest:
        """Enough for `Model.load`."""
        return Manifest(
            format=FORMAT,
            name="bench",
            version="1",
            variant=variant,
            task=Task.CLASSIFICATION,
            inputs=converted.inputs,
            outputs=converted.outputs,
            window=InputWindow(columns=self._schema.columns),
            preprocess=plan.preprocess,
            missing=plan.missing,
            channels=(),
            output=Output(answer=converted.answer, embedding=converted.embedding, labels=self._schema.classes),
            budgets=plan.budgets,
            requirements=Requirements(ops=converted.ops),
            metrics={},
            lineage=Lineage(
                snapshot=_NO_DIGEST,
                recipe=plan.recipe,
                recipe_digest=plan.digest(),
                seed=self.seed,
                commit="",
                libraries={},
            ),
        )

    def convert(self, plan: Plan, network: Any, calibration: Array, variant: Variant) -> Model:
        converted = convert(self._tf, network, variant, calibration=calibration)
        manifest = self.manifest(plan, variant, converted)
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(package(converted.data, manifest, reference=b"", golden=b"", card=""))
            file.flush()
            return Model.load(Path(file.name))


class Answerer:
    """One trained model as a file that answers."""

    def __init__(self, sensors: Sensors, plan: Plan, network: Any, calibration: Array, variant: Variant) -> None:
        self._sensors, self._plan, self._network, self._calibration = sensors, plan, network, calibration
        self._model = sensors.convert(plan, network, calibration, variant)

    def sibling(self) -> "Answerer":
        """The same network, not quantized."""
        return Answerer(self._sensors, self._plan, self._network, self._calibration, Variant.FLOAT32)

    def accuracy(self, rows: Rows) -> float:
        """Share of right answers."""
        answers = [int(self._model.predict(row[np.newaxis]).answer) for row in rows.values]
        return float(np.mean(np.array(answers) == rows.classes))

    def look_at(self, rows: Rows) -> tuple[Array, Array]:
        """Embeddings and uncertainty."""
        predictions = [self._model.predict(row[np.newaxis]) for row in rows.values]
        embeddings = np.array([one.embedding for one in predictions])
        return embeddings, np.array([1.0 - one.margin for one in predictions])


def _prepared(rows: Rows, plan: Plan) -> Labelled:
    inputs = transform_rows(rows.values, plan.preprocess, missing=plan.missing)
    return Labelled(inputs=inputs, targets=rows.classes)
