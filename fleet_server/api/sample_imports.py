"""Datasets of what devices sent as samples and people labelled."""

from fastapi import APIRouter

from edgeops import limits
from edgeops.api.shapes import FieldProblem, Job, SampleImportRequest
from edgeops.data.rules import Rules, SplitBy
from fleet_server.api.callers import Scientist
from fleet_server.api.jobs import queue_job
from fleet_server.api.once import Act
from fleet_server.api.problems import FieldError
from fleet_server.api.server import ServerOf
from fleet_server.db.jobs import ImportDataset
from fleet_server.sample_rows import DEVICE, LABEL, MOMENT, labelled_rows

router = APIRouter(prefix="/datasets", tags=["data"], route_class=Act)


@router.post("/samples", status_code=202)
def import_samples(server: ServerOf, caller: Scientist, wanted: SampleImportRequest) -> Job:
    """Make a dataset of the labelled samples of a model: its columns, the label, the device as group; a job does it."""
    rows = labelled_rows(server.database, wanted.model, wanted.slices)
    by_time = wanted.split is SplitBy.TIME
    try:
        rules = Rules(
            label=LABEL,
            group=DEVICE,
            slices=wanted.slices,
            time=MOMENT if by_time else "",
            features=rows.columns,
            split=wanted.split,
            hold_out=wanted.hold_out,
            seed=wanted.seed,
        )
    except ValueError as error:
        raise FieldError(FieldProblem(pointer="#", detail=str(error))) from error
    # The write lock keeps the file from being cleared away before the job names it.
    with server.database.together(), server.database.write():
        upload, _ = server.blobs.put_chunks(rows.lines(), max_bytes=limits.MAX_UPLOAD_BYTES)
        name = f"samples of {wanted.model}.jsonl"
        return queue_job(server, caller, ImportDataset(name=wanted.name, upload=upload, file_name=name, rules=rules))
