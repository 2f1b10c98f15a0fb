"""Runs of the Skoltech Anomaly Benchmark as snapshots, dealt for a detector of each run or one of all."""

from dataclasses import replace

import numpy as np

from bench import _skab
from edgeops.artifact.manifest import Task
from edgeops.data.splits import Split
from fleet_server.datasets.snapshot import SnapshotFile, split_rows_of, statistics_of
from tests.ml.numbers import number_snapshot

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
