"""The starter model: a small, judged artifact that comes with the package, so that a fresh site has something to run.

A camera that reads handwritten digits, trained by the recipe and seed that its card names. `make starter-model` makes
the files beside this module; they enter a data folder as if the server had trained them there: snapshot, run, version,
signature. TensorFlow is not needed for it.
"""

import gzip
from datetime import datetime
from importlib import resources

import msgspec

from edgeops.artifact.manifest import Descriptor, decode_descriptor, target_path
from edgeops.data.schema import Schema
from edgeops.learning.environment import Environment
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import audit, datasets, models, runs
from fleet_server.db.database import Database
from fleet_server.publish import publish

#: Of the dataset, the model and the deployment.
NAME = "starter"
VERSION = 1
ARTIFACT, DESCRIPTOR, SNAPSHOT, RUN = "artifact.tflite", "descriptor.json", "snapshot.npz.gz", "run.json"


class StarterRun(msgspec.Struct, frozen=True, kw_only=True):
    """How the files beside this module came about."""

    recipe: str
    seed: int
    epochs: int | None
    schema: Schema
    tflite_bytes: int
    #: Of the quantized variant.
    metrics: dict[str, float]
    environment: Environment


def install(config: ServerConfig, database: Database, *, now: datetime) -> None:
    """Make the starter model version 1 of a model of its own, published; harmless to repeat."""
    with database.read() as connection:
        known = models.artifact_by_digest(connection, descriptor().digest)
    if known is None:
        _add(config, database, now=now)
    if known is None or known.published_at is None:
        publish(config, database, NAME, VERSION, variant=None, published_by=audit.STARTER, now=now)


def descriptor() -> Descriptor:
    """What the packaged artifact says of itself."""
    return decode_descriptor(_read(DESCRIPTOR))


def starter_run() -> StarterRun:
    """How it was made and judged."""
    return msgspec.json.decode(_read(RUN), type=StarterRun)


def _add(config: ServerConfig, database: Database, *, now: datetime) -> None:
    blobs, run, described = Blobs(config), starter_run(), descriptor()
    rows = gzip.decompress(_read(SNAPSHOT))
    artifact = blobs.put(_read(ARTIFACT))
    snapshot = blobs.put(rows)
    assert artifact == described.digest, "the packaged files belong together"
    assert snapshot == described.manifest.lineage.snapshot, "the packaged files belong together"
    variant = described.manifest.variant
    with database.write() as connection:
        datasets.add_snapshot(
            connection, NAME, snapshot, size_bytes=len(rows), schema=run.schema, created_by=audit.STARTER, now=now
        )
        runs.start(
            connection,
            described.run,
            job_id=NAME,
            model=NAME,
            snapshot=snapshot,
            recipe=run.recipe,
            seed=run.seed,
            parameters={"epochs": run.epochs},
            environment=run.environment,
            now=now,
        )
        runs.succeed(
            connection,
            described.run,
            metrics={variant.value: run.metrics},
            calibration=described.manifest.lineage.calibration,
            now=now,
        )
        models.add_version(connection, NAME, VERSION, task=described.manifest.task, run_id=described.run, now=now)
        models.add_artifact(
            connection,
            models.Artifact(
                digest=artifact,
                model=NAME,
                version=VERSION,
                variant=variant,
                size_bytes=described.size_bytes,
                tflite_bytes=run.tflite_bytes,
                target=target_path(described.manifest),
                descriptor=_read(DESCRIPTOR),
                created_at=now,
                published_at=None,
                withdrawn_at=None,
            ),
        )


def _read(name: str) -> bytes:
    return (resources.files(__name__) / name).read_bytes()
