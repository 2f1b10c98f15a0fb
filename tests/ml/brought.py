"""Bringing a model without a server: rows that the tiny models answer, and the task that a worker gets."""

from pathlib import Path

import numpy as np

from edgeops.digest import digest_file
from edgeops.model.brought import Instructions
from fleet_server.datasets.snapshot import write_snapshot
from fleet_server.ml.bring import bring
from fleet_server.ml.frames import Bring, Built
from tests.golden.tiny import COLUMNS, LABELS, tiny_rows
from tests.imported import import_file


class Place:
    """A snapshot in a folder, and models brought to it."""

    def __init__(self, folder: Path, *, rows: int = 600) -> None:
        values, classes = tiny_rows(rows, seed=3)
        self.folder = folder
        self.snapshot = write_rows(folder, values, np.array(LABELS)[classes])

    def task(self, file: Path, *, snapshot: Path | None = None, patience_s: float = 60.0, **said: object) -> Bring:
        destination = self.folder / f"made-{len(list(self.folder.glob('made-*')))}"
        destination.mkdir()
        of = snapshot or self.snapshot
        return Bring(
            source=str(file),
            source_digest=digest_file(file),
            file_name=file.name,
            instructions=Instructions(**({"labels": LABELS} | said)),
            snapshot=str(of),
            snapshot_digest=digest_file(of),
            model="tiny",
            version=1,
            run="run-1",
            commit="",
            built_at="2026-01-01T00:00:00Z",
            host="here",
            destination=str(destination),
            patience_s=patience_s,
        )

    def bring(self, file: Path, *, snapshot: Path | None = None, **said: object) -> Built:
        return bring(self.task(file, snapshot=snapshot, **said), lambda *_: None)


def write_rows(folder: Path, values: np.ndarray, targets: np.ndarray, **rules: object) -> Path:
    """A snapshot of rows (n, 4) and what is to be learnt of each."""
    table = folder / f"rows-{len(list(folder.glob('rows-*.npz')))}.npz"
    columns = {name: values[:, place] for place, name in enumerate(COLUMNS)}
    np.savez(table, label=targets, **columns)
    snapshot = table.with_suffix(".snapshot")
    write_snapshot(import_file(table, file_name=table.name, label="label", features=COLUMNS, **rules), snapshot)
    return snapshot
