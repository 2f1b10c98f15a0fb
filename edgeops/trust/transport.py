"""TLS and HTTP as all sides use them: what OpenSSL is told, how a server is asked, where plain TCP will do.

Whose certificates are believed is decided elsewhere: `device_agent.tls` on devices.
"""

import ipaddress
import ssl
import urllib.request
from pathlib import Path
from typing import Any

from edgeops.errors import ConfigError

#: X509_V_FLAG_NO_CHECK_TIME (OpenSSL, x509_vfy.h); the ssl module has no name for it. Chain and name are checked.
NO_CHECK_TIME = 0x200000


def believing(authorities: Path | None, *, judges_time: bool = True) -> ssl.SSLContext:
    """Believes servers of the CAs in a file (PEM; None = those of the system): there is no way around chain and name.

    Without `judges_time` a certificate may have ended. That is for a server on this machine and the CAs of its own
    folder: that its certificate is old is no reason to lock its owner out, or to leave unread what devices say.

    Raises:
        ConfigError: a file that holds no CA.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise ConfigError(
            f"cannot read CAs from {authorities}: {error}; name the right file with EDGEOPS_CA"
        ) from error
    if not judges_time:
        context.verify_flags |= NO_CHECK_TIME
    return context


def unbelieved_context() -> ssl.SSLContext:
    """For answers that prove themselves, whoever brings them: TUF metadata, a signed time, a CA whose digest is known.

    A device that believes no present certificate asks this way, so nothing secret may be said over it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """For requests to the fleet server: it is on this site, so a proxy for the internet is none for it.

    Redirects are not followed: they would lead where nobody said that the server is.
    """
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirects()
    )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine is reached there, so that plain TCP may be spoken."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes a redirect the error that it is."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        """No other request is made."""
