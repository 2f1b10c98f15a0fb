"""Makes this machine a device of a fleet, once, with a one-time token.

The private key is made here and never leaves. What the server answers is stored: the id it gave, a
broker account, and the TUF root, trusted on this first use. The fleet's keys then come through TUF.
"""

import json
import subprocess
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Annotated, Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import msgspec

from device_agent import child
from device_agent.clock import Clock
from device_agent.config import Device, StateFolder, private_folder, write_device
from device_agent.facts import hardware_id
from device_agent.trust import FleetKeys
from edgeops import __version__, limits
from edgeops.digest import write_atomically
from edgeops.errors import (
    AccessError,
    ConfigError,
    ConflictError,
    NotFoundError,
    ServerError,
    TrustError,
    UnreachableError,
)
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.protocol.messages import Id
from edgeops.trust.frames import Ask, Failure, converse
from edgeops.trust.keyring import FLEET_KEYS_TARGET

_TIMEOUT_S = 15.0
_ERRORS: dict[int, type[ServerError]] = {
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
}


class _Broker(msgspec.Struct, frozen=True):
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    username: str
    password: str


class _Answer(msgspec.Struct, frozen=True):
    device_id: Id
    broker: _Broker
    #: TUF root metadata as JSON text.
    root: Annotated[str, msgspec.Meta(max_length=limits.MAX_METADATA_BYTES)]
    tuf_url: str


def enrol(state: StateFolder, url: str, *, token: str, name: str) -> Device:
    """Enrol this machine at the fleet server and store everything the agent needs.

    Raises:
        ConflictError: this state folder is enrolled already.
        ServerError: the server refused (by kind), or did not answer.
        TrustError: enrolled, but the fleet's keys cannot be had yet; the running agent asks again.
    """
    if state.device.exists():
        raise ConflictError(
            f"{state.path} is enrolled already; use another --state, or remove that folder to enrol as a new device"
        )
    private_folder(state.path)
    key = SigningKey.generate()
    answer = _post(
        url,
        {
            "token": token,
            "name": name,
            "hardware": hardware_id(),
            "public_key": key.public.hex,
            "agent_version": __version__,
        },
    )
    device = Device(
        id=answer.device_id,
        name=name,
        server=url,
        tuf_url=urljoin(url.rstrip("/") + "/", answer.tuf_url),
        broker_host=answer.broker.host,
        broker_port=answer.broker.port,
        broker_user=answer.broker.username,
        broker_password=answer.broker.password,
    )
    state.root.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(state.root, answer.root.encode())
    write_private_key(state.key, key)
    write_device(state, device)
    _fetch_fleet_keys(state, device)
    return device


def _fetch_fleet_keys(state: StateFolder, device: Device) -> None:
    clock = Clock(state.clock)
    ask = Ask(targets=(FLEET_KEYS_TARGET,), max_bytes=limits.MAX_METADATA_BYTES, now=clock.now_s())
    command = child.command("edgeops.trust.client", "--state", str(state.trust), "--url", device.tuf_url)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        to_child, from_child = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        said = converse(to_child, from_child, ask=ask, fetch=lambda _path: None)
    if isinstance(said, Failure):
        raise _without_keys(device, f"{said.kind}: {said.detail}; {clock}")
    clock.verified(said.expires)
    keys = said.targets.get(FLEET_KEYS_TARGET)
    if keys is None:
        raise _without_keys(device, f"TUF does not list {FLEET_KEYS_TARGET}")
    FleetKeys(state.trust).store(keys)


def _without_keys(device: Device, reason: str) -> TrustError:
    return TrustError(f"enrolled as {device.id}, but without the fleet's keys ({reason}); a running agent asks again")


def _post(url: str, body: dict[str, Any]) -> _Answer:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"not a server address: {url!r}; expected http://HOST:PORT")
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
        url.rstrip("/") + "/api/v1/enrol",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    # The fleet server is on this site: a proxy for the internet is none for it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return msgspec.json.decode(response.read(2 * limits.MAX_METADATA_BYTES), type=_Answer)
    except urllib.error.HTTPError as error:
        kind = _ERRORS.get(error.code, ServerError)
        raise kind(f"{url} refuses to enrol this device: {_problem(error)}") from error
    except OSError as error:
        raise UnreachableError(f"{url} does not answer: {getattr(error, 'reason', error)}") from error
    except (HTTPException, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(f"{url} is no EdgeOps server, or another version: {error}") from error


def _problem(error: urllib.error.HTTPError) -> str:
    """The words of a problem document (RFC 9457), else the status line."""
    with error:
        try:
            problem = json.loads(error.read(65536))
            return str(problem.get("detail") or problem["title"])
        except (ValueError, KeyError, AttributeError, RecursionError, OSError):
            return f"{error.code} {error.reason}"
