"""A query parameter that an operation does not have is refused by name: a typing error must not widen a question.

What a body holds beside its fields is refused by the shapes (`edgeops.api.shapes.shape.Request`).
"""

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from edgeops.api.shapes import FieldProblem
from fleet_server.api.problems import FieldError

#: Of unknown names, so many are told.
_TOLD = 10


def _refuse_unknown(request: Request) -> None:
    """Nothing, when the operation has every parameter of the query.

    Raises:
        FieldError: it has not.
    """
    if not request.query_params:
        return
    known = _names(request.scope["route"].dependant)
    unknown = sorted({*request.query_params} - known)
    if unknown:
        there = ", ".join(sorted(known)) or "none"
        detail = f"no such parameter of {request.method} {request.url.path}; there are: {there}"
        raise FieldError(*(FieldProblem(pointer=name[:80], detail=detail) for name in unknown[:_TOLD]))


KNOWN_ALONE = Depends(_refuse_unknown)


def _names(dependant: Dependant) -> set[str]:
    """Of all query parameters, those of what it depends on included."""
    own = {str(one.alias) for one in dependant.query_params}
    return own.union(*(_names(one) for one in dependant.dependencies))
