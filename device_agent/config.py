"""Where an agent keeps its state, and the two files a person's choices end in.

`StateFolder` names every path once; `Device` is what enrolment wrote, `Deployment` what `replay`
wrote. This module reads and writes those files. It starts nothing and talks to nobody.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self, TypeVar

import msgspec

from device_agent.store.aside import set_aside, was_set_aside
from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConfigError
from edgeops.protocol.messages import Id
from edgeops.protocol.topics import is_id
from edgeops.trust.transport import is_loopback

_BEYOND_ALL_STARTS = 2**32
#: What an envelope's session can count to (`edgeops.protocol.messages.Count`).
_MOST_STARTS = 2**53


@dataclass(frozen=True, slots=True)
class StateFolder:
    """All that one agent remembers lies below `path`."""

    path: Path

    @classmethod
    def chosen(cls, option: Path | None, environment: Mapping[str, str]) -> Self:
        """The folder given, else $EDGEOPS_AGENT_STATE, else the XDG state directory."""
        if option is not None:
            return cls(option)
        if named := environment.get("EDGEOPS_AGENT_STATE"):
            return cls(Path(named))
        base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return cls(Path(base) / "edgeops-agent")

    @property
    def device(self) -> Path:
        """Who this device is and how it reaches its server; holds the broker password."""
        return self.path / "device.json"

    @property
    def key(self) -> Path:
        """The device's private key."""
        return self.path / "device.pem"

    @property
    def boot(self) -> Path:
        """The session counter."""
        return self.path / "boot"

    @property
    def starts(self) -> Path:
        """Starts in a row that ended within moments."""
        return self.path / "starts.json"

    @property
    def marks(self) -> Path:
        """The last desired state and the last fleet session taken in."""
        return self.path / "marks.json"

    @property
    def clock(self) -> Path:
        """What time it is at least."""
        return self.path / "clock.json"

    @property
    def holds(self) -> Path:
        """What the owner lets no update begin on."""
        return self.path / "holds.json"

    @property
    def labels(self) -> Path:
        """What the owner calls the device by."""
        return self.path / "labels.json"

    @property
    def benchmark(self) -> Path:
        """A model that is tried and not installed; emptied at every start."""
        return self.path / "benchmark"

    @property
    def trust(self) -> Path:
        """The TUF client's folder."""
        return self.path / "trust"

    @property
    def root(self) -> Path:
        """The TUF root of the enrolment answer, trusted on first use."""
        return self.trust / "metadata" / "root.json"

    @property
    def pinned_root(self) -> Path:
        """The root that every later one must descend from: `root`, once it was used, or what its owner pinned."""
        return self.trust / "root.json"

    @property
    def fleet_keys(self) -> Path:
        """The keys that may sign downlinks: the verified TUF target `fleet/keys.json`."""
        return self.trust / "fleet_keys.json"

    @property
    def spool(self) -> Path:
        """Records that wait for the server's ack, and source checkpoints."""
        return self.path / "spool.db"

    @property
    def deployments(self) -> Path:
        """One folder per deployment."""
        return self.path / "deployments"

    @property
    def socket(self) -> Path:
        """Where a running agent listens to its owner."""
        return self.path / "agent.sock"

    @property
    def pid(self) -> Path:
        """The process id of a running agent."""
        return self.path / "agent.pid"

    def deployment(self, name: str) -> Path:
        """The folder of one deployment.

        Raises:
            ConfigError: the name is no id, so it cannot be a folder or a topic either.
        """
        if not is_id(name):
            raise ConfigError(
                f"{name!r} cannot name a deployment; use 3 to 63 of a-z, 0-9 and -, beginning with a letter or digit"
            )
        return self.deployments / name

    def configuration(self, name: str) -> Path:
        """What the owner chose for one deployment."""
        return self.deployment(name) / "config.json"

    def configured(self) -> tuple[str, ...]:
        """The deployments that have a folder here, by name."""
        if not self.deployments.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in self.deployments.iterdir() if entry.is_dir() and is_id(entry.name)))


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen JSON file."""


class Device(Settings, frozen=True, kw_only=True):
    """What enrolment wrote: identity, server, broker account."""

    id: Id
    name: str
    server: str
    tuf_url: str
    broker_host: str
    broker_port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    broker_user: str
    broker_password: str


class PredictionMode(StrEnum):
    """Which answers are published."""

    #: Every answer.
    ALL = "all"
    #: The newest, at most one a second.
    LATEST = "latest"
    #: None.
    OFF = "off"


class Replay(Settings, frozen=True, kw_only=True, tag="replay", tag_field="kind"):
    """A file whose rows are played as if a sensor sent them."""

    file: str
    #: Marks one order to replay: a checkpoint of another run does not count for this one.
    run: str
    #: Begin again after the last row.
    loop: bool = False
    #: Rows per second; None = as fast as the model answers.
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None


class MqttTarget(Settings, frozen=True, kw_only=True):
    """A broker of the owner's that gets the answers."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    topic: Annotated[str, msgspec.Meta(pattern=r"^[^+#\x00]{1,200}\Z")]
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    #: A file with the user in its first line and the password in the second.
    credentials: str | None = None
    #: A file with the CAs that may have signed the broker's certificate, in PEM; None = plain TCP.
    ca: str | None = None
    #: Whether something moves by it: then it never hears a model that is not committed.
    actuating: bool = False
    #: The answer while no model answers.
    safe: float | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError where the password would go beyond loopback in plain."""
        if self.credentials is not None and self.ca is None and not is_loopback(self.host):
            raise ConfigError(
                f"the broker {self.host}:{self.port} is not on this machine, so its password goes there over TLS only; "
                "name the file with its CA: edgeops-agent mqtt --ca FILE"
            )


class Deployment(Settings, frozen=True, kw_only=True):
    """What the owner of the device chose for one deployment."""

    #: One kind so far; the tag in the file keeps the place of the others. A live stream is not configured: it comes.
    source: Replay | None = None
    predictions: PredictionMode = PredictionMode.LATEST
    #: Answers also go to this file, one JSON object a line.
    jsonl: str | None = None
    #: Answers also go to this broker.
    mqtt: MqttTarget | None = None
    #: Whether inputs may leave the device as samples, to be labelled.
    samples: bool = True


_T = TypeVar("_T", bound=Settings)


def read_device(state: StateFolder) -> Device:
    """The enrolled identity.

    Raises:
        ConfigError: not enrolled, or the file cannot be read.
    """
    if not state.device.exists():
        raise ConfigError(
            f"no device is enrolled in {state.path}; run: edgeops-agent --state {state.path} enrol URL --token TOKEN"
        )
    return _read(state.device, Device)


def write_device(state: StateFolder, device: Device) -> None:
    """Store the identity so that only its owner may read it."""
    write_atomically(state.device, msgspec.json.format(msgspec.json.encode(device)) + b"\n", mode=0o600)


def read_deployment(state: StateFolder, name: str) -> Deployment:
    """The owner's choices for a deployment; defaults when there are none.

    Where they were damaged and set aside, nothing is allowed that the owner may have forbidden.

    Raises:
        ConfigError: the file exists and cannot be used.
    """
    path = state.configuration(name)
    return _read(path, Deployment) if path.exists() else Deployment(samples=not was_set_aside(path))


def write_deployment(state: StateFolder, name: str, deployment: Deployment) -> None:
    """Store the owner's choices.

    Raises:
        ConfigError: the name cannot be a deployment.
    """
    path = state.configuration(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(deployment)) + b"\n")


def reserve_bytes(environment: Mapping[str, str]) -> int:
    """Disk that stays free beside an artifact: $EDGEOPS_DISK_RESERVE_MIB, else DISK_RESERVE_BYTES.

    Raises:
        ConfigError: no whole number.
    """
    text = environment.get("EDGEOPS_DISK_RESERVE_MIB")
    if text is None:
        return limits.DISK_RESERVE_BYTES
    if not text.isdecimal():
        raise ConfigError(f"EDGEOPS_DISK_RESERVE_MIB is {text!r}; give whole MiB, 0 or more")
    return int(text) * 2**20


def next_boot(state: StateFolder, *, at_least_s: int, on_damage: Callable[[Exception], object] = lambda _: None) -> int:
    """Count one more start of the agent, durably, before anything is signed with it.

    A counter that is lost (unreadable, or gone where an agent has run) goes on far beyond any number of starts: the
    server refuses a lower one than before. `at_least_s` are Unix seconds that have passed; they tell one such loss from
    the next. An unreadable file is set aside, and `on_damage` called.

    Raises:
        OSError: the disk takes nothing; the number may not be used.
    """
    try:
        last = _counted(state.boot.read_text(encoding="ascii"))
    except FileNotFoundError:
        last = _BEYOND_ALL_STARTS + at_least_s if state.spool.exists() else 0
    except (OSError, ValueError) as error:
        on_damage(error)
        set_aside(state.boot)
        last = _BEYOND_ALL_STARTS + at_least_s
    write_atomically(state.boot, f"{last + 1}\n".encode("ascii"))
    return last + 1


def _counted(text: str) -> int:
    """A number of starts so far.

    Raises:
        ValueError: it is none, or one more than envelopes can carry.
    """
    count = int(text)
    if not 0 <= count < _MOST_STARTS:
        raise ValueError(f"{count} is no number of starts")
    return count


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter."""
    path.mkdir(parents=True, exist_ok=True)
    os.chmod(path, 0o700)  # noqa: PTH101 - mkdir's mode is subject to the umask and ignored when it exists


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"cannot use {path}: {error}") from error
