"""Cursor pages: a list in parts, each row exactly once however the list grows meanwhile.

A cursor is the sort key of the last row of a part, so the next part needs no counting; it is opaque to
callers and belongs to the list that gave it.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query, Request

from edgeops import limits
from edgeops.api.shapes import Answer, FieldProblem, Page
from fleet_server.api.problems import FieldError

_Key = TypeVar("_Key", bound=str | int | tuple[Any, ...])
_Row = TypeVar("_Row")
_Item = TypeVar("_Item", bound=Answer)

#: A whole number that every database takes.
Ordinal = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: A moment that every database takes: aware.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Key = str | int | tuple[str | int | bytes | datetime, ...]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is asked for."""

    path: str
    cursor: str | None
    limit: int

    @property
    def wanted(self) -> int:
        """Rows to read: one more than the part has, to know whether it is the last."""
        return self.limit + 1

    def after(self, kind: type[_Key]) -> _Key | None:
        """The key behind which the part begins; None at the start.

        Raises:
            FieldError: the cursor did not come from this list.
        """
        if self.cursor is None:
            return None
        try:
            padding = "=" * (-len(self.cursor) % 4)
            packed = base64.b64decode(self.cursor + padding, altchars=b"-_", validate=True)
            path, key = msgspec.msgpack.decode(packed, type=tuple[str, kind])  # type: ignore[valid-type]  # a type at run time
            _check_moments(key)
        except (binascii.Error, ValueError, OverflowError, msgspec.DecodeError):
            path, key = "", None
        if path != self.path:
            raise FieldError(FieldProblem(pointer="cursor", detail="not from this list; follow `next` unchanged"))
        return key

    def page(self, rows: Sequence[_Row], *, key: Callable[[_Row], Key], shape: Callable[[_Row], _Item]) -> Page[_Item]:
        """A part made of up to `wanted` rows."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return Page(items=tuple(shape(row) for row in shown), next=self._cursor(key(shown[-1])) if more else None)

    def _cursor(self, key: Key) -> str:
        return base64.urlsafe_b64encode(msgspec.msgpack.encode((self.path, key))).decode().rstrip("=")


def _check_moments(key: object) -> None:
    """Pass when each moment of a key is one in UTC as well.

    Raises:
        OverflowError: one is none.
    """
    for part in key if isinstance(key, tuple) else ():
        if isinstance(part, datetime):
            part.astimezone(UTC)


def _paging(
    request: Request,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the part before")] = None,
    limit: Annotated[int, Query(ge=1, le=limits.MAX_PAGE_SIZE)] = limits.PAGE_SIZE,
) -> Paging:
    return Paging(request.url.path, cursor, limit)


PagingOf = Annotated[Paging, Depends(_paging)]
