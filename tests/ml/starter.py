"""Makes the starter model that comes with the package: `make starter-model`."""

import gzip
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeops.artifact.manifest import Variant
from edgeops.learning.environment import Environment
from edgeops.local.scenarios.digits import Digits
from fleet_server import starter
from fleet_server.datasets.snapshot import read_snapshot
from fleet_server.db import runs
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.starter import StarterRun
from tests.ml.desk import Desk

SEED = 7


@dataclass(frozen=True)
class Made:
    """The files, as they lie in the package."""

    artifact: bytes
    descriptor: bytes
    snapshot: bytes
    run: StarterRun


def make(folder: Path) -> Made:
    """Import the digits and train on them through the server's own job desk."""
    desk = Desk(folder)
    try:
        digits = Digits()
        file = digits.write_dataset(folder, seed=SEED)
        imported = desk.load(file, starter.NAME, label=digits.label, hold_out=digits.hold_out, seed=SEED)
        job = desk.train(starter.NAME, RecipeName(digits.recipe), seed=SEED)
        artifact = desk.artifacts(job)[Variant.INT8]
        assert imported.result is not None
        snapshot = desk.blobs.path(imported.result["snapshot"])
        with desk.database.read() as connection:
            run = runs.get(connection, artifact.describe().run)
        assert run is not None
        return Made(
            artifact=desk.blobs.path(artifact.digest).read_bytes(),
            descriptor=artifact.descriptor,
            snapshot=snapshot.read_bytes(),
            run=StarterRun(
                recipe=digits.recipe,
                seed=SEED,
                epochs=None,
                schema=read_snapshot(snapshot).schema,
                tflite_bytes=artifact.tflite_bytes,
                metrics=run.metrics[Variant.INT8],
                environment=Environment(libraries=run.environment.libraries),
            ),
        )
    finally:
        desk.close()


def write(made: Made, folder: Path) -> None:
    """Put the files where the package has them."""
    (folder / starter.ARTIFACT).write_bytes(made.artifact)
    (folder / starter.DESCRIPTOR).write_bytes(made.descriptor)
    (folder / starter.SNAPSHOT).write_bytes(gzip.compress(made.snapshot, 9, mtime=0))
    (folder / starter.RUN).write_bytes(msgspec.json.format(msgspec.json.encode(made.run, order="sorted")) + b"\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="starter-") as workplace:
        write(make(Path(workplace)), Path(starter.__file__).parent)
    print(f"starter model, seed {SEED}: {starter.starter_run().metrics}", file=sys.stderr)
