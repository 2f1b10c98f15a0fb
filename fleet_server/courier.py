"""Brings webhooks to their receivers: events behind a cursor, in order, until each said that it has them.

Killed anywhere it repeats at most what was under way; a receiver knows a repetition by `webhook-id`. Each receiver has
a cursor of its own and a short queue, so that one that is away makes nobody wait and no table grow. The address that
is connected to is the one that was checked, whatever the name resolves to a moment later, and no redirect is followed.
"""

import http.client
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain
from urllib.parse import urlsplit

from edgeops import limits
from edgeops.errors import InputError
from edgeops.webhooks import check_url, key_of, objection, pause_after, signed_headers
from fleet_server.config import ServerConfig
from fleet_server.db import events, webhooks
from fleet_server.db.database import Connection, Database
from fleet_server.db.webhooks import Delivery, DeliveryState, Webhook
from fleet_server.receivers import MISSED, allowed_hosts, message, message_id, signing_secret

_log = logging.getLogger(__name__)

#: Events taken over at once for a receiver, and receivers that are spoken to at once.
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
        while self._take_over(now):
            pass
        with self._database.read() as connection:
            due = [
                (one, messages)
                for one in webhooks.every(connection)
                if (messages := webhooks.due(connection, one.id, now=now, limit=limits.DELIVERIES_IN_A_ROW))
            ]
        if not due:
            return
        with self._database.write() as connection:
            secret = signing_secret(self._config, connection)
        allowed = allowed_hosts(self._config)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tried = list(pool.map(lambda pair: _try_in_a_row(*pair, secret=secret, allowed=allowed, now=now), due))
        with self._database.write() as connection:
            for delivery in chain(*tried):
                webhooks.tried(connection, delivery)

    def _take_over(self, now: datetime) -> bool:
        """Make messages of the next events for receivers that have few; whether there may be more."""
        with self._database.read() as connection:
            newest = events.last_id(connection)
            waiting = webhooks.waiting(connection)
            behind = [
                one
                for one in webhooks.every(connection)
                if one.cursor < newest and waiting.get(one.id, 0) < limits.DELIVERIES_WAITING
            ]
        if not behind:
            return False
        with self._database.write() as connection:
            for one in behind:
                _queue_next(connection, one, now)
        return True


def _queue_next(connection: Connection, webhook: Webhook, now: datetime) -> None:
    """What happened next; what was dropped meanwhile comes as one message that says so."""
    news = events.after(connection, webhook.cursor, limit=_BATCH)
    dropped = events.last_dropped(connection)
    rows = [
        message(
            webhook.id,
            message_id(webhook.id, event.id),
            event.kind,
            {"id": event.id, "subject": event.subject, "detail": event.data},
            event.at,
            now,
        )
        for event in news
        if webhook.wants(event.kind)
    ]
    if webhook.cursor < dropped:
        _log.warning("webhook.missed webhook=%s after=%d through=%d", webhook.id, webhook.cursor, dropped)
        data: dict[str, object] = {"after": webhook.cursor, "through": dropped}
        rows.insert(0, message(webhook.id, message_id(webhook.id, dropped), MISSED, data, now, now))
    webhooks.queue(connection, rows)
    webhooks.move(connection, webhook.id, cursor=news[-1].id)


def _try_in_a_row(
    webhook: Webhook, messages: Sequence[Delivery], *, secret: bytes, allowed: tuple[str, ...], now: datetime
) -> list[Delivery]:
    """Try the first message, and the next one as long as each is taken and it has not been long."""
    ends_at = time.monotonic() + limits.WEBHOOK_TIMEOUT.total_seconds()
    tried: list[Delivery] = []
    for delivery in messages:
        tried.append(_try(webhook, delivery, secret=secret, allowed=allowed, now=now))
        if tried[-1].state is not DeliveryState.DELIVERED or time.monotonic() >= ends_at:
            break
    return tried


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
    # A socket's timeout begins anew with each byte that drips.
    deadline = threading.Timer(limits.WEBHOOK_TIMEOUT.total_seconds(), connection.cut)
    deadline.daemon = True
    deadline.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read(_READ_BYTES)
        # An answer that was cut in its headers reads like one whose sender has closed: as a whole one.
        if connection.was_cut:
            raise TimeoutError(f"no whole answer within {limits.WEBHOOK_TIMEOUT.total_seconds():g} s")
        return answer.status
    finally:
        deadline.cancel()
        connection.close()


class _Connection(http.client.HTTPConnection):
    """To the address that was checked; the certificate is that of the name."""

    def __init__(self, scheme: str, host: str, port: int, allowed: tuple[str, ...]) -> None:
        super().__init__(host, port, timeout=limits.WEBHOOK_TIMEOUT.total_seconds())
        self._scheme = scheme
        self._allowed = allowed
        #: A second name of the TCP connection: the first one is TLS's own from the handshake on.
        self._line: socket.socket | None = None
        self.was_cut = False

    def connect(self) -> None:
        """Resolve, check and connect in one go.

        Raises:
            InputError: the name leads to an address that is not allowed.
        """
        self.sock = self._connected()
        self._line = self.sock.dup()
        if self._scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def _connected(self) -> socket.socket:
        """To the first of its addresses that may be spoken to and answers."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        problem: Exception | None = None
        for address in dict.fromkeys(str(one[4][0]) for one in found):
            reason = objection(self._scheme, address, self._allowed)
            if reason is not None:
                problem = problem or InputError(f"{self.host}: {reason}")
                continue
            try:
                return socket.create_connection((address, self.port), self.timeout)
            except OSError as error:
                problem = error
                if self.was_cut:
                    break
        assert problem is not None, "a name that was resolved has an address"
        raise problem

    def cut(self) -> None:
        """End what another thread waits for; closing is its own affair."""
        self.was_cut = True
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Both names."""
        super().close()
        line, self._line = self._line, None
        if line is not None:
            line.close()
