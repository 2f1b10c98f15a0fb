"""ETag and If-Match (RFC 9110, 8.8.3 and 13.1.1): nobody overwrites what they have not seen.

A reader gets the edition of a thing with it. Who changes it may say which edition they saw, and is refused with 412
when it is another one by now. Who says nothing is not asked: each change is legal or not (409) by itself, and If-Match
is for those who decided by what they had read. Nor is a PUT refused that finds what it would make: it was made before,
and the answer was lost (RFC 9110, 13.1.1).
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Response

from edgeops.api.shapes import FieldProblem
from fleet_server.api.problems import FieldError, StaleError
from fleet_server.db.database import Connection, Database

#: A revision of its own, or `edition_of` where a thing has none.
Edition = int | str

_TAG = re.compile(r'(W/)?"([!#-~]*)"')
_IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1_000, description='"*": only if there is no such thing yet.'),
]
_IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=1_000, description="Only if the thing is still this edition (its ETag)."),
]


def edition_of(*values: Any) -> str:
    """The edition of a thing without a revision: another one when any of its values is."""
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Editions:
    """What one request demands, and where its answer says the edition."""

    #: None = any; an empty set = none that there is.
    wanted: frozenset[str] | None
    response: Response
    #: The caller saw none.
    is_new: bool = False

    def show(self, edition: Edition) -> None:
        """Say the edition of what is answered."""
        self.response.headers["ETag"] = f'"{edition}"'

    @contextmanager
    def unchanged(
        self, database: Database, now_is: Callable[[Connection], Edition | None], *, puts: bool = False
    ) -> Iterator[None]:
        """Inside, every write is one transaction, at whose start the thing is what the caller saw.

        Args:
            database: where it is.
            now_is: the edition of the thing now; None = there is none, which the endpoint says itself.
            puts: the endpoint makes the thing what the request says, and leaves one as it is that is so already; then
                it may also have been so at the start.

        Raises:
            StaleError: it is another one by now, or was made or taken away meanwhile.
        """
        if self.wanted is None and not self.is_new:
            yield
            return
        with database.together():
            with database.write() as connection:
                before = now_is(connection)
            stale = self._staleness(before, puts=puts)
            if stale is not None and not puts:
                raise stale
            yield
            with database.write() as connection:
                after = now_is(connection)
            if stale is not None and after != before:
                raise stale

    def _staleness(self, edition: Edition | None, *, puts: bool) -> StaleError | None:
        if self.is_new and edition is not None:
            return _stale("If-None-Match", f"there is one by now, edition {edition}; read it and decide anew")
        if self.wanted is None:
            return None
        if edition is None and puts:
            return _stale("If-Match", "it was taken away meanwhile; decide anew")
        if edition is not None and str(edition) not in self.wanted:
            seen = ", ".join(sorted(self.wanted)) or "none"
            words = f"this is edition {edition} by now, not {seen[:100]}; read it again and decide anew"
            return _stale("If-Match", words)
        return None


def _stale(header: str, words: str) -> StaleError:
    return StaleError(words, fields=[(header, words)])


def _editions(response: Response, if_match: _IfMatch = None, if_none_match: _IfNoneMatch = None) -> Editions:
    if if_none_match is not None and if_none_match.strip() != "*":
        raise FieldError(FieldProblem(pointer="If-None-Match", detail='expected "*": only if there is none yet'))
    if if_none_match is not None:
        return Editions(None, response, is_new=True)
    if if_match is None or if_match.strip() == "*":
        return Editions(None, response)
    tags = [one.strip() for one in if_match.split(",")]
    found = [_TAG.fullmatch(one) for one in tags]
    if not all(found):
        raise FieldError(FieldProblem(pointer="If-Match", detail='expected an ETag as it was sent, such as "7"'))
    # A weak tag never matches (RFC 9110, 13.1.1).
    return Editions(frozenset(one[2] for one in found if one and not one[1]), response)


def _shown(response: Response) -> Editions:
    return Editions(None, response)


EditionsOf = Annotated[Editions, Depends(_editions)]
#: For who reads or creates: there is nothing yet that somebody may have seen otherwise.
ShownEdition = Annotated[Editions, Depends(_shown)]
