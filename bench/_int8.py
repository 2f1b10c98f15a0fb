"""Trains what the int8 rows judge: every recipe on data that is at hand, the public research data where it is.

Not a row. Trainings run in the product's own worker, three seeds each, once per run of the benchmark.
"""

import atexit
import functools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench import _skab
from edgeops.artifact.manifest import Manifest, Task
from edgeops.artifact.package import open_artifact, tflite_part
from edgeops.data.splits import Split
from edgeops.learning.anomaly import ANOMALY
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import SnapshotFile, encode_snapshot
from fleet_server.ml import frames
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.supervisor import Worker
from fleet_server.ml.windows import Windows, cut_windows
from tests.data.skab import dealt_within, snapshot_of
from tests.imported import import_file
from tests.ml.machines import write_machines
from tests.ml.numbers import number_snapshot
from tests.ml.signals import write_waves

SEEDS = (0, 1, 2)
_TIMEOUT = timedelta(minutes=10)
#: Of the runs of the water loop, each with detectors of its own.
_EVERY_RUN = 12

Doubles = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pair:
    """Both variants of one training, and the windows that judge them."""

    what: str
    recipe: RecipeName
    seed: int
    float32: bytes
    int8: bytes
    evaluation: Windows
    #: Of a regression: the mean error of always answering the median of what was learnt.
    baseline: float

    @property
    def task(self) -> Task:
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(self.int8)
            file.flush()
            manifest: Manifest = open_artifact(Path(file.name)).manifest
        return manifest.task

    def worth(self, variant: str) -> Doubles:
        """What each answer through `Model.predict` is worth (n,): 1 if it is right, as is an alarm, or none, if it is.

        A number is worth its error as a share of the baseline, below 0.
        """
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(self.int8 if variant == "int8" else self.float32)
            file.flush()
            model = Model.load(Path(file.name))
        said = [model.predict(window) for window in self.evaluation.values]
        answers, truths = np.array([one.answer for one in said]), self.evaluation.targets
        match model.manifest.task:
            case Task.CLASSIFICATION:
                return np.asarray(answers == truths, np.float64)
            case Task.REGRESSION:
                return -np.abs(answers - truths) / self.baseline
            case Task.ANOMALY:
                return np.asarray(np.array([one.alarm for one in said]) == (truths == ANOMALY), np.float64)

    def tflite(self, variant: str) -> bytes:
        """The file without its zip."""
        return tflite_part(self.int8 if variant == "int8" else self.float32)


@dataclass(frozen=True)
class _Source:
    what: str
    recipe: RecipeName
    snapshot: Callable[[], SnapshotFile]
    options: dict[str, float | str] = field(default_factory=dict)


@functools.cache
def pairs() -> tuple[Pair, ...]:
    """Every training of every dataset that is at hand."""
    folder = Path(tempfile.mkdtemp(prefix="bench-int8-"))
    worker = Worker(stop=threading.Event())
    atexit.register(worker.close)
    try:
        return tuple(_train(worker, folder, source, seed) for source in _sources() for seed in SEEDS)
    finally:
        worker.close()


def is_whole() -> bool:
    """Whether the research data is there."""
    return _research().exists()


def _sources() -> Iterator[_Source]:
    yield _Source("digits", RecipeName.CNN, _digits)
    yield _Source("made-up waves", RecipeName.SIGNALS, write_waves, {"window": "32", "stride": "8"})
    yield _Source(
        "made-up waves, hertz",
        RecipeName.SIGNALS,
        functools.partial(write_waves, numbers=True),
        {"window": "32", "stride": "8"},
    )
    for recipe in (RecipeName.DISTANCE, RecipeName.AUTOENCODER):
        yield _Source("made-up pumps", recipe, write_machines, {"window": "20", "stride": "5"})
    if not is_whole():
        return
    yield _Source("gas", RecipeName.DENSE, _gas)
    yield _Source("gas, ppm", RecipeName.DENSE, _ppm)
    yield _Source("occupancy", RecipeName.DENSE, _occupancy)
    yield _Source("wisdm", RecipeName.DENSE, _wisdm)
    yield _Source("spoken digits", RecipeName.SPECTROGRAM, _words)
    for recipe in (RecipeName.DISTANCE, RecipeName.AUTOENCODER):
        for run in _skab.read_runs(_skab.data_path())[::_EVERY_RUN]:
            of_run = functools.partial(snapshot_of, [run], [dealt_within(run)])
            yield _Source("skab, single runs", recipe, of_run, {"window": "30", "stride": "1"})


def _research() -> Path:
    return Path(os.environ.get("EDGEOPS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def _digits() -> SnapshotFile:
    from sklearn.datasets import load_digits

    bundled = load_digits()
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, X=bundled.images.astype(np.float32), y=bundled.target)
        file.flush()
        return import_file(Path(file.name), file_name="digits.npz", label="y")


def _gas() -> SnapshotFile:
    return import_file(
        _research() / "gas_drift" / "gas_drift.npz", file_name="gas_drift.npz", label="gas", where=("batch=1,2",)
    )


def _ppm() -> SnapshotFile:
    with np.load(_research() / "gas_drift" / "gas_drift.npz") as source:
        first = source["batch"] <= 2
        return number_snapshot(source["X"][first], source["ppm"][first])


def _occupancy() -> SnapshotFile:
    file = _research() / "occupancy" / "occupancy.csv.gz"
    return import_file(file, file_name=file.name, label="Occupancy", exclude=("part", "date", "Light"))


def _wisdm() -> SnapshotFile:
    file = _research() / "wisdm_windows" / "wisdm_windows.csv.gz"
    return import_file(file, file_name=file.name, label="class", exclude=("UNIQUE_ID",), group="user", split="group")


def _words() -> SnapshotFile:
    """As docs/tutorials/fsdd.md makes them: a second each, the official test held out."""
    with np.load(_research() / "fsdd" / "fsdd_mulaw_8k.npz") as source:
        volume = source["mulaw"] / 127.5 - 1
        sound = 32767 * np.sign(volume) * (256 ** np.abs(volume) - 1) / 255
        clips = np.zeros((len(source["length"]), 8000), np.int16)
        ends = np.cumsum(source["length"])
        for clip, end, length in zip(clips, ends, source["length"], strict=True):
            clip[:length] = sound[end - length : end]
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, X=clips, digit=source["digit"], take=source["take"])
            file.flush()
            return import_file(
                Path(file.name),
                file_name="words.npz",
                label="digit",
                clip_hz=8000,
                group="take",
                split="group",
                held_out=("0", "1", "2", "3", "4"),
            )


def _train(worker: Worker, folder: Path, source: _Source, seed: int) -> Pair:
    snapshot = source.snapshot()
    file = folder / "snapshot"
    file.write_bytes(encode_snapshot(snapshot))
    task = frames.Build(
        snapshot=str(file),
        snapshot_digest="sha256:" + "0" * 64,
        model="bench",
        version=1,
        run="bench",
        recipe=source.recipe,
        seed=seed,
        epochs=None,
        options=source.options,
        commit="",
        built_at="",
        host="",
        destination=str(folder),
    )
    ending = worker.run(task, timeout=_TIMEOUT, on_progress=lambda _: None)
    assert isinstance(ending, frames.Built), f"{source.what}: {ending}"
    files = {built.variant.value: Path(built.file) for built in ending.variants}
    windows = cut_windows(snapshot, open_artifact(files["int8"]).manifest.window)
    evaluation, learnt = windows.only(Split.EVALUATION), windows.only(Split.TRAIN).targets
    return Pair(
        what=source.what,
        recipe=source.recipe,
        seed=seed,
        float32=files["float32"].read_bytes(),
        int8=files["int8"].read_bytes(),
        evaluation=evaluation,
        baseline=float(np.abs(evaluation.targets - np.median(learnt)).mean()),
    )
