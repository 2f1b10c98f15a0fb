"""From a snapshot to artifacts: plan, train, convert, judge, describe; one artifact per variant.

The same snapshot, recipe, seed and libraries give the same digest. What is judged and how follows from the task of the
snapshot. A healed model keeps the channels of the one that it replaces, is trained again without each fold of the
labels bought since, and is put together with what those folds say. Nothing is stored or published here.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel, InputWindow, Task, Variant
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from edgeops.learning.attribution import ColumnShare
from edgeops.learning.folds import Folds
from edgeops.model.model import Model
from edgeops.model.preprocess import transform_windows
from edgeops.sketch.packing import unpack
from fleet_server.datasets.snapshot import IMPORTED, SnapshotFile, read_snapshot
from fleet_server.ml.assembly import assemble_all, bare_model
from fleet_server.ml.attribution import column_shares
from fleet_server.ml.champion import load_champions
from fleet_server.ml.class_examiner import ClassExaminer, Healed
from fleet_server.ml.conversion import convert
from fleet_server.ml.cross_validation import cross_validate
from fleet_server.ml.detector import build_detector
from fleet_server.ml.epoch import Epoch
from fleet_server.ml.folds import Trainings, cross_judge
from fleet_server.ml.frames import Build, Built, Healing, Nominated
from fleet_server.ml.framework import library_versions, load_tensorflow
from fleet_server.ml.number_examiner import NumberExaminer
from fleet_server.ml.recipes.catalog import RECIPES, Recipe, require_task
from fleet_server.ml.recipes.folder import read_recipe
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.recipes.own import blaming, load_recipe
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.report import Report
from fleet_server.ml.representative import choose
from fleet_server.ml.trained import Trained
from fleet_server.ml.training import Fitted, Labelled, Trainer
from fleet_server.ml.watching import image_channels, table_channels, window_channels
from fleet_server.ml.windows import Windows, cut_windows, paced


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lesson:
    """What is learnt from, and by what."""

    tf: Any
    trainer: Trainer
    #: What is learnt from as it is, and preprocessed.
    windows: Windows
    train: Labelled
    validation: Labelled
    seed: int
    #: Validation rows know the world as it was before some of the others were bought: they stop no training.
    has_bought: bool

    def fit(self, *, report: Callable[[Epoch], None]) -> Fitted:
        """The training that ships."""
        return self._fit(self.train, report=report)

    def fit_without(self, left_out: NDArray[np.bool_]) -> Fitted:
        """The same without some rows."""
        kept = ~left_out
        weights = None if self.train.weights is None else self.train.weights[kept]
        rest = Labelled(inputs=self.train.inputs[kept], targets=self.train.targets[kept], weights=weights)
        return self._fit(rest, report=lambda _epoch: None)

    def _fit(self, train: Labelled, *, report: Callable[[Epoch], None]) -> Fitted:
        return self.trainer.fit(train, self.validation, seed=self.seed, stops_early=not self.has_bought, report=report)


def build(task: Build, report: Report) -> Built:
    """Train and write the artifacts of all variants into `task.destination`.

    Raises:
        InputError: the dataset or an option does not fit the recipe.
        ArtifactError: the model that is to be healed cannot be read.
    """
    report("reading rows", 0.0)
    snapshot = read_snapshot(Path(task.snapshot))
    if task.healing is not None and snapshot.schema.task is not Task.CLASSIFICATION:
        raise DatasetError(f"only classifiers are healed by bought labels; {task.model} does {snapshot.schema.task}")
    if task.recipes is None:
        return _build_by(RECIPES[RecipeName(task.recipe)], task, snapshot, report)
    file = read_recipe(Path(task.recipes), task.recipe)
    with blaming(file):
        return _build_by(load_recipe(file), task, snapshot, report)


def _build_by(recipe: Recipe, task: Build, snapshot: SnapshotFile, report: Report) -> Built:
    require_task(recipe, task.recipe, snapshot.schema.task)
    if snapshot.schema.task is Task.ANOMALY:
        return build_detector(task, recipe, snapshot, report)
    assert recipe.network is not None, "it learns in steps"
    head = _head(snapshot.schema)
    rows = snapshot.only(Split.TRAIN)
    plan = recipe.plan(snapshot.schema, rows.readings(snapshot.schema), rows.targets, task.options)
    if task.epochs is not None:
        plan = replace(plan, epochs=task.epochs)
    if plan.window is not None:
        if task.healing is not None:
            raise DatasetError(
                f"{task.model} reads {plan.window.rows} rows at once, and what devices nominate are single rows; train "
                "a new version on new data"
            )
        plan = replace(plan, window=paced(plan.window, snapshot))
    windows = cut_windows(snapshot, plan.window or snapshot.schema.window())
    learnt = windows.only(Split.TRAIN)
    report("loading TensorFlow", 0.05)
    tf = load_tensorflow()
    report("training", 0.15)
    has_bought = task.healing is not None and bool((learnt.origins != IMPORTED).any())
    label_weight = 1.0 if task.healing is None else task.healing.label_weight
    lesson = _Lesson(
        tf=tf,
        trainer=Trainer(tf, recipe.network, plan, head),
        windows=learnt,
        train=_prepared(learnt, plan, windows.window, label_weight=label_weight),
        validation=_prepared(windows.only(Split.VALIDATION), plan, windows.window),
        seed=task.seed,
        has_bought=has_bought,
    )
    fitted = lesson.fit(report=lambda one: report("training", 0.15 + 0.2 * one.number / plan.epochs, one))
    champions = load_champions(task, windows)
    channels = _channels(champions.models if task.healing is not None else {}, snapshot.schema, plan, lesson)
    is_bought = lesson.windows.origins != IMPORTED
    representative = choose(lesson.train.inputs, lesson.train.targets, is_bought, seed=task.seed)
    trained = Trained(
        task=task,
        windows=windows,
        plan=plan,
        learned=fitted.learned,
        channels=channels,
        calibration=representative.inputs,
        calibration_words=(representative.words,),
        calibration_warnings=representative.warnings,
        libraries=library_versions(),
    )
    network = functools.partial(lesson.trainer.network, fitted)
    folds: Folds | None = None
    if head.task is Task.REGRESSION:
        numbers = NumberExaminer(trained, champions)
        folds = _folds(trained, lesson, ask=numbers.costs, report=report)
        built = assemble_all(trained, numbers, tf, network, report=report)
    else:
        healed = None
        if task.healing is not None:
            report("training without each fold", 0.35)
            healed = _healed(task.healing, trained, lesson, report=report)
        classes = ClassExaminer(trained, champions, healed)
        folds = _folds(trained, lesson, ask=classes.costs, report=report)
        built = assemble_all(trained, classes, tf, network, report=report)
    champions.close()
    return msgspec.structs.replace(built, folds=folds, shares=_shares(trained, lesson, fitted))


def _head(schema: Schema) -> Head:
    return Head(schema.task, max(len(schema.classes), 1))


def _prepared(windows: Windows, plan: Plan, window: InputWindow, *, label_weight: float = 1.0) -> Labelled:
    inputs = transform_windows(windows.values, plan.preprocess, window=window, missing=plan.missing)
    targets = windows.classes if plan.target is None else plan.target.learnt(windows.targets)
    return Labelled(
        inputs=inputs.reshape(len(windows), *plan.input_shape),
        targets=targets,
        weights=_weights(windows, plan, label_weight),
    )


def _weights(windows: Windows, plan: Plan, label_weight: float) -> NDArray[np.float32] | None:
    """What each counts, by its class and whether it was bought; None = all the same."""
    is_bought = windows.origins != IMPORTED
    if plan.class_weights is None and not is_bought.any():
        return None
    weights = np.where(is_bought, np.float32(label_weight), np.float32(1.0))
    return (
        weights if plan.class_weights is None else weights * np.asarray(plan.class_weights, np.float32)[windows.classes]
    )


def _channels(champions: Mapping[Variant, Model], schema: Schema, plan: Plan, lesson: _Lesson) -> tuple[Channel, ...]:
    """A healed model is watched as its champion was, so that windows of both can be compared."""
    train = lesson.train
    for champion in champions.values():
        return champion.manifest.channels
    if plan.is_image:
        return image_channels(schema.task)
    if plan.window is not None:
        windows = lesson.windows.values
        if plan.preprocess.spectrogram is None:
            windows = train.inputs.reshape(windows.shape)
        return window_channels(schema.task, schema.window().measured, windows, train.targets)
    return table_channels(schema.task, schema.window().measured, train.inputs, train.targets)


def _folds(
    trained: Trained, lesson: _Lesson, *, ask: Callable[[Model, Windows], NDArray[np.float64]], report: Report
) -> Folds | None:
    """What trainings without each fold say, where somebody asked for them."""
    if trained.task.folds is None:
        return None
    return cross_validate(
        trained.windows,
        count=trained.task.folds,
        seed=lesson.seed,
        fit_without=lesson.fit_without,
        quantize=functools.partial(_quantized, trained, lesson),
        ask=ask,
        report=lambda share: report("training without each fold", 0.35 + 0.3 * share),
    )


def _shares(trained: Trained, lesson: _Lesson, fitted: Fitted) -> tuple[ColumnShare, ...]:
    """What the float network goes by; pixels and pitches are no columns."""
    if trained.plan.is_image or trained.plan.preprocess.spectrogram is not None:
        return ()
    judging = trained.windows.only(Split.EVALUATION)
    whole = judging.only(np.flatnonzero(~np.isnan(judging.values).any(axis=(1, 2))))
    inputs = _prepared(whole, trained.plan, trained.windows.window).inputs
    return column_shares(lesson.trainer, fitted, inputs, trained.schema.columns)


def _quantized(trained: Trained, lesson: _Lesson, fitted: Fitted) -> Model:
    """The int8 file of a training, loaded."""
    network = lesson.trainer.network(fitted)
    converted = convert(lesson.tf, network, Variant.INT8, calibration=trained.calibration)
    return bare_model(trained, Variant.INT8, converted)


# -- healing ----------------------------------------------------------------------------


def _healed(healing: Healing, trained: Trained, lesson: _Lesson, *, report: Report) -> Healed:
    schema = trained.schema
    unseen, left_out = cross_judge(
        Trainings(
            fit_without=lesson.fit_without,
            answers=lambda fitted, places: lesson.trainer.answers(fitted, lesson.train.inputs[places]),
            quantize=functools.partial(_quantized, trained, lesson),
            report=lambda share: report("training without each fold", 0.35 + 0.3 * share),
        ),
        lesson.windows,
        fresh=schema.fresh_rows,
        devices=schema.devices,
        classes=len(schema.classes),
        seed=lesson.seed,
    )
    nominated = msgspec.msgpack.decode(Path(healing.nominated).read_bytes(), type=list[Nominated])
    fitting = [one for one in nominated if len(one.values) == 4 * len(schema.columns)]
    return Healed(
        fresh=lesson.windows.only(np.arange(len(lesson.windows) - schema.fresh_rows, len(lesson.windows))),
        unseen=unseen,
        left_out=left_out,
        inputs=unpack(healing.inputs) if healing.inputs else None,
        nominated=np.array([np.frombuffer(one.values, "<f4") for one in fitting], dtype=np.float32).reshape(
            len(fitting), len(schema.columns)
        ),
        weights=np.array([one.weight for one in fitting], dtype=np.float64),
    )
