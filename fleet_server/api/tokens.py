"""Bearer tokens of people and programs; only admins see or change them."""

from fastapi import APIRouter, Response

from edgeops.api.shapes import NewToken, Page, Token, TokenRequest, shape_of
from fleet_server.api.callers import ADMIN, Admin
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import tokens

router = APIRouter(prefix="/tokens", tags=["access"], dependencies=[ADMIN], route_class=Act)


@router.post("", status_code=201)
def create_token(server: ServerOf, caller: Admin, wanted: TokenRequest) -> NewToken:
    """A new token; its secret is shown this once."""
    made = server.access.create_token(wanted.name, wanted.role, created_by=caller.name, now=server.now())
    return NewToken(token=made.text, **shape_of(Token, made.row).model_dump())


@router.get("")
def list_tokens(server: ServerOf, paging: PagingOf) -> Page[Token]:
    """All tokens without their secrets, by id."""
    with server.database.read() as connection:
        rows = tokens.api_token_page(connection, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Token, row))


@router.delete("/{token_id}", status_code=204)
def revoke_token(server: ServerOf, caller: Admin, token_id: str) -> Response:
    """From now on the token opens nothing; harmless to repeat."""
    server.access.revoke_token(token_id, revoked_by=caller.name, now=server.now())
    return Response(status_code=204)
