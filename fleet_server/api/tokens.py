"""Bearer tokens of people and programs; only admins see or change them."""

from fastapi import APIRouter, Response

from edgeops.api.shapes import NewToken, Page, Token, TokenRequest, shape_of
from edgeops.errors import NotFoundError
from fleet_server.api.callers import ADMIN
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import tokens

router = APIRouter(prefix="/tokens", tags=["access"], dependencies=[ADMIN])


@router.post("", status_code=201)
def create_token(server: ServerOf, wanted: TokenRequest) -> NewToken:
    """A new token; its secret is shown this once."""
    made = server.access.create_token(wanted.name, wanted.role, now=server.now())
    return NewToken(token=made.text, **shape_of(Token, made.row).model_dump())


@router.get("")
def list_tokens(server: ServerOf, paging: PagingOf) -> Page[Token]:
    """All tokens without their secrets, by id."""
    with server.database.read() as connection:
        rows = tokens.api_token_page(connection, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Token, row))


@router.delete("/{token_id}", status_code=204)
def revoke_token(server: ServerOf, token_id: str) -> Response:
    """From now on the token opens nothing; harmless to repeat."""
    with server.database.write() as connection:
        if tokens.api_token(connection, token_id) is None:
            raise NotFoundError(f"no token {token_id[:80]!r}; list them with: edgeops token list")
        tokens.revoke_api_token(connection, token_id, now=server.now())
    return Response(status_code=204)
