"""Which servers this device believes over TLS: its fleet's CAs, and what time it is here.

`FleetTls.context()` makes the context for every connection of the agent, over HTTPS and MQTT. OpenSSL checks chain and
name in the handshake. It would also hold the validity against the system's clock, which on a device without a clock
battery is worth nothing; that is judged here, right after, by the time that the agent believes
(`edgeops.trust.authorities.why_refused`). Whoever uses the context gets both, as `ssl.SSLCertVerificationError`.

How the CAs are renewed, and how a device finds back that knows none of the present ones, is `device_agent.wayback`'s.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from device_agent.store.aside import set_aside
from edgeops.digest import write_atomically
from edgeops.errors import TrustError
from edgeops.trust.authorities import Authority, decode_authorities, why_refused
from edgeops.trust.transport import NO_CHECK_TIME

_log = logging.getLogger(__name__)

_FILE = "ca.json"


class FleetTls:
    """The CAs as TUF vouched for them, kept in the trust folder; may be used from any thread."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime]) -> None:
        """`now` is what time this device believes it is."""
        self._file = folder / _FILE
        self._now = now
        self._lock = threading.Lock()
        self._authorities: tuple[Authority, ...] = ()
        #: Files set aside since this process started.
        self.damaged = 0
        try:
            self._authorities = decode_authorities(self._file.read_bytes())
        except FileNotFoundError:
            pass
        except (TrustError, OSError) as error:
            # As if there were none: the first refusal makes the agent ask for them.
            _log.warning("authorities.damaged", extra={"error": error})
            self.damaged += 1
            set_aside(self._file)

    @property
    def authorities(self) -> tuple[Authority, ...]:
        """Oldest first; empty before they were learnt."""
        return self._authorities

    def store(self, target: bytes) -> bool:
        """Take in the content of the target, which TUF vouched for; whether the CAs changed.

        Raises:
            TrustError: not a list of CAs.
            OSError: no space, or a write error.
        """
        authorities = decode_authorities(target)
        with self._lock:
            if authorities == self._authorities:
                return False
            # They count although the disk may not take them: TUF vouched for them, and does so again.
            self._authorities = authorities
            write_atomically(self._file, target)
            return True

    def context(self) -> ssl.SSLContext:
        """For any number of connections: each believes the CAs that are known when it begins."""
        context = _LiveContext(ssl.PROTOCOL_TLS_CLIENT)
        context.present = lambda: fleet_context(self._authorities, now=self._now)
        return context


def fleet_context(authorities: tuple[Authority, ...], *, now: Callable[[], datetime]) -> ssl.SSLContext:
    """A client's context that believes these CAs, and judges validity by `now`."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= NO_CHECK_TIME | ssl.VERIFY_X509_STRICT
    for authority in authorities:
        context.load_verify_locations(cadata=authority.pem)
    context.refusal = lambda shown: why_refused(shown, authorities, now=now())
    return context


class _Socket(ssl.SSLSocket):
    """Ends its handshake with a look at the validity of what the server showed; a refused connection is closed."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as in the standard library
        try:
            super().do_handshake(block)
            self._judge()
        except ssl.SSLCertVerificationError:
            self.close()
            raise

    def _judge(self) -> None:
        assert isinstance(self.context, _Context)
        shown = self.getpeercert(binary_form=True)
        refusal = "the server shows no certificate" if shown is None else self.context.refusal(shown)
        if refusal is not None:
            raise ssl.SSLCertVerificationError(ssl.SSLErrorNumber.SSL_ERROR_SSL, refusal)


class _Context(ssl.SSLContext):
    """Makes `_Socket`s."""

    sslsocket_class: Any = _Socket
    #: Why a server's certificate (DER) is not accepted; None = it is.
    refusal: Callable[[bytes], str | None]


class _LiveContext(ssl.SSLContext):
    """Stays the same while CAs come and go."""

    #: Makes the context of one connection.
    present: Callable[[], ssl.SSLContext]

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext.wrap_socket`."""
        return self.present().wrap_socket(*arguments, **options)
