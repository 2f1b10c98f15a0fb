"""Where a site listens, and how its own processes reach it: a value, made from what a person asked for."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from edgeops.errors import ConfigError
from edgeops.local.endpoints import LOOPBACK
from edgeops.trust.transport import is_loopback

#: Where API and broker are beyond loopback, when nothing is known yet: devices remember it.
API_PORT = 8470
BROKER_PORT = 8471


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """An IP address, the names that devices use, and whether TLS is spoken although it is loopback.

    Raises:
        ConfigError: no IP address, or one that stands for all without a name.
    """

    address: str = LOOPBACK
    hosts: tuple[str, ...] = ()
    forced_tls: bool = False

    def __post_init__(self) -> None:
        try:
            every = ipaddress.ip_address(self.address).is_unspecified
        except ValueError as error:
            raise ConfigError(f"cannot listen on {self.address!r}; name an IP address of this machine") from error
        if every and not self.hosts:
            raise ConfigError(
                f"{self.address} is every address of this machine; say under which name or address devices reach it: "
                "--host HOST"
            )

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken: always beyond loopback."""
        return self.forced_tls or not is_loopback(self.address)

    @property
    def beyond(self) -> bool:
        """Whether others than this machine reach it, who remember its ports."""
        return not is_loopback(self.address)

    @property
    def reached_at(self) -> str:
        """The address for this machine's own processes."""
        address = ipaddress.ip_address(self.address)
        if not address.is_unspecified:
            return self.address
        return "::1" if address.version == 6 else LOOPBACK

    def url(self, port: int) -> str:
        """Where this machine's own processes reach the API."""
        host = f"[{self.reached_at}]" if ":" in self.reached_at else self.reached_at
        return f"{'https' if self.tls else 'http'}://{host}:{port}"

    def arguments(self) -> Sequence[str]:
        """The same for `edgeops-server`."""
        hosts = [part for host in self.hosts for part in ("--host", host)]
        return ("--listen", self.address, *hosts, *(["--tls"] if self.forced_tls else []))
