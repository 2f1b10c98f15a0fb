"""Webhooks: where one may go, how it is signed, and when it is tried again.

Signed as Standard Webhooks says (standardwebhooks.com, `v1a`): Ed25519 over `id.timestamp.body`, with a key of its own
for each receiver, derived from one secret of the server. A receiver holds the public half: none can forge what another
gets, and no secret is shared. Pure; nothing is sent here.
"""

import base64
import ipaddress
from collections.abc import Collection
from datetime import timedelta
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgeops import limits
from edgeops.errors import InputError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS = {"http": 80, "https": 443}
#: RFC 3879: nobody shall use it, and Python takes it for public.
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def parse_allowed(text: str) -> tuple[str, ...]:
    """The allow-list of a file: host names, `*.` and a domain, addresses, networks; one a line, `#` begins a remark."""
    lines = (line.partition("#")[0].strip().lower() for line in text.splitlines())
    return tuple(line for line in lines if line)


def check_url(url: str, allowed: Collection[str]) -> tuple[str, str, int]:
    """Scheme, host and port of a receiver that is on the list.

    Raises:
        InputError: it is no address of one, or its host is not listed.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.fragment or not url.isascii():
        raise InputError(f"not a receiver: {url[:200]!r}; expected for example https://hooks.example/edgeops")
    if not _is_listed(host, allowed):
        raise InputError(
            f"{host} is not on the list of this server, which its owner writes: a line in the file webhooks.allow of "
            "the data folder"
        )
    return parts.scheme, host, port or _PORTS[parts.scheme]


def place_of(url: str) -> str:
    """Scheme, host and port of a receiver, for everybody to read: the rest may be a secret of its own."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def objection(scheme: str, address: str, allowed: Collection[str]) -> str | None:
    """Why a listed host must not be reached at this address, which it resolved to just now; None = it may.

    A name may resolve to anything tomorrow, so an address inside is reached only if it is listed as an address.
    """
    found = _plain(ipaddress.ip_address(address))
    if any(found in network for network in _networks(allowed)):
        return None
    if not found.is_global or found.is_multicast or found.is_reserved or found in _SITE_LOCAL:
        return f"{found} is not a public address, and not on the list as an address or network"
    if scheme != "https":
        return f"{found} is reached over https only, unless the list names it as an address or network"
    return None


def key_of(secret: bytes, webhook_id: str) -> Ed25519PrivateKey:
    """The key that signs for one receiver."""
    raw = HKDF(SHA256(), 32, salt=None, info=b"edgeops webhook " + webhook_id.encode()).derive(secret)
    return Ed25519PrivateKey.from_private_bytes(raw)


def public_text(key: Ed25519PrivateKey) -> str:
    """Its public half, as receivers are given it."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return "whpk_" + base64.b64encode(raw).decode()


def signed_headers(key: Ed25519PrivateKey, message_id: str, *, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body; a receiver refuses a timestamp that is not of now, and an id it has seen."""
    signature = key.sign(f"{message_id}.{timestamp}.".encode() + body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1a," + base64.b64encode(signature).decode(),
    }


def pause_after(attempts: int, *, jitter: float) -> timedelta | None:
    """How long to wait after so many attempts in vain; None = it is dead. `jitter` is between 0 and 1."""
    if attempts >= limits.WEBHOOK_ATTEMPTS:
        return None
    full: timedelta = min(limits.WEBHOOK_RETRY_MIN * int(3 ** (attempts - 1)), limits.WEBHOOK_RETRY_MAX)
    return full * (0.5 + jitter / 2)


def _is_listed(host: str, allowed: Collection[str]) -> bool:
    if host in allowed or any(one.startswith("*.") and host.endswith(one[1:]) for one in allowed):
        return True
    try:
        address = _plain(ipaddress.ip_address(host))
    except ValueError:
        return False
    return any(address in network for network in _networks(allowed))


def _networks(allowed: Collection[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = []
    for one in allowed:
        try:
            networks.append(ipaddress.ip_network(one))
        except ValueError:
            continue  # a name
    return networks


def _plain(address: _Address) -> _Address:
    """IPv4 in the clothes of IPv6 is IPv4: mapped, 6to4 (RFC 3056), NAT64 (RFC 6052)."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
