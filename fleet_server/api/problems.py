"""Turns every failure into a problem document (RFC 9457), whoever failed.

The tree of `edgeops.errors` decides the status; a bug is a 500 that tells nothing about the inside.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from edgeops.api.shapes import FieldProblem, Problem
from edgeops.errors import (
    AccessError,
    ConflictError,
    EdgeOpsError,
    InputError,
    NotFoundError,
    PeerError,
    PlatformError,
)
from edgeops.rollout.objection import segment
from fleet_server.api.promises import MEDIA_TYPE, promise
from fleet_server.db.database import DataError

#: As RFC 9110 has them now, whatever the Python version calls them.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}

_log = logging.getLogger(__name__)


class FieldError(InputError):
    """Fields of a request cannot be used, each for a reason of its own."""

    def __init__(self, *problems: FieldProblem) -> None:
        told = [(one.pointer, one.detail) for one in problems]
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in told), fields=told)


class StaleError(ConflictError):
    """The thing is no longer what the caller saw (If-Match)."""


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as an answer."""
    problem = Problem(
        title=_TITLES.get(status, HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        instance=instance,
        errors=tuple(errors),
    )
    left_out = set() if errors else {"errors"}
    return Response(
        problem.model_dump_json(exclude=left_out), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Let `app` answer every failure with a problem document, and say so in its OpenAPI document."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for shape in (FieldProblem, Problem):
            schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.pop("$defs", None)
            schemas.setdefault(shape.__name__, schema)
        promise(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(EdgeOpsError, _answer_error)
    app.add_exception_handler(DataError, _answer_value)
    app.add_exception_handler(Exception, _answer_bug)


def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = (FieldProblem(pointer=_pointer(one["loc"]), detail=one["msg"]) for one in error.errors())
    return _answer_error(request, FieldError(*problems))


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 400:
        # A body that FastAPI or Starlette cannot take apart is a value that cannot be used, as any other.
        return _answer_error(request, FieldError(FieldProblem(pointer="#", detail=detail)))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    if detail == HTTPStatus(error.status_code).phrase:
        detail = _unsaid(request, error.status_code)
    return problem_response(error.status_code, detail, instance=request.url.path, headers=headers)


def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EdgeOpsError)
    errors = tuple(FieldProblem(pointer=pointer, detail=detail) for pointer, detail in error.fields)
    status = _status(error)
    if status >= 500:
        _log.error("api.failed path=%s error=%s", request.url.path, error)
    return problem_response(status, str(error), instance=request.url.path, errors=errors)


def _answer_value(request: Request, error: Exception) -> Response:
    assert isinstance(error, DataError)
    detail = f"the database cannot keep a value of this request: {error.orig}"
    return problem_response(422, detail, instance=request.url.path)


def _answer_bug(request: Request, _error: Exception) -> Response:
    # uvicorn logs the trace: Starlette raises the error again after this answer.
    return problem_response(500, "the server has a bug; its log says more", instance=request.url.path)


def _status(error: EdgeOpsError) -> int:
    match error:
        case AccessError():
            return 403
        case NotFoundError():
            return 404
        case ConflictError():
            return 412 if isinstance(error, StaleError) else 409
        case InputError() | PeerError():
            return 422
        case PlatformError():
            return 503
        case _:
            return 500


def _methods(request: Request) -> list[str]:
    """What the path takes (RFC 9110, 10.2.1): Starlette tells the methods of one route of it alone."""
    paths = request.app.openapi()["paths"]
    here = [request.url.path] if request.url.path in paths else paths
    found = (paths[path] for path in here if compile_path(path)[0].match(request.url.path))
    return sorted({method.upper() for operations in found for method in operations})


def _unsaid(request: Request, status: int) -> str:
    match status:
        case 404:
            return f"nothing is at {request.url.path}"
        case 405:
            return f"{request.url.path} does not take {request.method}"
        case _:
            return HTTPStatus(status).description


def _pointer(location: Sequence[str | int]) -> str:
    """`("body", "seed")` is `#/seed` (RFC 6901, 6); a parameter is its name."""
    place, *rest = location
    if place != "body":
        return ".".join(str(part) for part in rest)
    return "#" + "".join("/" + segment(str(part)) for part in rest)
