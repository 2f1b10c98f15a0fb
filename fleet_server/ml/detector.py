"""Builds anomaly detectors: learns what is normal, sets the threshold, and shows int8 how far it must be able to see.

What is learnt comes from training windows that are normal or that nobody labelled, the threshold from such validation
windows. Nothing is stored or published here.
"""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.errors import ConfigError, DatasetError
from edgeops.learning.anomaly import ANOMALY
from edgeops.model.preprocess import transform_rows
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml.alarm_examiner import AlarmExaminer
from fleet_server.ml.assembly import assemble_all
from fleet_server.ml.champion import load_champions
from fleet_server.ml.distance_detector import DistanceDetector
from fleet_server.ml.frames import Build, Built
from fleet_server.ml.framework import library_versions, load_tensorflow
from fleet_server.ml.network_detector import NetworkDetector
from fleet_server.ml.recipes.catalog import Recipe
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.recipes.rounding import rounded
from fleet_server.ml.report import Report
from fleet_server.ml.representative import representative_of
from fleet_server.ml.trained import Trained
from fleet_server.ml.training import Learned
from fleet_server.ml.watching import window_channels
from fleet_server.ml.windows import Windows, cut_windows, paced

Floats = NDArray[np.float32]

#: The share of normal validation windows that score less than what the margin is counted from.
QUANTILE = 0.99
#: An int8 score reaches so many times the threshold: beyond it an alarm is an alarm, and 64 steps are left below.
_REACH = 4.0
_NORMAL_INPUTS = 200


class Detector(Protocol):
    """What was learnt of normal windows; windows are preprocessed, float32 (n, rows, columns)."""

    @property
    def learned(self) -> Learned | None:
        """How training in steps went."""

    def scores(self, windows: Floats) -> NDArray[np.float64]:
        """Of each window (n,), unquantized."""

    def far(self, windows: Floats, *, score: float, random: np.random.Generator) -> Floats:
        """Some of them moved in every direction until they score that much."""

    def network(self) -> Any:
        """A new Keras model of batch size 1 with outputs [score, embedding]."""


def build_detector(task: Build, recipe: Recipe, snapshot: SnapshotFile, report: Report) -> Built:
    """Write the artifacts of all variants into `task.destination`.

    Raises:
        InputError: the dataset or an option does not fit.
    """
    if task.folds is not None:
        raise ConfigError("an anomaly detector learns from normal rows alone, so folds of them say little; no --folds")
    schema, rows = snapshot.schema, snapshot.only(Split.TRAIN)
    plan = recipe.plan(schema, rows.readings(schema), rows.targets, task.options)
    if task.epochs is not None:
        if not plan.epochs:
            raise ConfigError(f"recipe {task.recipe} learns in one step; leave out --epochs")
        plan = replace(plan, epochs=task.epochs)
    margin = plan.margin
    if margin is None:
        raise ConfigError(f"recipe {task.recipe} decides no margin, so nothing says where an alarm begins")
    if plan.window is not None:
        plan = replace(plan, window=paced(plan.window, snapshot))
    windows = cut_windows(snapshot, plan.window or snapshot.schema.window())
    normal = _normal(windows.only(Split.TRAIN), plan, "to learn from")
    held_back = _normal(windows.only(Split.VALIDATION), plan, "to set the threshold by")
    report("loading TensorFlow", 0.05)
    tf = load_tensorflow()
    report("training", 0.15)
    detector: Detector
    if recipe.network is None:
        detector = DistanceDetector.learn(tf, normal)
    else:
        detector = NetworkDetector.learn(
            tf,
            recipe.network,
            plan,
            normal=normal,
            held_back=held_back,
            seed=task.seed,
            report=lambda one: report("training", 0.15 + 0.5 * one.number / plan.epochs, one),
        )
    threshold = rounded(float(np.quantile(detector.scores(held_back), QUANTILE)) * margin)
    representative = representative_of(_calibration(detector, normal, threshold, seed=task.seed), normal)
    trained = Trained(
        task=task,
        windows=windows,
        plan=plan,
        learned=detector.learned,
        channels=_channels(snapshot.schema, normal),
        calibration=representative.inputs,
        calibration_words=(representative.words,),
        calibration_warnings=representative.warnings,
        libraries=library_versions(),
        threshold=threshold,
    )
    champions = load_champions(task, windows)
    built = assemble_all(trained, AlarmExaminer(trained, champions), tf, detector.network, report=report)
    champions.close()
    return built


def _channels(schema: Schema, normal: Floats) -> tuple[Channel, ...]:
    """All normal windows are alike, so of many columns none tells more than another."""
    return window_channels(schema.task, schema.window().measured, normal, np.zeros(len(normal), np.float32))


def _normal(windows: Windows, plan: Plan, what_for: str) -> Floats:
    """Preprocessed (n, rows, columns) of those that are whole and not known to be anomalous."""
    usable = (windows.targets != ANOMALY) & ~np.isnan(windows.values).any(axis=(1, 2))
    if not usable.any():
        raise DatasetError(f"there is no whole window {what_for} that is normal or unlabelled; hold out fewer rows")
    chosen = windows.values[usable]
    rows = transform_rows(chosen.reshape(-1, chosen.shape[-1]), plan.preprocess, missing=plan.missing)
    return rows.reshape(chosen.shape)


def _calibration(detector: Detector, windows: Floats, threshold: float, *, seed: int) -> Floats:
    """Normal windows, and some moved as far as an int8 score shall reach.

    What is beyond the ranges of these is cut off, so that all steps are spent where the threshold lies.
    """
    random = np.random.default_rng(seed)
    chosen = windows[random.permutation(len(windows))[:_NORMAL_INPUTS]]
    far = detector.far(chosen, score=_REACH * threshold, random=random)
    return np.ascontiguousarray(np.concatenate([chosen, far]).astype(np.float32))
