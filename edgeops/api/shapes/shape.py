"""What shapes are made of: answers and requests, pages, problems, and the values they share.

It names no resource.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from edgeops import limits
from edgeops.errors import MessageError


def _no_number(value: object) -> object:
    """A number is no moment: it would be seconds or milliseconds since 1970, whichever is nearer."""
    text = value if isinstance(value, str) else ""
    if isinstance(value, int | float) or text.strip().lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("a moment is written as in 2026-11-23T12:00:00Z (RFC 3339)")
    return value


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, where of the first day and the last there may be none."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment lies within the years 1 to 9999 of UTC") from None


#: A moment (RFC 3339, with its offset), in UTC.
Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]


def _unusable(value: object, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What no part of the server could keep of plain values, by place: half a character, tables without end."""
    match value:
        case str() if not _is_unicode(value):
            yield place, "no Unicode text: half of a surrogate pair stands in it"
        case dict() | list() if len(place) >= limits.MAX_PLAIN_DEPTH:
            yield place, f"nested more than {limits.MAX_PLAIN_DEPTH} deep"
        case dict():
            for key, one in value.items():
                inside = (*place, key.encode(errors="replace").decode())
                yield from _unusable(key, inside)
                yield from _unusable(one, inside)
        case list():
            for number, one in enumerate(value):
                yield from _unusable(one, (*place, number))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usable(values: dict[str, Any]) -> dict[str, Any]:
    problems = tuple(_unusable(values, ()))
    if problems:
        # pydantic puts the place of `values` before each place.
        raise ValidationError.from_exception_data(
            "plain values",
            [
                {"type": "value_error", "loc": place, "input": None, "ctx": {"error": words}}
                for place, words in problems
            ],
        )
    return values


#: A table of values whose meaning is not the API's.
Plain = Annotated[dict[str, Any], Field(max_length=100), AfterValidator(_usable)]
Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
#: A number; null on the wire where there is none (JSON knows no NaN, RFC 8259 6).
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
#: Without NUL, which PostgreSQL keeps in no column.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Remark = Annotated[Text, StringConstraints(max_length=500)]


class Answer(BaseModel):
    """Something the server says."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Request(BaseModel):
    """Something the server is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Shape = TypeVar("Shape", bound=BaseModel)
Item = TypeVar("Item", bound=Answer)


def read(data: bytes, kind: type[Shape]) -> Shape:
    """JSON as a shape.

    Raises:
        MessageError: it is none.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MessageError(f"not a {kind.__name__}: {place}: {first['msg']}") from error


def checked(kind: type[Shape], values: Mapping[str, object]) -> "Shape | tuple[FieldProblem, ...]":
    """A shape from the fields of a form, or what is wrong with each."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        return tuple(
            FieldProblem(pointer="#" + "".join(f"/{part}" for part in one["loc"]), detail=one["msg"])
            for one in error.errors()
        )


def shape_of(kind: type[Shape], value: object) -> Shape:
    """A shape from any value with attributes of the same names."""
    return kind.model_validate(value, from_attributes=True)


class Page(Answer, Generic[Item]):
    """A part of a list; `next` is the cursor of the following part, null at the end."""

    items: tuple[Item, ...]
    next: str | None = None


class FieldProblem(Answer):
    """One field that cannot be used; `pointer` is a JSON pointer into the body (`#/seed`) or a parameter's name."""

    pointer: str
    detail: str


class Problem(Answer):
    """Why a request failed (RFC 9457, `application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: tuple[FieldProblem, ...] = ()
