"""Datasets: uploads become snapshots, snapshots give their rows back."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.datastructures import FormData

from edgeops import limits
from edgeops.api.shapes import (
    Dataset,
    DatasetDifference,
    DatasetRequest,
    FieldProblem,
    ForgetRequest,
    GroupKnowledge,
    ImportPreviewRequest,
    Job,
    LearntVersion,
    Page,
    Snapshot,
    Split,
    WorkPreview,
    checked,
    shape_of,
)
from edgeops.data import splits
from edgeops.data.difference import difference
from edgeops.data.paths import CLASS, is_folder
from edgeops.data.rules import Rules, read_rules
from edgeops.errors import DatasetError, NotFoundError
from fleet_server.access import Identity
from fleet_server.api.callers import VIEWER, Approver, Scientist
from fleet_server.api.jobs import preview_of, queue_job
from fleet_server.api.once import Act, OnceOf
from fleet_server.api.pages import PagingOf
from fleet_server.api.problems import FieldError
from fleet_server.api.server import Server, ServerOf
from fleet_server.api.uploads import (
    MAX_FIELDS,
    MAX_FILES,
    fields_of,
    file_of,
    form_document,
    keep,
    name_of,
    queue_reading,
)
from fleet_server.datasets import snapshot as snapshots
from fleet_server.db import datasets
from fleet_server.db.database import Connection
from fleet_server.db.jobs import Forget, ImportDataset, InspectFile
from fleet_server.forgetting import knowledge
from fleet_server.known_work import known_job

router = APIRouter(prefix="/datasets", tags=["data"], route_class=Act)

_WANTED = "CSV, JSONL, Parquet, npz, or a zipped folder"
_FIELDS = fields_of(DatasetRequest)


@router.post(
    "",
    status_code=202,
    response_model=Job,
    openapi_extra=form_document("name", **_FIELDS),
)
async def import_dataset(server: ServerOf, caller: Scientist, request: Request, once: OnceOf) -> Job | Response:
    """Upload CSV, JSONL, Parquet, npz, or a zipped folder of pictures or recordings; a job makes a snapshot of it.

    The form is read here and not by a parameter, so that nobody uploads before their role was checked.
    """
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS) as form:
        file = file_of(form, what=_WANTED)
        wanted = _fields(form)
        rules = _rules(wanted, name_of(file))
        digest = await keep(server, file, max_bytes=limits.MAX_UPLOAD_BYTES)
        job = ImportDataset(name=wanted.name, upload=digest, file_name=name_of(file), rules=rules)
    return await run_in_threadpool(
        once, lambda: queue_reading(server, caller, job), said=msgspec.json.encode(job), status=202
    )


@router.post("/inspect", status_code=202, response_model=Job, openapi_extra=form_document())
async def inspect_file(server: ServerOf, caller: Scientist, request: Request, once: OnceOf) -> Job | Response:
    """Upload a file to be looked at: the job's result tells of each column and proposes rules; nothing is kept."""
    async with request.form(max_files=MAX_FILES, max_fields=0) as form:
        file = file_of(form, what=_WANTED)
        job = InspectFile(upload=await keep(server, file, max_bytes=limits.MAX_UPLOAD_BYTES), file_name=name_of(file))
    return await run_in_threadpool(
        once, lambda: queue_reading(server, caller, job), said=msgspec.json.encode(job), status=202
    )


@router.post("/preview", dependencies=[VIEWER])
def preview_import(server: ServerOf, wanted: ImportPreviewRequest) -> WorkPreview:
    """Whether the same file was imported by the same rules and code, and nothing else since; nothing is queued."""
    fields = DatasetRequest(name=wanted.name, rules=wanted.rules)
    job = ImportDataset(
        name=wanted.name, upload=wanted.file, file_name=wanted.file_name, rules=_rules(fields, wanted.file_name)
    )
    with server.database.read() as connection:
        return preview_of(known_job(connection, job))


@router.get("", dependencies=[VIEWER])
def list_datasets(server: ServerOf, paging: PagingOf) -> Page[Dataset]:
    """All datasets, by name."""
    with server.database.read() as connection:
        rows = datasets.page(connection, paging.after(str), paging.wanted)
        heads = datasets.heads(connection, [row.name for row in rows])
    return paging.page(rows, key=lambda row: row.name, shape=lambda row: _dataset(row, heads.get(row.name)))


@router.get("/{name}", dependencies=[VIEWER])
def read_dataset(server: ServerOf, name: str) -> Dataset:
    """One dataset with its snapshots."""
    with server.database.read() as connection:
        dataset = datasets.get(connection, name)
        if dataset is None:
            raise unknown_dataset(name)
        head = datasets.head(connection, name)
        every = datasets.page_snapshots(connection, name)
    return _dataset(dataset, head, every)


@router.get("/{name}/rows", dependencies=[VIEWER], response_class=Response)
async def read_rows(
    server: ServerOf,
    name: str,
    *,
    split: Split = Split.EVALUATION,
    labels: Annotated[bool, Query(description="The labels (CSV) instead of the rows (npz).")] = False,
) -> Response:
    """The rows of a split of the newest snapshot without their labels, as npz; or their labels, as CSV."""
    # Each holds a whole snapshot in memory; who waits here holds no thread.
    async with server.exporting:
        return await run_in_threadpool(_export, server, name, splits.Split[split.name], labels=labels)


@router.get("/{name}/difference", dependencies=[VIEWER])
def read_difference(
    server: ServerOf,
    name: str,
    to: Annotated[str, Query(max_length=100, description="A dataset (its newest snapshot), or a snapshot's digest.")],
) -> DatasetDifference:
    """How another snapshot differs from this one: a dataset's newest, or a snapshot by its digest."""
    with server.database.read() as connection:
        old, new = (known_snapshot(connection, one) for one in (name, to))
    found = msgspec.to_builtins(difference(old.schema, new.schema))
    return DatasetDifference(old=old.digest, new=new.digest, **found)


@router.get("/{name}/quarantine", dependencies=[VIEWER], response_class=FileResponse)
def read_quarantine(server: ServerOf, name: str) -> FileResponse:
    """The refused rows of the newest snapshot (gzip JSONL): line, reason, column, value and the row as it was read."""
    quarantine = known_head(server, name).schema.quarantine
    if quarantine is None:
        raise NotFoundError(f"no row was refused when dataset {name[:80]!r} was imported")
    return FileResponse(server.blobs.path(quarantine), media_type="application/gzip")


@router.get("/{name}/groups", dependencies=[VIEWER])
def read_group(
    server: ServerOf,
    name: str,
    group: Annotated[str, Query(min_length=1, max_length=200, description="A device or person.")],
) -> GroupKnowledge:
    """Which snapshots hold rows of a group, and which versions of models learnt from them."""
    with server.database.read() as connection:
        known = knowledge(connection, server.blobs, name, group)
    return GroupKnowledge(
        dataset=name,
        group=group,
        is_in_head=known.is_in_head,
        snapshots=tuple(one.digest for one in known.snapshots),
        versions=tuple(shape_of(LearntVersion, one) for one in known.versions),
    )


@router.post("/{name}/forget", status_code=202)
def forget_group(server: ServerOf, caller: Scientist, name: str, wanted: ForgetRequest) -> Job:
    """Make a snapshot without a group the newest; the job's result names the models that learnt from the group."""
    return _queue_forgetting(server, caller, name, wanted, erase=False)


@router.post("/{name}/erase", status_code=202)
def erase_group(server: ServerOf, caller: Approver, name: str, wanted: ForgetRequest) -> Job:
    """Forget a group and delete the snapshots that hold it: what learnt from these can no longer be reproduced."""
    return _queue_forgetting(server, caller, name, wanted, erase=True)


def _queue_forgetting(server: Server, caller: Identity, name: str, wanted: ForgetRequest, *, erase: bool) -> Job:
    with server.database.read() as connection:
        knowledge(connection, server.blobs, name, wanted.group)
    return queue_job(server, caller, Forget(dataset=name, group=wanted.group, erase=erase))


def _export(server: Server, name: str, split: splits.Split, *, labels: bool) -> Response:
    content = snapshots.read_snapshot(server.blobs.path(known_head(server, name).digest))
    if labels:
        return Response(snapshots.export_labels(content, split), media_type="text/csv; charset=utf-8")
    return Response(snapshots.export_rows(content, split), media_type="application/x-npz")


def known_head(server: Server, name: str) -> datasets.Snapshot:
    """The newest snapshot of a dataset.

    Raises:
        NotFoundError: there is no such dataset, or it has no snapshot.
    """
    with server.database.read() as connection:
        head = datasets.head(connection, name)
    if head is None:
        raise unknown_dataset(name)
    return head


def known_snapshot(connection: Connection, name: str) -> datasets.Snapshot:
    """The newest snapshot of a dataset, or the one of a digest.

    Raises:
        NotFoundError: there is none.
    """
    if name.startswith("sha256:"):
        found = datasets.get_snapshot(connection, name)
        if found is None:
            raise NotFoundError(f"no snapshot {name[:80]}; edgeops dataset show NAME --json lists those of a dataset")
        return found
    head = datasets.head(connection, name)
    if head is None:
        raise unknown_dataset(name)
    return head


def unknown_dataset(name: str) -> NotFoundError:
    """The error for a dataset that nobody imported."""
    return NotFoundError(f"no dataset {name[:80]!r}; list them with: edgeops dataset list")


def _fields(form: FormData) -> DatasetRequest:
    """The fields beside the file; `where` may come several times."""
    values: dict[str, object] = {name: value for name, value in form.items() if name != "file"}
    if "where" in values:
        values["where"] = form.getlist("where")
    fields = checked(DatasetRequest, values)
    if not isinstance(fields, DatasetRequest):
        raise FieldError(*fields)
    return fields


def _rules(wanted: DatasetRequest, file_name: str) -> Rules:
    """The rules of the file with what was given beside it."""
    lists = {name: getattr(wanted, name) for name in ("slices", "clock", "features", "exclude", "held_out")}
    given = wanted.model_dump(exclude={"name", "rules", "where", "size", *lists})
    try:
        return read_rules(
            wanted.rules,
            **given,
            **{name: None if text is None else _list(text) for name, text in lists.items()},
            where=wanted.where or None,
            size=None if wanted.size is None else tuple(int(side) for side in wanted.size.split("x")),
            otherwise=CLASS if is_folder(file_name) else "",
        )
    except DatasetError as error:
        raise FieldError(FieldProblem(pointer="#/rules", detail=str(error))) from error


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _dataset(
    dataset: datasets.Dataset, head: datasets.Snapshot | None, every: Sequence[datasets.Snapshot] | None = None
) -> Dataset:
    return Dataset(
        name=dataset.name,
        created_at=dataset.created_at,
        created_by=dataset.created_by,
        head=None if head is None else _snapshot(head),
        snapshots=None if every is None else tuple(_snapshot(one) for one in reversed(every)),
    )


def _snapshot(snapshot: datasets.Snapshot) -> Snapshot:
    return Snapshot(
        digest=snapshot.digest,
        dataset=snapshot.dataset,
        parent=snapshot.parent,
        created_at=snapshot.created_at,
        rows=snapshot.rows,
        size_bytes=snapshot.size_bytes,
        erased_at=snapshot.erased_at,
        details=msgspec.to_builtins(snapshot.schema),
    )
