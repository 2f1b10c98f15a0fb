"""A request that comes again with its Idempotency-Key gets the first answer, and acts once.

The key is claimed by the first write of the transaction in which the request acts, and its answer kept by the last
one: a crash leaves both or neither, and of two requests at once the second waits for the first. A request that failed
changed nothing and is carried out anew. The answer is sealed under the sender's own secret (RFC 5869, HKDF), because
some show a secret once and the database shall not hold it.

`Act` does this for every POST of a router whose endpoint is a plain function; one that reads its body by itself takes a
parameter of type `OnceOf` and calls it.
"""

import hashlib
import inspect
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute

from edgeops.api.shapes import Answer, FieldProblem
from edgeops.api.shapes.shape import Request as Asked
from fleet_server.api.problems import FieldError
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import idempotency
from fleet_server.db.database import Connection

_A = TypeVar("_A", bound=Answer | Response)

HEADER = "Idempotency-Key"

_Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=8,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Random, of the sender; the same request again with the same key acts once.",
    ),
]
_NONCE_BYTES = 12


class _Said(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _TakenError(Exception):
    """Somebody else has this key; not an error of anybody's."""


@dataclass(frozen=True, slots=True)
class Once:
    """One request that may be a repetition."""

    server: Server
    request: Request
    #: Where an endpoint puts headers of its answer.
    response: Response
    key: str | None

    def __call__(self, act: Callable[[], _A], *, said: bytes, status: int) -> _A | Response:
        """The answer of `act`, or the one that the same request had before; `said` = what was sent in the body.

        Raises:
            FieldError: the key belongs to another request.
        """
        if self.key is None:
            return act()
        key = _Sealed.of(self.request, self.key, said)
        now = self.server.now()

        def claim(connection: Connection) -> None:
            if not idempotency.claim(connection, key.id, token_id=key.token_id, asked=key.asked, now=now):
                raise _TakenError

        for _ in range(2):
            with self.server.database.read() as connection:
                answered = idempotency.find(connection, key.id, now=now)
            if answered is not None:
                return key.open(answered)
            try:
                with self.server.database.together(claim) as transaction:
                    answer = self._finished(act(), status)
                    said_now = _Said(answer.status_code, answer.headers.items(), bytes(answer.body))
                    idempotency.keep(transaction.write(), key.id, key.seal(said_now))
            except _TakenError:
                continue
            return answer
        raise AssertionError("a key that was taken has an answer")

    def _finished(self, answer: Answer | Response, status: int) -> Response:
        if isinstance(answer, Response):
            return answer
        content = answer.model_dump_json(by_alias=True)
        headers = dict(self.response.headers)
        return Response(content, status_code=status, headers=headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A key by its digest, and what opens the answer kept under it."""

    id: str
    token_id: str
    asked: str
    secret: bytes

    @classmethod
    def of(cls, request: Request, key: str, said: bytes) -> "_Sealed":
        caller = getattr(request.state, "caller", None)
        token_id = "" if caller is None else caller.token_id
        where = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
        authorization = request.headers.get("authorization", "") if caller is not None else ""
        secret = HKDF(SHA256(), 32, salt=None, info=b"edgeops idempotency").derive(
            msgspec.msgpack.encode((authorization, key, "" if caller is not None else said))
        )
        return cls(
            id=hashlib.sha256(f"{token_id}\n{key}".encode()).hexdigest(),
            token_id=token_id,
            asked=hashlib.sha256(where + said).hexdigest(),
            secret=secret,
        )

    def seal(self, said: _Said) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + ChaCha20Poly1305(self.secret).encrypt(nonce, msgspec.msgpack.encode(said), None)

    def open(self, answered: idempotency.Answered) -> Response:
        if answered.asked != self.asked:
            detail = "this key belongs to another request; make a new one for each, and repeat it only with the same"
            raise FieldError(FieldProblem(pointer=HEADER, detail=detail))
        nonce, sealed = answered.answer[:_NONCE_BYTES], answered.answer[_NONCE_BYTES:]
        said = msgspec.msgpack.decode(ChaCha20Poly1305(self.secret).decrypt(nonce, sealed, None), type=_Said)
        headers = {name: value for name, value in said.headers if name != "content-length"}
        return Response(said.body, status_code=said.status, headers=headers)


def _once(server: ServerOf, request: Request, response: Response, key: _Key = None) -> Once:
    return Once(server, request, response, key)


OnceOf = Annotated[Once, Depends(_once)]


class Act(APIRoute):
    """The class of routes of every router that has a POST."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in (options.get("methods") or ()) and not inspect.iscoroutinefunction(endpoint):
            endpoint = _acting_once(endpoint, status=options.get("status_code") or 200)
        super().__init__(path, endpoint, **options)


def _acting_once(endpoint: Callable[..., Any], *, status: int) -> Callable[..., Any]:
    @wraps(endpoint)
    def run(*, once: Once, **values: Any) -> Any:
        return once(lambda: endpoint(**values), said=_said(values), status=status)

    signature = inspect.signature(endpoint)
    named = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    once = inspect.Parameter("once", inspect.Parameter.KEYWORD_ONLY, annotation=OnceOf)
    # FastAPI learns the parameters from here.
    setattr(run, "__signature__", signature.replace(parameters=[*named, once]))  # noqa: B010 - unknown to the type of a function
    return run


def _said(values: dict[str, Any]) -> bytes:
    """What came in the body, whatever blanks or order it had."""
    shapes = {name: value.model_dump(mode="json") for name, value in values.items() if isinstance(value, Asked)}
    return msgspec.json.encode(shapes, order="deterministic")
