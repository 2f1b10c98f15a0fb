"""The jobs that read an uploaded file: into an immutable snapshot, or only to tell what it holds."""

import msgspec

from fleet_server.db import datasets, jobs
from fleet_server.db.jobs import ImportDataset, InspectFile, Job
from fleet_server.ml import frames
from fleet_server.wall_clock import utc_now
from fleet_server.workshop import Workshop


def import_dataset(shop: Workshop, job: Job, request: ImportDataset) -> None:
    """See an import through.

    Raises:
        DatasetError: the file cannot be learnt from; the message says what is wrong and where.
    """
    with shop.workplace() as folder:
        file, refused = folder / "snapshot.npz", folder / "refused.jsonl.gz"
        task = frames.Import(
            source=str(shop.blobs.path(request.upload)),
            file_name=request.file_name,
            rules=request.rules,
            destination=str(file),
            quarantine=str(refused),
        )
        ending = shop.work(job, task)
        assert isinstance(ending, frames.Imported), ending
        if ending.schema.quarantine is not None:
            shop.keep_quarantine(refused, ending.schema.quarantine)
        digest, size_bytes = shop.keep_snapshot(file)
    with shop.database.write() as connection:
        snapshot = datasets.add_snapshot(
            connection,
            request.name,
            digest,
            size_bytes=size_bytes,
            schema=ending.schema,
            created_by=job.created_by,
            now=utc_now(),
        )
        schema = snapshot.schema
        result = {
            "dataset": request.name,
            "snapshot": digest,
            "rows": schema.rows,
            "columns": len(schema.columns),
            "classes": list(schema.classes),
            "train_rows": schema.split_rows[0],
            "validation_rows": schema.split_rows[1],
            "evaluation_rows": schema.split_rows[2],
            "refused": {reason.value: rows for reason, rows in schema.refused.items()},
            "warnings": list(schema.warnings),
        }
        jobs.succeed(connection, job.id, result=result, now=utc_now())


def inspect_file(shop: Workshop, job: Job, request: InspectFile) -> None:
    """See an inspection through: the job's result is an `edgeops.data.inspection.Inspection`.

    Raises:
        DatasetError: the file as a whole cannot be read.
    """
    task = frames.Inspect(source=str(shop.blobs.path(request.upload)), file_name=request.file_name)
    ending = shop.work(job, task)
    assert isinstance(ending, frames.Inspected), ending
    shop.succeed(job, msgspec.to_builtins(ending.inspection))
