"""Where a server keeps its things and where it listens.

One frozen value that every server process is started with; it decides paths and refuses listeners
beyond loopback. It reads no environment and opens nothing.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from edgeops.digest import digest_hex
from edgeops.errors import ConfigError

DEFAULT_API_PORT = 8470
DEFAULT_BROKER_PORT = 8471
#: The broker account of the link process, and its MQTT client id.
BROKER_USER = "edgeops-server"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The data folder, the two listeners, and the path of every file in the folder.

    Raises:
        ConfigError: a listener beyond loopback, a port outside 0..65535, a data folder that cannot be
            written into a broker's configuration file.
    """

    data: Path
    api_host: str = "127.0.0.1"
    api_port: int = DEFAULT_API_PORT
    broker_host: str = "127.0.0.1"
    broker_port: int = DEFAULT_BROKER_PORT
    broker_user: str = BROKER_USER

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.absolute())
        if not str(self.data).isprintable():
            raise ConfigError(f"the data folder {str(self.data)!r} has unprintable characters; choose another")
        for name, host, port in (
            ("api", self.api_host, self.api_port),
            ("broker", self.broker_host, self.broker_port),
        ):
            _require_loopback(name, host)
            if not 0 <= port <= 65535:
                raise ConfigError(f"{name} port {port} does not exist; choose one between 0 and 65535")

    @property
    def api_url(self) -> str:
        """Where people, the CLI and enrolling devices reach the API."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return f"http://{host}:{self.api_port}"

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
    def admin_token(self) -> Path:
        """The token that `init` made for the owner of this folder."""
        return self.keys / "admin.token"

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


def _require_loopback(name: str, host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"the {name} listener {host!r} is not a loopback address; without TLS only 127.0.0.1, ::1 and "
            "localhost are allowed: tunnel to it, or run the devices on this machine"
        )
