"""Snapshots whose rows have numbers to learn, and what the worker's own code builds of them."""

from pathlib import Path

import numpy as np

from edgeops.artifact.manifest import Descriptor, Task, Variant, decode_descriptor
from edgeops.data.cells import NO_MOMENT, NO_NAME
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.digest import digest_bytes
from fleet_server.datasets.snapshot import (
    FORMAT,
    IMPORTED,
    Rows,
    SnapshotFile,
    encode_snapshot,
    statistics_of,
)
from fleet_server.ml import frames
from fleet_server.ml.recipes.names import RecipeName


def number_snapshot(
    values: np.ndarray, numbers: np.ndarray, *, units: str = "ppm", hold_out: float = 0.2, shape: tuple[int, ...] = ()
) -> SnapshotFile:
    """Rows (n, columns) and a number of each (n,), dealt over the splits by chance."""
    rows, columns = values.shape
    order = np.random.default_rng(0).permutation(rows)
    splits = np.full(rows, Split.TRAIN, np.uint8)
    held = int(hold_out * rows)
    splits[order[:held]], splits[order[held : held + rows // 8]] = Split.EVALUATION, Split.VALIDATION
    data = Rows(
        ids=np.arange(rows),
        values=values.astype(np.float32),
        targets=numbers.astype(np.float32),
        origins=np.full(rows, IMPORTED, np.int64),
        groups=np.full(rows, NO_NAME, np.int64),
        slices=np.empty((rows, 0), np.int64),
        times=np.full(rows, NO_MOMENT, np.int64),
    )
    schema = Schema(
        format=FORMAT,
        task=Task.REGRESSION,
        label="level",
        units=units,
        columns=tuple(f"X{column}" for column in range(columns)),
        shape=shape or (columns,),
        classes=(),
        rows=rows,
        split_rows=tuple(int((splits == split).sum()) for split in Split),  # type: ignore[arg-type]
        class_rows=(),
        statistics=statistics_of(data.values, np.flatnonzero(splits == Split.TRAIN)),
        source="sha256:" + "0" * 64,
        where=(),
        hold_out=hold_out,
        seed=0,
    )
    return SnapshotFile(schema=schema, rows=data, splits=splits)


def write_levels(*, rows: int = 800, decades: bool = False, noise: float = 0.05) -> SnapshotFile:
    """Four columns that tell a level around 0, or around 100 where it spans decades."""
    random = np.random.default_rng(5)
    values = random.uniform(-1.7, 1.7, size=(rows, 4))
    level = values[:, 0] + np.tanh(2 * values[:, 1]) + noise * random.normal(size=rows)
    return number_snapshot(values, 10 ** ((level + 3) / 1.7) if decades else level, units="ppm" if decades else "bar")


class Built:
    """The artifacts of one training."""

    def __init__(
        self, folder: Path, snapshot: SnapshotFile, *, champion: "Built | None" = None, **task: object
    ) -> None:
        from fleet_server.ml.build import build

        folder.mkdir(parents=True, exist_ok=True)
        self.snapshot, data = snapshot, encode_snapshot(snapshot)
        self.snapshot_file = file = folder / "snapshot.npz"
        file.write_bytes(data)
        given: dict[str, object] = {
            "snapshot": str(file), "snapshot_digest": digest_bytes(data), "model": "level", "version": 1, "run": "run-1",
            "recipe": RecipeName.DENSE, "seed": 0, "epochs": None, "options": {}, "commit": "", "built_at": "",
            "host": "", "destination": str(folder),
        }  # fmt: skip
        if champion is not None:
            given["champion"] = {variant: str(path) for variant, path in champion.files.items()}
            given["champion_snapshot"] = str(champion.snapshot_file)
        built = build(frames.Build(**{**given, **task}), lambda *_: None)  # type: ignore[arg-type]
        self.folds, self.shares = built.folds, built.shares
        self.scrutiny = {one.variant: one.scrutiny for one in built.variants}
        self.files = {one.variant: Path(one.file) for one in built.variants}
        self.descriptors: dict[Variant, Descriptor] = {
            one.variant: decode_descriptor(one.descriptor) for one in built.variants
        }
