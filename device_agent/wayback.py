"""How this device learns the fleet's CAs: in time while it is connected, and when it believes no server any more.

A CA that will sign soon is listed in TUF weeks before, so a device that is connected now and then knows it. One that
was away all the while, or whose clock is ahead, meets a server that it does not believe. Then it asks, over TLS that
proves nothing, for two things that prove themselves: what time it is (signed by the fleet key, for this question) and
the list of CAs (TUF). It tells nothing secret, and it connects only once the server's certificate is good by them. Who
stands in between can refuse to answer, and nothing more.
"""

import logging
import secrets
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from http.client import HTTPException
from urllib.parse import urlsplit

from device_agent.clock import Clock
from device_agent.server_connection import ServerConnection
from device_agent.tls import FleetTls
from device_agent.trust import FleetKeys, Listed, Trust, TrustOutcome
from edgeops import limits
from edgeops.errors import ConfigError, TrustError
from edgeops.trust.authorities import AUTHORITIES_TARGET
from edgeops.trust.moment import NONCE_BYTES, read_moment
from edgeops.trust.transport import is_loopback, unbelieved_context

_log = logging.getLogger(__name__)

_MAX_ANSWER_BYTES = 4096
#: What asking a server that nobody vouches for may end in.
_NO_ANSWER = (TrustError, OSError, HTTPException)


def speaks_tls(server: str) -> bool:
    """Whether the server at this address is reached over TLS, its broker too.

    Raises:
        ConfigError: it is not, and beyond loopback.
    """
    parts = urlsplit(server)
    if parts.scheme == "https":
        return True
    if not is_loopback(parts.hostname or ""):
        raise ConfigError(f"{server} is not on this machine, so it must be reached over TLS: https://HOST:PORT")
    return False


class Wayback:
    """The CAs of one device, kept up to date; the work is done by whoever `submit` gives it to."""

    def __init__(
        self,
        server: str,
        *,
        tls: FleetTls,
        clock: Clock,
        keys: FleetKeys,
        trust: Trust,
        submit: Callable[[Callable[[], object]], None],
    ) -> None:
        """`server` is the address of the fleet server."""
        self._server = server.rstrip("/")
        self._speaks_tls = speaks_tls(server)
        self._tls = tls
        self._clock = clock
        self._keys = keys
        self._trust = trust
        self._submit = submit
        self._learns_s = self._searches_s = 0.0

    def connected(self, now_s: float) -> None:
        """There is contact with the server: once a day the list of CAs is asked for. `now_s` is monotonic."""
        if self._speaks_tls and now_s >= self._learns_s:
            self._learns_s = now_s + limits.AUTHORITIES_REFRESH_AFTER.total_seconds()
            self._submit(self._learn)

    def not_believed(self, now_s: float) -> None:
        """A server could not prove to be ours: look for what would prove it, now and then."""
        if now_s >= self._searches_s:
            self._searches_s = now_s + limits.WAYBACK_INTERVAL.total_seconds()
            self._submit(self._search)

    def _learn(self) -> None:
        self._take(self._trust.check([AUTHORITIES_TARGET]))

    def _search(self) -> None:
        try:
            self._clock.answered(self._ask_time())
        except _NO_ANSWER as error:
            # The list of CAs may still be had, by the clock as it is.
            _log.warning("wayback.no-time", extra={"error": error})
        self._take(self._trust.check([AUTHORITIES_TARGET], url=f"{self._server}/tuf"))

    def _take(self, outcome: TrustOutcome) -> None:
        if not isinstance(outcome, Listed):
            _log.warning("wayback.no-list", extra={"error": outcome.detail})
            return
        content = outcome.targets[AUTHORITIES_TARGET]
        if content is not None and self._tls.store(content):
            _log.info("wayback.learnt", extra={"target": AUTHORITIES_TARGET})

    def _ask_time(self) -> datetime:
        nonce = secrets.token_bytes(NONCE_BYTES)
        server = urlsplit(self._server)
        with (
            closing(ServerConnection(server, context=unbelieved_context())) as connection,
            # Whoever stands in between may let the answer drip.
            connection.within(limits.TRANSPORT_PATIENCE),
        ):
            connection.request("GET", f"{server.path}/api/v1/time?nonce={nonce.hex()}")
            answer = connection.getresponse().read(_MAX_ANSWER_BYTES)
        return read_moment(answer, self._keys.accepted.publics, nonce=nonce)
