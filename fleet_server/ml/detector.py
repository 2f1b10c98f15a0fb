"""Builds anomaly detectors: learns what is normal, sets the threshold, and shows int8 how far it must be able to see.

What is learnt comes from training windows that are normal or that nobody labelled, the threshold from such validation
windows. Nothing is stored or published here.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel, InputWindow
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.errors import ConfigError, DatasetError
from edgeops.learning.anomaly import ANOMALY
from edgeops.model.distance import Distance, learn_from_windows
from edgeops.model.preprocess import transform_rows
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml.alarm_examiner import AlarmExaminer
from fleet_server.ml.assembly import assemble_all
from fleet_server.ml.frames import Build, Built
from fleet_server.ml.framework import library_versions, load_tensorflow
from fleet_server.ml.recipes import distance as recipe
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.recipes.rounding import rounded
from fleet_server.ml.recipes.scaling import CLIP
from fleet_server.ml.trained import Trained
from fleet_server.ml.watching import window_channels
from fleet_server.ml.windows import Windows, cut_windows, paced

Doubles = NDArray[np.float64]

#: The share of normal validation windows that are nearer than what the margin is counted from.
QUANTILE = 0.99
#: An int8 score reaches so many times the threshold: beyond it an alarm is an alarm, and 64 steps are left below.
_REACH = 4.0
_NORMAL_INPUTS, _FAR_INPUTS = 200, 100


def build_detector(task: Build, snapshot: SnapshotFile, report: Callable[[str, float], None]) -> Built:
    """Write the artifacts of all variants into `task.destination`.

    Raises:
        InputError: the dataset or an option does not fit.
    """
    if task.recipe is not RecipeName.DISTANCE:
        raise ConfigError(f"recipe {task.recipe} does not learn anomalies; use recipe distance")
    if task.epochs is not None:
        raise ConfigError("recipe distance learns in one step; leave out --epochs")
    schema = snapshot.schema
    plan = recipe.plan(schema, snapshot.only(Split.TRAIN).readings(schema), task.options)
    if plan.window is not None:
        plan = replace(plan, window=paced(plan.window, snapshot.rows))
    windows = cut_windows(snapshot, plan.window or InputWindow(columns=snapshot.schema.columns))
    normal = _normal(windows.only(Split.TRAIN), plan, "to learn from")
    distance = learn_from_windows(normal)
    assert plan.margin is not None, "a detector's plan has one"
    held_back = _normal(windows.only(Split.VALIDATION), plan, "to set the threshold by")
    threshold = _threshold(distance, held_back, margin=plan.margin)
    report("loading TensorFlow", 0.05)
    tf = load_tensorflow()
    trained = Trained(
        task=task,
        windows=windows,
        plan=plan,
        learned=None,
        channels=_channels(snapshot.schema, normal),
        calibration=_calibration(distance, normal, threshold, seed=task.seed),
        libraries=library_versions(),
        threshold=threshold,
    )
    return assemble_all(trained, AlarmExaminer(trained), tf, lambda: recipe.network(tf, distance), report=report)


def _channels(schema: Schema, normal: NDArray[np.float32]) -> tuple[Channel, ...]:
    """All normal windows are alike, so of many columns none tells more than another."""
    return window_channels(schema.task, schema.columns, normal, np.zeros(len(normal), np.float32))


def _normal(windows: Windows, plan: Plan, what_for: str) -> NDArray[np.float32]:
    """Preprocessed (n, rows, columns) of those that are whole and not known to be anomalous."""
    usable = (windows.targets != ANOMALY) & ~np.isnan(windows.values).any(axis=(1, 2))
    if not usable.any():
        raise DatasetError(f"there is no whole window {what_for} that is normal or unlabelled; hold out fewer rows")
    chosen = windows.values[usable]
    rows = transform_rows(chosen.reshape(-1, chosen.shape[-1]), plan.preprocess, missing=plan.missing)
    return rows.reshape(chosen.shape)


def _threshold(distance: Distance, windows: NDArray[np.float32], *, margin: float) -> float:
    """The score of nearly all normal windows that were not learnt from, times the margin."""
    scores = np.square(_mapped(distance, windows)).sum(axis=1)
    return rounded(float(np.quantile(scores, QUANTILE)) * margin)


def _calibration(
    distance: Distance, windows: NDArray[np.float32], threshold: float, *, seed: int
) -> NDArray[np.float32]:
    """Normal windows, and some moved as far as an int8 score shall reach: once along each channel of the map, then
    anywhere.

    What is beyond the ranges of these is cut off, so that all steps are spent where the threshold lies.
    """  # noqa: D205 - one sentence
    random = np.random.default_rng(seed)
    chosen = windows[random.permutation(len(windows))[:_NORMAL_INPUTS]]
    axes = np.eye(len(distance.offset))
    anywhere = random.normal(size=(_FAR_INPUTS, len(axes)))
    directions = np.concatenate([axes, -axes, anywhere / np.linalg.norm(anywhere, axis=1, keepdims=True)])
    moved = chosen[np.arange(len(directions)) % len(chosen)]
    missing = np.sqrt(_REACH * threshold) * directions - _mapped(distance, moved)
    shifts = np.linalg.solve(distance.matrix, missing.T).T
    far = np.clip(moved + shifts[:, np.newaxis].astype(np.float32), -CLIP, CLIP)
    return np.ascontiguousarray(np.concatenate([chosen, far]).astype(np.float32))


def _mapped(distance: Distance, windows: NDArray[np.float32]) -> Doubles:
    """(n, channels): where their means (n, rows, channels) lie."""
    mapped: Doubles = windows.mean(axis=1, dtype=np.float64) @ distance.matrix.T + distance.offset
    return mapped
