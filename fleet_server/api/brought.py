"""Models that people bring: an upload becomes a version, judged on the rows of a dataset."""

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from edgeops import limits
from edgeops.api.shapes import BroughtRequest, FieldProblem, Job, checked
from edgeops.artifact.manifest import Variant
from edgeops.model.brought import Instructions
from fleet_server.api.callers import Scientist
from fleet_server.api.datasets import known_snapshot
from fleet_server.api.once import Act, OnceOf
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
from fleet_server.db.jobs import Bring

router = APIRouter(prefix="/models", tags=["models"], route_class=Act)

_FIELDS = fields_of(BroughtRequest)


@router.post("", status_code=202, response_model=Job, openapi_extra=form_document("name", "dataset", **_FIELDS))
async def bring_model(server: ServerOf, caller: Scientist, request: Request, once: OnceOf) -> Job | Response:
    """Upload a .tflite, a .keras or a zip of a SavedModel folder; a job makes a version of it, unpublished."""
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS) as form:
        file = file_of(form, what="a .tflite, a .keras or a zip of a SavedModel folder")
        wanted = _fields(form)
        instructions, variants = _instructions(wanted), _variants(wanted.variants)
        snapshot = await run_in_threadpool(_snapshot, server, wanted.dataset)
        digest = await keep(server, file, max_bytes=limits.MAX_BROUGHT_BYTES)
        job = Bring(
            model=wanted.name,
            upload=digest,
            file_name=name_of(file),
            snapshot=snapshot,
            instructions=instructions,
            variants=variants,
        )
    return await run_in_threadpool(
        once, lambda: queue_reading(server, caller, job), said=msgspec.json.encode(job), status=202
    )


def _snapshot(server: Server, dataset: str) -> str:
    with server.database.read() as connection:
        return known_snapshot(connection, dataset).digest


def _fields(form: FormData) -> BroughtRequest:
    fields = checked(BroughtRequest, {name: value for name, value in form.items() if name != "file"})
    if not isinstance(fields, BroughtRequest):
        raise FieldError(*fields)
    return fields


def _instructions(wanted: BroughtRequest) -> Instructions:
    said = {
        "labels": tuple(line.strip() for line in wanted.labels.splitlines() if line.strip()),
        "multiply": _numbers("multiply", wanted.multiply),
        "add": _numbers("add", wanted.add),
        "standardize": wanted.standardize,
        "window": wanted.window,
        "stride": wanted.stride,
        "answer": wanted.answer,
        "embedding": wanted.embedding,
        "threshold": wanted.threshold,
    }
    try:
        return msgspec.convert(said, Instructions)
    except msgspec.ValidationError as error:
        raise FieldError(FieldProblem(pointer="#", detail=str(error))) from error


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        detail = f"{text[:80]!r} is no list of numbers with commas, such as 0.1,0.2"
        raise FieldError(FieldProblem(pointer=f"#/{name}", detail=detail)) from error


def _variants(text: str) -> tuple[Variant, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in set(Variant)]
    if unknown:
        detail = f"there is no variant {unknown[0]!r}; there are {', '.join(Variant)}"
        raise FieldError(FieldProblem(pointer="#/variants", detail=detail))
    return tuple(Variant(name) for name in names)
