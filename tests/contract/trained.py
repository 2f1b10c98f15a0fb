"""A tiny dataset and a version trained on it, put into a data folder without training anything."""

import csv
import gzip
from datetime import datetime
from pathlib import Path

import msgspec

from edgeops.artifact.manifest import Descriptor, Promotion, Task, Variant, encode_value, target_path
from edgeops.artifact.package import tflite_part
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.datasets.snapshot import SnapshotFile, encode_snapshot
from fleet_server.db import datasets, models, runs
from fleet_server.db.database import Database
from tests.golden.tiny import COLUMNS, LABELS, tiny_artifact, tiny_descriptor, tiny_rows
from tests.imported import import_file

MODEL = "tiny"
DATASET = "tiny-rows"
GROUPED = "grouped-rows"
REFUSED = "refused-rows"
PASSED = Promotion(passed=True)


def add_dataset(config: ServerConfig, database: Database, now: datetime, *, rows: int = 600) -> str:
    """Its snapshot's digest; one label in 25 is wrong, so that no model gets all of them right."""
    values, classes = tiny_rows(rows, seed=3)
    classes[::25] = (classes[::25] + 1) % len(LABELS)
    file = Path(config.run) / "tiny.csv"
    with file.open("w", newline="") as content:
        lines = csv.writer(content)
        lines.writerow((*COLUMNS, "label"))
        lines.writerows((*row, LABELS[one]) for row, one in zip(values.tolist(), classes, strict=True))
    return _keep(config, database, now, DATASET, import_file(file, file_name=file.name, label="label"))


def add_grouped(config: ServerConfig, database: Database, now: datetime) -> str:
    """A dataset of five groups, g1 to g5; its snapshot's digest."""
    return _keep(config, database, now, GROUPED, _grouped(config))


def add_refused(config: ServerConfig, database: Database, now: datetime) -> str:
    """A dataset of whose file rows were refused; its snapshot's digest."""
    quarantine = Blobs(config).put(gzip.compress(b"{}"))
    return _keep(config, database, now, REFUSED, _grouped(config).with_schema(quarantine=quarantine))


def _grouped(config: ServerConfig) -> SnapshotFile:
    file = Path(config.run) / "grouped.csv"
    rows = [f"{row % 11},{'ab'[row // 5 % 2]},g{1 + row % 5}" for row in range(100)]
    file.write_text("\n".join(["x,label,who", *rows]))
    return import_file(file, file_name=file.name, label="label", group="who")


def _keep(config: ServerConfig, database: Database, now: datetime, name: str, snapshot: SnapshotFile) -> str:
    data = encode_snapshot(snapshot)
    digest = Blobs(config).put(data)
    with database.write() as connection:
        datasets.add_snapshot(
            connection, name, digest, size_bytes=len(data), schema=snapshot.schema, created_by="test", now=now
        )
    return digest


def add_version(
    config: ServerConfig,
    database: Database,
    version: int,
    now: datetime,
    *,
    snapshot: str,
    artifact: bytes | None = None,
    promotion: Promotion = PASSED,
    job: str = "job-1",
) -> Descriptor:
    """A version that nobody published, of one int8 artifact; `job` made it."""
    data = artifact or tiny_artifact(MODEL, version, Variant.INT8)
    descriptor = msgspec.structs.replace(tiny_descriptor(data), promotion=promotion)
    Blobs(config).put(data)
    with database.write() as connection:
        run = f"run-{version:04d}"
        runs.start(
            connection,
            run,
            job_id=job,
            model=MODEL,
            snapshot=snapshot,
            recipe="dense",
            seed=0,
            parameters={},
            now=now,
        )
        models.add_version(connection, MODEL, version, task=Task.CLASSIFICATION, run_id=run, now=now)
        models.add_artifact(
            connection,
            models.Artifact(
                digest=descriptor.digest,
                model=MODEL,
                version=version,
                variant=Variant.INT8,
                size_bytes=len(data),
                tflite_bytes=len(tflite_part(data)),
                target=target_path(descriptor.manifest),
                descriptor=encode_value(descriptor),
                created_at=now,
                published_at=None,
                withdrawn_at=None,
            ),
        )
    return descriptor
