"""Trains what the int8 rows judge: the digits of the demonstration, and gas sensors where the research data is.

Not a row. Trainings run in the product's own worker, three seeds each, once per run of the benchmark.
"""

import atexit
import functools
import os
import tempfile
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edgeops.artifact.package import tflite_part
from edgeops.data.splits import Split
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import Rows, encode_snapshot, read_snapshot
from fleet_server.ml import frames
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.supervisor import Worker
from tests.imported import import_file

SEEDS = (0, 1, 2)
_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Pair:
    """Both variants of one training, and the rows that judge them."""

    what: str
    seed: int
    float32: bytes
    int8: bytes
    evaluation: Rows

    def right(self, variant: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows a variant answers rightly, through `Model.predict`."""
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(self.int8 if variant == "int8" else self.float32)
            file.flush()
            model = Model.load(Path(file.name))
        answers = [int(model.predict(row[np.newaxis]).answer) for row in self.evaluation.values]
        return np.array(answers) == self.evaluation.classes

    def tflite(self, variant: str) -> bytes:
        """The file without its zip."""
        return tflite_part(self.int8 if variant == "int8" else self.float32)


@functools.cache
def pairs() -> tuple[Pair, ...]:
    """Every training of every dataset that is at hand."""
    folder = Path(tempfile.mkdtemp(prefix="bench-int8-"))
    worker = Worker(stop=threading.Event())
    atexit.register(worker.close)
    try:
        sources = [_digits(folder), *_gas()]
        return tuple(_train(worker, folder, source, seed) for source in sources for seed in SEEDS)
    finally:
        worker.close()


def datasets() -> str:
    """Names of what was trained on, for a row's `inside`."""
    return ", ".join(dict.fromkeys(pair.what for pair in pairs()))


_Source = tuple[str, Path, dict[str, Any], RecipeName]


def _digits(folder: Path) -> _Source:
    from sklearn.datasets import load_digits

    bundled = load_digits()
    path = folder / "digits.npz"
    np.savez(path, X=bundled.images.astype(np.float32), y=bundled.target)
    return "digits cnn", path, {"label": "y"}, RecipeName.CNN


def _gas() -> list[_Source]:
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("EDGEOPS_TEST_DATA", default)) / "gas_drift" / "gas_drift.npz"
    return [("gas dense", path, {"label": "gas", "where": ("batch=1,2",)}, RecipeName.DENSE)] if path.exists() else []


def _train(worker: Worker, folder: Path, source: _Source, seed: int) -> Pair:
    what, path, options, recipe = source
    snapshot = folder / "snapshot"
    snapshot.write_bytes(encode_snapshot(import_file(path, file_name=path.name, **options)))
    task = frames.Build(
        snapshot=str(snapshot),
        snapshot_digest="sha256:" + "0" * 64,
        model="bench",
        version=1,
        run="bench",
        recipe=recipe,
        seed=seed,
        epochs=None,
        options={},
        commit="",
        built_at="",
        host="",
        destination=str(folder),
    )
    ending = worker.run(task, timeout=_TIMEOUT, on_progress=lambda _: None)
    assert isinstance(ending, frames.Built), f"{what}: {ending}"
    files = {built.variant.value: Path(built.file).read_bytes() for built in ending.variants}
    evaluation = read_snapshot(snapshot).only(Split.EVALUATION)
    return Pair(what=what, seed=seed, float32=files["float32"], int8=files["int8"], evaluation=evaluation)
