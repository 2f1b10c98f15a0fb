"""Uploaded files: kept among the blobs, and the jobs that read them queued while they are there."""

from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from edgeops.api.shapes import FieldProblem, Job
from edgeops.api.shapes.shape import Request
from edgeops.errors import ConflictError
from fleet_server.access import Identity
from fleet_server.api.jobs import queue_job
from fleet_server.api.problems import FieldError
from fleet_server.api.server import Server
from fleet_server.db.jobs import Reading

#: One file, and each field a few times.
MAX_FILES = 1
MAX_FIELDS = 100


def form_document(*required: str, **fields: Any) -> dict[str, Any]:
    """The body of an upload, for the OpenAPI document."""
    properties = {"file": {"type": "string", "format": "binary"}, **fields}
    schema = {"type": "object", "required": ["file", *required], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def fields_of(shape: type[Request]) -> dict[str, Any]:
    """The fields of a request for the OpenAPI document, each whole: a body that is written by hand has no `$defs`."""
    document = shape.model_json_schema()
    found: dict[str, Any] = _whole(document["properties"], document.get("$defs", {}))
    return found


def _whole(part: Any, definitions: dict[str, Any]) -> Any:
    match part:
        case {"$ref": str(place), **rest}:
            return _whole(definitions[place.removeprefix("#/$defs/")] | rest, definitions)
        case dict():
            return {name: _whole(one, definitions) for name, one in part.items()}
        case list():
            return [_whole(one, definitions) for one in part]
        case _:
            return part


def file_of(form: FormData, *, what: str) -> UploadFile:
    """The file of a form; `what` it should be, in words.

    Raises:
        FieldError: there is none.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise FieldError(FieldProblem(pointer="#/file", detail=f"Field required: {what}"))
    return file


def name_of(file: UploadFile) -> str:
    """How its sender calls it."""
    return (file.filename or "upload")[:200]


async def keep(server: Server, file: UploadFile, *, max_bytes: int) -> str:
    """Put it among the blobs: its digest.

    Raises:
        InputError: it has more bytes.
    """
    digest, _ = await run_in_threadpool(server.blobs.put_file, file.file, max_bytes=max_bytes)
    return digest


def queue_reading(server: Server, caller: Identity, request: Reading) -> Job:
    """Queue a job for a file that was kept.

    Raises:
        ConflictError: it was cleared away meanwhile.
    """
    # The write lock keeps the file from being cleared away meanwhile.
    with server.database.together(), server.database.write():
        if not server.blobs.exists(request.upload):
            raise ConflictError("a job for the very same file ended this moment and cleared it away; send it again")
        return queue_job(server, caller, request)
