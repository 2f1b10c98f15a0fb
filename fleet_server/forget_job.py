"""The job that makes a dataset forget a group; an erasure also deletes what older snapshots hold of it.

What a model learnt stays in it: the result names these versions, so that a person retrains and withdraws them.
"""

from dataclasses import asdict

from edgeops.data.schema import Schema
from edgeops.protocol.messages import Digest
from fleet_server.db import audit, datasets, jobs, runs
from fleet_server.db.jobs import Forget, Job
from fleet_server.forgetting import Knowledge, knowledge
from fleet_server.ml import frames
from fleet_server.wall_clock import utc_now
from fleet_server.workshop import Workshop


def forget(shop: Workshop, job: Job, request: Forget) -> None:
    """See it through.

    Raises:
        NotFoundError: no snapshot of the dataset knows the group.
        DatasetError: without the group nothing can be learnt.
    """
    with shop.database.read() as connection:
        known = knowledge(connection, shop.blobs, request.dataset, request.group)
    made = _forget(shop, job, request, known) if known.is_in_head else None
    now, gone = utc_now(), list[str]()
    with shop.database.write() as connection:
        head = known.head
        if made is not None:
            schema, digest, size_bytes = made
            head = datasets.add_snapshot(
                connection,
                request.dataset,
                digest,
                size_bytes=size_bytes,
                schema=schema,
                created_by=job.created_by,
                now=now,
            )
        if request.erase:
            gone = datasets.erase(connection, [one.digest for one in known.snapshots], now)
            runs.forget_groups(connection, gone)
        holders = [one.digest for one in known.snapshots]
        result = {
            "dataset": request.dataset,
            "group": request.group,
            "snapshot": head.digest,
            "rows": head.rows,
            "forgotten_rows": known.head.rows - head.rows,
            "snapshots": holders,
            "erased": request.erase,
            "versions": [asdict(one) for one in known.versions],
            "warnings": [
                f"{one.model}@{one.version} learnt from rows that are gone: it can no longer be reproduced"
                for one in known.versions
                if request.erase
            ],
        }
        decided = {"group": request.group, "job": job.id, "snapshots": holders, "head": head.digest}
        what = "dataset.group-erased" if request.erase else "dataset.group-forgotten"
        audit.append(connection, job.created_by, what, request.dataset, decided, now)
        jobs.succeed(connection, job.id, result=result, now=now)
    # After the books say so: what a crash leaves here, the next start deletes.
    for digest in gone:
        shop.blobs.remove(digest)


def _forget(shop: Workshop, job: Job, request: Forget, known: Knowledge) -> tuple[Schema, Digest, int]:
    """The new snapshot among the blobs: its schema, digest and size."""
    quarantine = known.head.schema.quarantine
    with shop.workplace() as folder:
        task = frames.Forget(
            parent=str(shop.blobs.path(known.head.digest)),
            group=request.group,
            quarantine=None if quarantine is None else str(shop.blobs.path(quarantine)),
            destination=str(folder),
        )
        ending = shop.work(job, task)
        assert isinstance(ending, frames.Imported), ending
        if ending.schema.quarantine is not None:
            shop.keep_quarantine(folder / "refused.jsonl.gz", ending.schema.quarantine)
        digest, size_bytes = shop.keep_snapshot(folder / "snapshot.npz")
    return ending.schema, digest, size_bytes
