"""Receivers of webhooks: who gets what, under which key.

Which hosts there may be is a file of this machine's owner, and no token changes it: whoever stole one cannot make the
server speak to a place of theirs. Messages are sent by `fleet_server.courier`.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.rollout.objection import guess
from edgeops.webhooks import check_url, key_of, parse_allowed, place_of, public_text
from fleet_server.config import ServerConfig
from fleet_server.db import audit, events, webhooks
from fleet_server.db.database import Connection, Database
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.webhooks import Delivery, DeliveryState, Webhook

#: What a test is called; no event of the fleet is.
TEST = "webhook.test"
#: That events were dropped before their turn came.
MISSED = "webhook.missed"
_SECRET_BYTES = 32


def allowed_hosts(config: ServerConfig) -> tuple[str, ...]:
    """What the owner's file lists; none without it."""
    try:
        return parse_allowed(config.webhook_hosts.read_text())
    except FileNotFoundError:
        return ()


def signing_secret(config: ServerConfig, _lock: Connection) -> bytes:
    """What every receiver's key is derived from, made when it is missing; the write lock keeps it from being two."""
    try:
        return config.webhook_secret.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_bytes(_SECRET_BYTES)
        write_atomically(config.webhook_secret, secret, mode=0o600)
        return secret


def public_key(config: ServerConfig, database: Database, webhook_id: str) -> str:
    """What a receiver checks signatures with."""
    with database.write() as connection:
        return public_text(key_of(signing_secret(config, connection), webhook_id))


def add(
    config: ServerConfig, database: Database, url: str, kinds: list[str], *, added_by: str, now: datetime
) -> Webhook:
    """A new receiver, which gets what happens from now on.

    Raises:
        InputError: no receiver, a host that is not listed, or a kind that no event has.
        ConflictError: there are as many as there may be.
    """
    try:
        check_url(url, allowed_hosts(config))
    except InputError as error:
        raise InputError(str(error), fields=[("#/url", str(error))]) from error
    _require_kinds(kinds)
    with database.write() as connection:
        if len(webhooks.every(connection)) >= limits.MAX_WEBHOOKS:
            raise ConflictError(f"there are {limits.MAX_WEBHOOKS} webhooks, which is the most; remove one first")
        cursor = events.last_id(connection)
        webhook = Webhook(
            id=new_id("webhook", now), url=url, kinds=kinds, created_by=added_by, created_at=now, cursor=cursor
        )
        webhooks.add(connection, webhook)
        audit.append(connection, added_by, "webhook.added", webhook.id, {"to": place_of(url), "kinds": kinds}, now)
    return webhook


def _require_kinds(kinds: Sequence[str]) -> None:
    """A receiver of what never happens would wait for ever."""
    there = (*EventKind, MISSED)
    wrong = []
    for number, kind in enumerate(kinds):
        if kind in there or (kind.endswith(".") and any(one.startswith(kind) for one in there)):
            continue
        groups = ", ".join(sorted({one.partition(".")[0] + "." for one in there}))
        wrong.append((f"#/kinds/{number}", f"no event is called {kind}{guess(kind, there)}; they begin with {groups}"))
    if wrong:
        raise InputError("; ".join(words for _, words in wrong), fields=wrong)


def known(connection: Connection, webhook_id: str) -> Webhook:
    """A receiver.

    Raises:
        NotFoundError: there is none of this id.
    """
    webhook = webhooks.get(connection, webhook_id)
    if webhook is None:
        raise NotFoundError(f"no webhook {webhook_id[:80]!r}; list them with: edgeops webhook list")
    return webhook


def remove(database: Database, webhook_id: str, *, removed_by: str, now: datetime) -> None:
    """Tell a receiver nothing more, also not what was on its way.

    Raises:
        NotFoundError: there is none of this id.
    """
    with database.write() as connection:
        url = known(connection, webhook_id).url
        webhooks.remove(connection, webhook_id)
        audit.append(connection, removed_by, "webhook.removed", webhook_id, {"to": place_of(url)}, now)


def test(database: Database, webhook_id: str, *, asked_by: str, now: datetime) -> Delivery:
    """Put a message on its way that says nothing.

    Raises:
        NotFoundError: there is none of this id.
    """
    with database.write() as connection:
        known(connection, webhook_id)
        delivery = message(webhook_id, _behind_all(connection, webhook_id, now), TEST, {"asked_by": asked_by}, now, now)
        webhooks.queue(connection, [delivery])
        audit.append(connection, asked_by, "webhook.tested", webhook_id, {"delivery": delivery.id}, now)
    return delivery


def message_id(webhook_id: str, event_id: int) -> str:
    """Of the message about an event; messages go out, and are listed, in the order of their ids."""
    return f"msg-{event_id:015}-{webhook_id}"


def _behind_all(connection: Connection, webhook_id: str, now: datetime) -> str:
    """An id behind all that has happened, and before what happens next."""
    return new_id(f"{message_id(webhook_id, events.last_id(connection))}_test", now)


def message(  # noqa: PLR0917 - in the order of a sentence: to whom, under which name, what, and when
    webhook_id: str, delivery_id: str, kind: str, data: dict[str, object], at: datetime, now: datetime
) -> Delivery:
    """A message that waits; `at` is when it happened."""
    body = msgspec.json.encode({"type": kind, "timestamp": at, "webhook": webhook_id, "data": data})
    return Delivery(
        id=delivery_id,
        webhook_id=webhook_id,
        kind=kind,
        body=body,
        state=DeliveryState.WAITING,
        attempts=0,
        next_at=now,
        detail="",
        created_at=now,
        ended_at=None,
    )
