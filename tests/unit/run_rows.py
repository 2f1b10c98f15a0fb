"""A training that is over, as rows: what the versions in a database without jobs come from."""

from datetime import datetime

from sqlalchemy import Connection

from edgeops.digest import digest_bytes
from fleet_server.db import tables


def add_run(connection: Connection, model: str, now: datetime) -> str:
    """The run's id."""
    snapshot = digest_bytes(b"snapshot")
    connection.execute(tables.datasets.insert().values(name=model, created_at=now, created_by="me"))
    connection.execute(
        tables.snapshots.insert().values(
            digest=snapshot, dataset=model, created_at=now, rows=1, size_bytes=1, schema={}
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
