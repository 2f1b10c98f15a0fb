"""Made-up recordings: waves of different frequency from several machines, row by row."""

from dataclasses import replace

import numpy as np

from edgeops.artifact.manifest import Task
from edgeops.data.splits import Split
from fleet_server.datasets.snapshot import SnapshotFile, split_rows_of
from tests.ml.numbers import number_snapshot

HERTZ = 50.0
#: Of the classes, in hertz; their readings have one mean and one spread.
FREQUENCIES = (1.5, 4.0, 9.0)
CLASSES = ("calm", "brisk", "shaking")
_SPLITS = (Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.EVALUATION)


def write_waves(*, rows: int = 300, columns: int = 2, noise: float = 0.3, numbers: bool = False) -> SnapshotFile:
    """Five machines that run `rows` rows in each class; one stops the training and one judges.

    `numbers`: the frequency is to be learnt, not the class.
    """
    random = np.random.default_rng(21)
    values, classes, groups = list[np.ndarray](), list[int](), list[int]()
    seconds = np.arange(rows) / HERTZ
    for machine in range(len(_SPLITS)):
        for kind, frequency in enumerate(FREQUENCIES):
            phase = random.uniform(0, 2 * np.pi, size=columns)
            values.append(np.sin(2 * np.pi * frequency * seconds[:, None] + phase))
            classes += [kind] * rows
            groups += [machine] * rows
    table = np.concatenate(values)
    table += noise * random.normal(size=table.shape)
    snapshot = number_snapshot(table, np.array(FREQUENCIES)[classes], units="Hz")
    splits = np.array(_SPLITS, np.uint8)[groups]
    times = (np.arange(len(table)) % (rows * len(CLASSES)) / HERTZ * 1e9).astype(np.int64)
    data = replace(snapshot.rows, groups=np.array(groups), times=times)
    snapshot = replace(snapshot, rows=data, splits=splits, groups=tuple(f"pump{n}" for n in range(len(_SPLITS))))
    snapshot = snapshot.with_schema(split_rows=split_rows_of(splits))
    if numbers:
        return snapshot
    counts = tuple(np.bincount(classes).tolist())
    snapshot = replace(snapshot, rows=replace(data, targets=np.array(classes)))
    return snapshot.with_schema(task=Task.CLASSIFICATION, units="", classes=CLASSES, class_rows=counts)
