"""Where a server keeps its things and where it listens.

One frozen value that every server process is started with; it decides paths and names, and refuses listeners beyond
loopback without TLS. It reads no environment and opens nothing.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from edgeops import limits
from edgeops.digest import digest_hex
from edgeops.errors import ConfigError
from edgeops.trust.transport import is_loopback

DEFAULT_API_PORT = 8470
DEFAULT_BROKER_PORT = 8471
#: The broker account of the link process, and its MQTT client id.
BROKER_USER = "edgeops-server"
#: Parameters of libpq that are secrets.
_SECRETS = ("password", "sslpassword", "oauth_client_secret")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The data folder, the two listeners, rates, and the path of every file in the folder.

    Raises:
        ConfigError: a listener beyond loopback without TLS, or on every address without a name; a port outside
            0..65535; a rate below one block a second; a database that is no URL of PostgreSQL or
            tells a password; a data folder that cannot be written into a broker's
            configuration file.
    """

    data: Path
    api_host: str = "127.0.0.1"
    api_port: int = DEFAULT_API_PORT
    broker_host: str = "127.0.0.1"
    broker_port: int = DEFAULT_BROKER_PORT
    broker_user: str = BROKER_USER
    #: Bytes a second that artifacts may take: blocks that the link publishes, each counted once however many devices
    #: hear it; ranges over HTTP, all devices together; and each device, whichever way.
    block_rate: int = limits.BLOCK_RATE_BYTES_PER_S
    range_rate: int = limits.RANGE_RATE_BYTES_PER_S
    device_rate: int = limits.BLOCK_RATE_BYTES_PER_S_PER_DEVICE
    #: Whether both listeners speak TLS, and nothing else.
    tls: bool = False
    #: Host names and addresses under which devices reach this server, the first one before all.
    names: tuple[str, ...] = ()
    #: A PostgreSQL database as libpq names it, without a password; None = two files in the data folder.
    database: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.absolute())
        if not str(self.data).isprintable():
            raise ConfigError(f"the data folder {str(self.data)!r} has unprintable characters; choose another")
        for name, host, port in (
            ("api", self.api_host, self.api_port),
            ("broker", self.broker_host, self.broker_port),
        ):
            _require_private(name, host, tls=self.tls)
            if _is_unspecified(host) and not self.names:
                raise ConfigError(
                    f"the {name} listens on every address of this machine; say under which name or address devices "
                    "reach it: --host HOST"
                )
            if not 0 <= port <= 65535:
                raise ConfigError(f"{name} port {port} does not exist; choose one between 0 and 65535")
        if self.database is not None:
            _require_database(self.database)
        for name, rate in (("block", self.block_rate), ("range", self.range_rate), ("device", self.device_rate)):
            if rate < limits.BLOCK_BYTES:
                raise ConfigError(
                    f"a {name} rate of {rate} bytes a second is below one block; choose {limits.BLOCK_BYTES} or more"
                )

    @property
    def local_broker_host(self) -> str:
        """Where this machine's own processes reach the broker."""
        return _reachable(self.broker_host)

    def broker_host_for(self, reached: str | None) -> str:
        """Where a device reaches the broker that reached the API under the name `reached`."""
        if not self.tls:
            return self.broker_host
        return reached if reached in self.certificate_names else self.certificate_names[0]

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """What the server's certificate is for: the names it was given, its addresses, and this machine itself."""
        hosts = [host for host in (self.broker_host, self.api_host) if not _is_unspecified(host)]
        return tuple(dict.fromkeys(map(_as_certified, (*self.names, *hosts, *_LOOPBACK_NAMES))))

    # -- databases and files by content

    @property
    def db(self) -> Path:
        """`control.db` and `telemetry.db`."""
        return self.data / "db"

    @property
    def blobs(self) -> Path:
        """Files named by their content: artifacts, snapshots, uploads."""
        return self.data / "blobs"

    def blob_path(self, digest: str) -> Path:
        """Where the blob with this digest is or would be.

        Raises:
            MessageError: the text is no digest.
        """
        name = digest_hex(digest)
        return self.blobs / name[:2] / name[2:]

    # -- what is signed, and with what

    @property
    def repository(self) -> Path:
        """The TUF repository: `metadata` and `targets`."""
        return self.data / "repository"

    @property
    def metadata(self) -> Path:
        """TUF metadata files, consistent snapshots."""
        return self.repository / "metadata"

    @property
    def targets(self) -> Path:
        """TUF target files, under their consistent-snapshot names."""
        return self.repository / "targets"

    @property
    def keys(self) -> Path:
        """All private keys of this server; only its owner may enter."""
        return self.data / "keys"

    def fleet_key(self, epoch: int) -> Path:
        """The private key that signs what devices are told in `epoch`."""
        return self.keys / f"fleet-{epoch}.pem"

    @property
    def webhook_secret(self) -> Path:
        """What the keys that sign webhooks are derived from."""
        return self.keys / "webhooks.secret"

    @property
    def recipes(self) -> Path:
        """Recipes of the owner of this folder, one Python file each; nobody else writes here."""
        return self.data / "recipes"

    @property
    def restored_recipes(self) -> Path:
        """Recipes that came out of a backup. They are code that others may have touched: a person lets them run."""
        return self.data / "recipes.restored"

    @property
    def webhook_hosts(self) -> Path:
        """The hosts that webhooks may go to; written by the owner of this folder alone."""
        return self.data / "webhooks.allow"

    @property
    def admin_token(self) -> Path:
        """The token that `init` made for the owner of this folder."""
        return self.keys / "admin.token"

    # -- TLS

    @property
    def tls_folder(self) -> Path:
        """What TLS listeners show, and whom their clients believe."""
        return self.data / "tls"

    @property
    def certificate(self) -> Path:
        """The server's certificate with its CA's and its private key; only the owner may read it."""
        return self.tls_folder / "server.pem"

    @property
    def authorities(self) -> Path:
        """The certificates of the fleet's CAs, for clients on this machine."""
        return self.tls_folder / "ca.pem"

    # -- the broker

    @property
    def broker(self) -> Path:
        """The broker's folder: configuration, accounts, rules, persistence, log."""
        return self.data / "broker"

    @property
    def broker_conf(self) -> Path:
        """What mosquitto is started with."""
        return self.broker / "mosquitto.conf"

    @property
    def broker_passwd(self) -> Path:
        """Accounts, written from the table `broker_accounts`."""
        return self.broker / "passwd"

    @property
    def broker_acl(self) -> Path:
        """Who may write and read which topics."""
        return self.broker / "acl"

    @property
    def broker_pid(self) -> Path:
        """Written by the broker itself."""
        return self.broker / "pid"

    @property
    def broker_log(self) -> Path:
        """What the broker tells, without its packets."""
        return self.broker / "mosquitto.log"

    @property
    def server_password(self) -> Path:
        """The password of the account `broker_user`."""
        return self.broker / "server.password"

    # -- `edgeops up`

    @property
    def devices(self) -> Path:
        """State folders of the agents that `edgeops up` starts."""
        return self.data / "devices"

    @property
    def run(self) -> Path:
        """What runs now: endpoints and logs."""
        return self.data / "run"

    @property
    def endpoints(self) -> Path:
        """Where the running server is reached; written by `edgeops up`."""
        return self.run / "endpoints.json"

    @property
    def logs(self) -> Path:
        """Logs of the processes that `edgeops up` starts."""
        return self.run / "logs"


def _require_private(name: str, host: str, *, tls: bool) -> None:
    if tls and _address(host) is None:
        raise ConfigError(f"the {name} cannot listen on {host!r}; name an IP address of this machine")
    if not tls and not is_loopback(host):
        raise ConfigError(
            f"the {name} listener {host!r} is not a loopback address; without TLS only 127.0.0.1, ::1 and "
            "localhost are allowed: name the address with --listen, which turns TLS on"
        )


def _require_database(url: str) -> None:
    """No message names the URL: what is wrong with it may be that it tells a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not url.isprintable():
        raise ConfigError("the database is no URL of PostgreSQL; write it as postgresql://USER@HOST/NAME")
    if parts.password is not None or any(name in _SECRETS for name, _ in parse_qsl(parts.query)):
        raise ConfigError(
            "the database URL holds a password, which everybody on this machine may then read; leave it out, and put "
            "it into the file that PGPASSFILE names, ~/.pgpass, or PGPASSWORD"
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None


def _is_unspecified(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _as_certified(name: str) -> str:
    """A name as certificates spell it."""
    address = _address(name) if name != "localhost" else None
    return name.lower() if address is None else str(address)


def _reachable(host: str) -> str:
    """An address that a listener on `host` answers on, for this machine itself."""
    if not _is_unspecified(host):
        return host
    return "::1" if ":" in host else "127.0.0.1"
