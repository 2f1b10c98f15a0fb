"""Receivers of webhooks; only admins see or change them, because an address may hold a secret of its receiver."""

from fastapi import APIRouter, Response

from edgeops.api.shapes import Delivery, Page, Webhook, WebhookRequest, shape_of
from fleet_server import receivers
from fleet_server.api.callers import ADMIN, Admin
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import webhooks

router = APIRouter(prefix="/webhooks", tags=["webhooks"], dependencies=[ADMIN], route_class=Act)


@router.post("", status_code=201)
def add_webhook(server: ServerOf, caller: Admin, wanted: WebhookRequest) -> Webhook:
    """Tell a receiver what happens from now on; its host must be on the list that the server's owner keeps."""
    made = receivers.add(
        server.config, server.database, wanted.url, list(wanted.kinds), added_by=caller.name, now=server.now()
    )
    return _webhook(server, made)


@router.get("")
def list_webhooks(server: ServerOf, paging: PagingOf) -> Page[Webhook]:
    """All receivers, by id."""
    after = paging.after(str) or ""
    with server.database.read() as connection:
        rows = [one for one in webhooks.every(connection) if one.id > after]
    return paging.page(rows[: paging.wanted], key=lambda row: row.id, shape=lambda row: _webhook(server, row))


@router.get("/{webhook_id}")
def read_webhook(server: ServerOf, webhook_id: str) -> Webhook:
    """One receiver."""
    with server.database.read() as connection:
        found = receivers.known(connection, webhook_id)
    return _webhook(server, found)


@router.delete("/{webhook_id}", status_code=204)
def remove_webhook(server: ServerOf, caller: Admin, webhook_id: str) -> Response:
    """Tell a receiver nothing more."""
    receivers.remove(server.database, webhook_id, removed_by=caller.name, now=server.now())
    return Response(status_code=204)


@router.post("/{webhook_id}/test", status_code=202)
def test_webhook(server: ServerOf, caller: Admin, webhook_id: str) -> Delivery:
    """Put a message on its way that says nothing."""
    return shape_of(Delivery, receivers.test(server.database, webhook_id, asked_by=caller.name, now=server.now()))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(server: ServerOf, webhook_id: str, paging: PagingOf) -> Page[Delivery]:
    """What went to a receiver, or is on its way, newest first."""
    with server.database.read() as connection:
        receivers.known(connection, webhook_id)
        rows = webhooks.page(connection, webhook_id, after=paging.after(str), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Delivery, row))


def _webhook(server: Server, row: webhooks.Webhook) -> Webhook:
    return Webhook(
        id=row.id,
        url=row.url,
        kinds=tuple(row.kinds),
        public_key=receivers.public_key(server.config, server.database, row.id),
        created_by=row.created_by,
        created_at=row.created_at,
    )
