"""The client's wire: one server, one token; answers become shapes, and problem documents errors.

It knows no resource; `edgeops.api.client` does.
"""

import random
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from edgeops import limits
from edgeops.api import shapes
from edgeops.api.stream import Message, read_messages
from edgeops.errors import (
    AccessError,
    ConflictError,
    InputError,
    MessageError,
    NotFoundError,
    ServerError,
    UnreachableError,
)

_CONNECT_TIMEOUT = timedelta(seconds=5)
#: A stream that says nothing for so long is lost.
_SILENCE = 3 * limits.STREAM_HEARTBEAT
#: The pause before a request is sent again, doubling.
_RETRY_AFTER_S = 0.25
_SENT_BEFORE = "; this was sent before, and the answer was lost: it may have been done then, look"
#: What a POST carries, so that the server acts once however often it comes.
_KEY = "Idempotency-Key"

#: The edition of what is not there: only if there is still none.
NEW = "*"

_A = TypeVar("_A", bound=shapes.Answer)

Query = Mapping[str, str | int | float | bool | datetime | tuple[str, ...] | None]


class Wire:
    """Requests to a fleet server, below `/api/v1`; errors as `edgeops.api.client.Client` names them."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout: timedelta,
        context: ssl.SSLContext | None,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json"}
        if token:
            if not token.isascii() or not token.isprintable() or " " in token:
                raise InputError("the token has characters that no token has; copy it again")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers=headers,
            timeout=httpx.Timeout(timeout.total_seconds(), connect=_CONNECT_TIMEOUT.total_seconds()),
            transport=transport,
            verify=True if context is None else context,
            trust_env=False,
        )

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def get(self, path: str, kind: type[_A], query: Query | None = None) -> _A:
        """What is there."""
        return self.ask("GET", path, kind, query=query)

    def post(self, path: str, kind: type[_A], body: Mapping[str, Any] | None = None) -> _A:
        """What came of a request."""
        return self.ask("POST", path, kind, json=body)

    def ask(self, method: str, path: str, kind: type[_A], *, query: Query | None = None, **content: Any) -> _A:
        """The answer to any request, as a shape; `content` as for `httpx.Client.request`."""
        answer = self.send(method, path, query=query, **content)
        try:
            return shapes.read(answer.content, kind)
        except MessageError as error:
            raise UnreachableError(f"{answer.url} answered: {error}; is another program listening there?") from error

    def pages(self, path: str, kind: type[shapes.Page[_A]], query: Query | None = None) -> Iterator[_A]:
        """Everything of a list, page by page."""
        query = dict(query or {})
        while True:
            page = self.ask("GET", path, kind, query=query)
            yield from page.items
            if page.next is None:
                return
            query["cursor"] = page.next

    def messages(self, path: str, query: Query, *, last_id: str | None) -> Iterator[Message]:
        """The messages of one connection, until it ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx.Timeout(_SILENCE.total_seconds(), connect=_CONNECT_TIMEOUT.total_seconds())
        try:
            with self._http.stream("GET", path, params=_parameters(query), headers=headers, timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error(self.url, answer)
                yield from read_messages(answer.iter_lines())
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError(f"cannot follow {self.url}: {error}; is the server running there?") from error

    def parts(self, path: str) -> Iterator[bytes]:
        """A long answer, as it comes."""
        try:
            with self._http.stream("GET", path) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error(self.url, answer)
                yield from answer.iter_bytes()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError(f"{self.url} broke off: {error}; ask again") from error

    def event(self, message: Message) -> shapes.Event:
        """What such a message says."""
        try:
            return shapes.read(message.data.encode(), shapes.Event)
        except MessageError as error:
            raise UnreachableError(f"{self.url} streams: {error}; is another program listening there?") from error

    def send(
        self, method: str, path: str, *, query: Query | None = None, edition: int | str | None = None, **content: Any
    ) -> httpx.Response:
        """The answer, whatever is in it, unless it is a problem.

        `edition` = only if the thing is still this one (If-Match), as it was read; NEW = only if there is none. A POST
        has a key of its own, and any request that may have arrived without an answer is sent again: a repetition
        changes nothing more.
        """
        headers = dict(content.pop("headers", None) or {})
        if method == "POST":
            headers[_KEY] = secrets.token_hex(16)
        if edition is not None:
            headers |= {"If-None-Match": "*"} if edition == NEW else {"If-Match": f'"{edition}"'}
        try:
            request = self._http.build_request(
                method, path, params=_parameters(query or {}), headers=headers, **content
            )
            answer, tries = self._answer(request)
        except httpx.TimeoutException as error:
            raise UnreachableError(f"{self.url} did not answer in time; is the server busy or gone?") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError(f"cannot reach {self.url}: {error}; is the server running there?") from error
        if not answer.is_success:
            raise _error(self.url, answer, sent_before=tries > 1 and method != "GET")
        return answer

    def _answer(self, request: httpx.Request) -> tuple[httpx.Response, int]:
        """The answer, and to which try it came."""
        ends_at = time.monotonic() + limits.REQUEST_RETRY_WITHIN.total_seconds()
        for tries in range(1, limits.REQUEST_TRIES):
            try:
                return self._http.send(request), tries
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if tries == 1:
                    raise  # there is no server
            except httpx.TransportError:
                if time.monotonic() >= ends_at:
                    raise
            time.sleep(_RETRY_AFTER_S * 2**tries * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients
        return self._http.send(request), limits.REQUEST_TRIES


def segment(name: str) -> str:
    """One segment of a path, whatever a person typed; no dots, which are steps in a path (RFC 3986 5.2.4)."""
    return quote(name, safe="").replace(".", "%2E") or "-"


def _parameters(query: Query) -> dict[str, str | tuple[str, ...]]:
    return {key: _parameter(value) for key, value in query.items() if value is not None}


def _parameter(value: str | float | datetime | tuple[str, ...]) -> str | tuple[str, ...]:
    match value:
        case datetime():
            return value.isoformat()
        case tuple():
            return value  # repeated
        case _:
            return str(value)


def _told(field: shapes.FieldProblem) -> str:
    """What is wrong with one field, or with the whole body."""
    name = field.pointer.removeprefix("#").removeprefix("/")
    return f"{name}: {field.detail}" if name else field.detail


def _error(url: str, answer: httpx.Response, *, sent_before: bool = False) -> Exception:
    """The error that a problem document stands for; `sent_before` = an earlier answer to it was lost."""
    try:
        problem = shapes.read(answer.content, shapes.Problem)
    except MessageError:
        return UnreachableError(
            f"{url} answered {answer.status_code} without a problem document; is another program listening there?"
        )
    fields = "; ".join(_told(field) for field in problem.errors)
    text = fields or problem.detail or problem.title
    may_be_done = _SENT_BEFORE if sent_before else ""
    match problem.status:
        case 401 | 403:
            return AccessError(text)
        case 404:
            return NotFoundError(text + may_be_done)
        case 409 | 412:
            text = problem.detail if problem.status == 412 else text
            return ConflictError(text + may_be_done)
        case 400 | 413 | 422:
            return InputError(text)
        case _:
            return ServerError(f"{problem.status} {problem.title}: {text}")
