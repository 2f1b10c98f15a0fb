"""The recipe `distance` on the Skoltech Anomaly Benchmark: what an int8 file finds in runs that it never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import _skab
from edgeops.artifact.manifest import Task, Variant
from edgeops.data.splits import Split
from fleet_server.datasets.snapshot import SnapshotFile, split_rows_of, statistics_of
from fleet_server.ml.recipes.names import RecipeName
from tests.data.folder import data_folder
from tests.ml.numbers import Built, number_snapshot

pytestmark = pytest.mark.data

#: Every fifth of the runs that are learnt from stops instead: it sets the threshold.
_VALIDATION_EVERY = 5
_NO_SPLIT = -1


def snapshot_of(runs: list[_skab.Run], splits: list[np.ndarray]) -> SnapshotFile:
    """Rows of runs, each dealt as its `splits` (rows,) say; a row of no split is left out."""
    kept = [dealt >= 0 for dealt in splits]
    dealt = np.concatenate([of[rows] for of, rows in zip(splits, kept, strict=True)]).astype(np.uint8)
    snapshot = number_snapshot(
        np.concatenate([run.rows[rows] for run, rows in zip(runs, kept, strict=True)]), np.arange(len(dealt))
    )
    anomalous = np.concatenate([run.anomalous[rows] for run, rows in zip(runs, kept, strict=True)])
    groups = np.repeat(np.arange(len(runs)), [rows.sum() for rows in kept])
    rows_of = replace(snapshot.rows, groups=groups, targets=anomalous.astype(np.int64))
    snapshot = replace(snapshot, rows=rows_of, splits=dealt, groups=tuple(run.name for run in runs))
    return snapshot.with_schema(
        task=Task.ANOMALY,
        split_rows=split_rows_of(dealt),
        statistics=statistics_of(rows_of.values, np.flatnonzero(dealt == Split.TRAIN)),
    )


def dealt_among(runs: list[_skab.Run]) -> list[np.ndarray]:
    """Learnt from: the first 400 rows of every other run; judged: what follows these rows in the other runs."""
    splits = []
    for number, run in enumerate(runs):
        of = np.full(len(run.rows), _NO_SPLIT)
        if number % 2:
            of[_skab.LEARNING_ROWS :] = Split.EVALUATION
        else:
            is_held = number // 2 % _VALIDATION_EVERY == 0
            of[: _skab.LEARNING_ROWS] = Split.VALIDATION if is_held else Split.TRAIN
        splits.append(of)
    return splits


def dealt_within(run: _skab.Run) -> np.ndarray:
    """Learnt from: its first 300 rows; the next 100 set the threshold, and the rest judge."""
    rows = np.arange(len(run.rows))
    return np.where(rows < 300, Split.TRAIN, np.where(rows < _skab.LEARNING_ROWS, Split.VALIDATION, Split.EVALUATION))


def test_the_int8_file_tells_faults_of_runs_it_never_saw_from_normal_rows(tmp_path: Path) -> None:
    runs = _skab.read_runs(data_folder() / "skab" / "skab.csv.gz")
    asked = {"window": "30", "stride": "1", "margin": "1"}
    built = Built(tmp_path, snapshot_of(runs, dealt_among(runs)), recipe=RecipeName.DISTANCE, options=asked)
    for variant, descriptor in built.descriptors.items():
        figures = descriptor.manifest.metrics
        print(variant, descriptor.manifest.output.threshold, figures, *descriptor.promotion.rules, sep="\n  ")
    float32, int8 = (built.descriptors[variant].manifest.metrics for variant in (Variant.FLOAT32, Variant.INT8))
    assert int8["auc"] > 0.5
    assert int8["f1"] == pytest.approx(float32["f1"], abs=0.01)


def test_detectors_of_single_runs_find_their_faults_in_int8_as_in_float(tmp_path: Path) -> None:
    runs = _skab.read_runs(data_folder() / "skab" / "skab.csv.gz")[::7]
    counts = {variant: np.zeros(4) for variant in (Variant.FLOAT32, Variant.INT8)}
    for run in runs:
        folder = tmp_path / run.name.replace("/", "-")
        snapshot = snapshot_of([run], [dealt_within(run)])
        built = Built(folder, snapshot, recipe=RecipeName.DISTANCE, options={"window": "30", "stride": "1"})
        for variant, descriptor in built.descriptors.items():
            figures = descriptor.manifest.metrics
            anomalies, normal = figures["anomalies"], figures["rows"] - figures["anomalies"]
            hits, false = anomalies * figures["recall"], normal * figures["false-alarm-rate"]
            counts[variant] += np.array([hits, anomalies, false, normal])
    for variant, (hits, anomalies, false, normal) in counts.items():
        print(f"{variant}: F1 {2 * hits / (hits + false + anomalies):.3f}, false alarms in {false / normal:.1%}")
    found = {variant: 2 * one[0] / (one[0] + one[2] + one[1]) for variant, one in counts.items()}
    assert found[Variant.INT8] == pytest.approx(found[Variant.FLOAT32], abs=0.01)
    assert found[Variant.INT8] > 0.7
