"""Which failures each operation may end in, as its OpenAPI document says; all of them are problem documents.

What follows from an operation's shape is worked out here; what is its own is said at its route, with `may_fail`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

MEDIA_TYPE = "application/problem+json"

_WORDS = {
    401: "No token, or one that opens nothing.",
    403: "A token whose role may not do this.",
    404: "Something that is named is not there.",
    409: "The present state does not allow it.",
    412: "It is another edition by now than the one that was seen.",
    413: "The body is larger than what is taken.",
    416: "No range that can be had.",
    422: "A value cannot be used, or a parameter is not known; `errors` names each.",
}


def may_fail(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route."""
    return {str(status): _failure(_WORDS[status]) for status in statuses}


def promise(document: dict[str, Any]) -> None:
    """Write the failures of all operations into an OpenAPI document; what is there already stays."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            for status in _failures(method, path, operation):
                responses.setdefault(str(status), _failure(_WORDS[status]))
            responses["5XX"] = _failure("The server cannot answer now, or has a bug.")


def _failures(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[int]:
    parameters = operation.get("parameters", ())
    has_body = "requestBody" in operation
    if "security" in operation:
        yield from (401, 403)
    if "{" in path or has_body or any(one["in"] == "query" for one in parameters):
        yield 404
    if method != "get":
        yield 409
    if any(one["name"] == "If-Match" for one in parameters):
        yield 412
    if has_body:
        yield 413


def _failure(words: str) -> dict[str, Any]:
    return {"description": words, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


#: For every route: FastAPI's own 422 is none of ours.
EVERYWHERE = may_fail(422)
