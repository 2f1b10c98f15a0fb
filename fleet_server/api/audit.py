"""The audit trail: who decided what, as a list, as a file that can be checked elsewhere, and checked here."""

from collections.abc import Iterator

import msgspec
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from edgeops.api.shapes import AuditCheck, AuditEntry, Page, audit_check, shape_of
from edgeops.trust.repository import Repository
from fleet_server.api.callers import VIEWER
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import audit

router = APIRouter(prefix="/audit", tags=["audit"], dependencies=[VIEWER])

_MEDIA_TYPE = "application/x-ndjson"
#: Entries in one part of the export.
_PART = 500


@router.get("")
def list_audit(server: ServerOf, paging: PagingOf) -> Page[AuditEntry]:
    """Who decided what, newest first."""
    with server.database.read() as connection:
        rows = audit.page(connection, after=paging.after(Ordinal), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(AuditEntry, row))


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {_MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": "One entry a line."}},
)
def export_audit(server: ServerOf) -> StreamingResponse:
    """The whole trail, oldest first, one JSON document a line; `edgeops audit verify --export` checks it."""
    return StreamingResponse(_lines(server), media_type=_MEDIA_TYPE)


@router.get("/verify")
def verify_audit(server: ServerOf) -> AuditCheck:
    """Whether the chain holds and holds what was signed of it; who does not trust this server checks an export."""
    anchored = Repository.open(server.config.repository, server.config.keys).anchored()
    with server.database.read() as connection:
        found = audit.verify(connection, anchored)
    return audit_check(found, anchored)


def _lines(server: Server) -> Iterator[bytes]:
    after = 0
    while True:
        with server.database.read() as connection:
            entries = audit.following(connection, after, limit=_PART)
        if not entries:
            return
        yield b"".join(msgspec.json.encode(one) + b"\n" for one in entries)
        after = entries[-1].id
