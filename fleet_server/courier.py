"""Brings webhooks to their receivers: events behind a cursor of its own, in order, until each said that it has them.

Killed anywhere it repeats at most what was under way; a receiver knows a repetition by `webhook-id`. The address that
is connected to is the one that was checked, whatever the name resolves to a moment later, and no redirect is followed.
"""

import http.client
import logging
import random
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from edgeops import limits
from edgeops.errors import InputError
from edgeops.webhooks import check_url, key_of, objection, pause_after, signed_headers
from fleet_server.config import ServerConfig
from fleet_server.db import events, settings, webhooks
from fleet_server.db.database import Database
from fleet_server.db.webhooks import Delivery, DeliveryState, Webhook
from fleet_server.receivers import allowed_hosts, message, signing_secret

_log = logging.getLogger(__name__)

#: Events taken over in one transaction, and receivers that are spoken to at once.
_BATCH = 100
_AT_ONCE = 4
_READ_BYTES = 4096


class Courier:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self._config = config
        self._database = database

    def run_once(self, now: datetime) -> None:
        """Queue what happened, and try what is due."""
        while self._take_over(now) == _BATCH:
            pass
        with self._database.read() as connection:
            due = webhooks.due(connection, now)
            receivers = {one.id: one for one in webhooks.every(connection)} if due else {}
        if not due:
            return
        with self._database.write() as connection:
            secret = signing_secret(self._config, connection)
            webhooks.drop_ended(connection, before=now - limits.DELIVERY_LIFE)
        allowed = allowed_hosts(self._config)
        wanted = [(receivers[one.webhook_id], one) for one in due if one.webhook_id in receivers]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            ended = list(pool.map(lambda pair: _try(*pair, secret=secret, allowed=allowed, now=now), wanted))
        with self._database.write() as connection:
            for delivery in ended:
                webhooks.tried(connection, delivery)

    def _take_over(self, now: datetime) -> int:
        with self._database.read() as connection:
            cursor = settings.read(connection, settings.WEBHOOKS_CURSOR)
            news = events.after(connection, int(cursor or 0), limit=_BATCH) if cursor is not None else ()
            if cursor is not None and not news:
                return 0
        with self._database.write() as connection:
            receivers = webhooks.every(connection)
            if cursor is None or not receivers:
                # Nobody listens: what happened until now is for nobody.
                settings.write(connection, settings.WEBHOOKS_CURSOR, str(events.last_id(connection)))
                return 0
            webhooks.queue(
                connection,
                (
                    message(
                        one.id,
                        f"msg-{event.id:012}-{one.id}",
                        event.kind,
                        {"id": event.id, "subject": event.subject, "detail": event.data},
                        event.at,
                        now,
                    )
                    for event in news
                    for one in receivers
                    if one.wants(event.kind) and event.at >= one.created_at
                ),
            )
            settings.write(connection, settings.WEBHOOKS_CURSOR, str(news[-1].id))
        return len(news)


def _try(webhook: Webhook, delivery: Delivery, *, secret: bytes, allowed: tuple[str, ...], now: datetime) -> Delivery:
    key = key_of(secret, webhook.id)
    headers = signed_headers(key, delivery.id, timestamp=int(now.timestamp()), body=delivery.body)
    try:
        status = post(webhook.url, delivery.body, headers, allowed=allowed)
    except (OSError, http.client.HTTPException, InputError, ValueError) as error:
        return _failed(webhook, delivery, str(error) or type(error).__name__, now)
    if 200 <= status < 300:
        return replace(
            delivery, state=DeliveryState.DELIVERED, attempts=delivery.attempts + 1, detail=f"{status}", ended_at=now
        )
    return _failed(webhook, delivery, f"the receiver answered {status}", now)


def _failed(webhook: Webhook, delivery: Delivery, detail: str, now: datetime) -> Delivery:
    attempts = delivery.attempts + 1
    pause = pause_after(attempts, jitter=random.random())  # noqa: S311 - spreads attempts
    tried = replace(delivery, attempts=attempts, detail=detail[: limits.MAX_DETAIL_LENGTH])
    if pause is not None:
        return replace(tried, next_at=now + pause)
    _log.warning("webhook.dead id=%s webhook=%s error=%s", delivery.id, webhook.id, detail)
    return replace(tried, state=DeliveryState.DEAD, ended_at=now)


def post(url: str, body: bytes, headers: dict[str, str], *, allowed: tuple[str, ...]) -> int:
    """The status that a receiver answers.

    Raises:
        InputError: its host is not listed, or none of its addresses may be reached.
        OSError, http.client.HTTPException: it does not answer.
    """
    scheme, host, port = check_url(url, allowed)
    parts = urlsplit(url)
    connection = _Connection(scheme, host, port, allowed)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read(_READ_BYTES)
        return answer.status
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """To the address that was checked; the certificate is that of the name."""

    def __init__(self, scheme: str, host: str, port: int, allowed: tuple[str, ...]) -> None:
        super().__init__(host, port, timeout=limits.WEBHOOK_TIMEOUT.total_seconds())
        self._scheme = scheme
        self._allowed = allowed

    def connect(self) -> None:
        """Resolve, check and connect in one go.

        Raises:
            InputError: the name leads to an address that is not allowed.
        """
        address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][4][0]
        reason = objection(self._scheme, str(address), self._allowed)
        if reason is not None:
            raise InputError(f"{self.host}: {reason}")
        self.sock = socket.create_connection((str(address), self.port), self.timeout)
        if self._scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
