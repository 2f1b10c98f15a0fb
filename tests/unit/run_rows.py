"""A training that is over, as rows: what the versions in a database without jobs come from."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from edgeops.artifact.manifest import Task
from edgeops.data.schema import FORMAT, Schema
from edgeops.digest import digest_bytes
from fleet_server.db import tables

#: Of a snapshot that nobody reads.
SCHEMA = Schema(
    format=FORMAT, task=Task.CLASSIFICATION, label="label", units="", columns=("x",), shape=(1,), classes=("a", "b"),
    rows=1, split_rows=(1, 0, 0), class_rows=(1, 0), statistics=(), source=digest_bytes(b"file"), where=(),
    hold_out=0.2, seed=0,
)  # fmt: skip


def add_run(connection: Connection, model: str, now: datetime) -> str:
    """The run's id."""
    snapshot = digest_bytes(b"snapshot")
    connection.execute(tables.datasets.insert().values(name=model, created_at=now, created_by="me"))
    connection.execute(
        tables.snapshots.insert().values(
            digest=snapshot, dataset=model, created_at=now, rows=1, size_bytes=1, schema=msgspec.to_builtins(SCHEMA)
        )
    )
    connection.execute(
        tables.runs.insert().values(
            id="run-1",
            job_id="job-1",
            model=model,
            snapshot=snapshot,
            recipe="dense",
            seed=0,
            parameters={},
            variants=["float32", "int8"],
            environment={},
            metrics={},
            judgement={},
            state="succeeded",
            created_at=now,
        )
    )
    return "run-1"
