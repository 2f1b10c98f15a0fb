"""Made-up machines whose readings move together, until a fault parts them."""

from dataclasses import replace

import numpy as np

from edgeops.artifact.manifest import Task
from edgeops.data.cleaning import UNLABELLED
from edgeops.data.splits import Split
from fleet_server.datasets.snapshot import SnapshotFile, split_rows_of
from tests.ml.numbers import number_snapshot

_SPLITS = (Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.EVALUATION)
ROWS = 600
#: Rows of each machine that are faulty.
FAULT = slice(400, 520)


def write_machines(*, labelled: bool = True) -> SnapshotFile:
    """Four machines of three columns, second by second."""
    random = np.random.default_rng(31)
    tables = []
    for _ in _SPLITS:
        load = np.convolve(random.normal(size=ROWS + 19), np.ones(20) / 4, "valid")
        pressure, flow = 5 + 0.2 * load, 100 + 8 * load + 3 * random.normal(size=ROWS)
        flow[FAULT] -= 15
        tables.append(np.column_stack([pressure, flow, 40 + random.normal(size=ROWS)]))
    faulty = np.tile(np.isin(np.arange(ROWS), np.arange(ROWS)[FAULT]), len(_SPLITS))
    snapshot = number_snapshot(np.concatenate(tables), np.arange(len(faulty)), units="")
    groups = np.repeat(np.arange(len(_SPLITS)), ROWS)
    splits = np.array(_SPLITS, np.uint8)[groups]
    times = np.tile(np.arange(ROWS) * 10**9, len(_SPLITS))
    targets = faulty.astype(np.int64) if labelled else np.full(len(faulty), UNLABELLED)
    rows = replace(snapshot.rows, groups=groups, times=times, targets=targets)
    names = tuple(f"pump{number}" for number in range(len(_SPLITS)))
    snapshot = replace(snapshot, rows=rows, splits=splits, groups=names)
    return snapshot.with_schema(task=Task.ANOMALY, label="fault", split_rows=split_rows_of(splits))
