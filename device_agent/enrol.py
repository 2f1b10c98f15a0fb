"""Makes this machine a device of a fleet, once, with a one-time token.

The private key is made here and never leaves. Over TLS the server is believed only if its certificate was signed by the
CA whose fingerprint a person brought. What it answers is stored: the id it gave, a broker account, and the TUF root,
trusted on this first use. The fleet's keys and its CAs then come through TUF.
"""

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Annotated, Any, BinaryIO, TypeVar, cast
from urllib.parse import urljoin, urlsplit
from urllib.request import OpenerDirector

import msgspec

from device_agent import child
from device_agent.clock import Clock
from device_agent.config import Device, StateFolder, private_folder, write_device
from device_agent.hardware import hardware_id
from device_agent.tls import FleetTls, fleet_context
from device_agent.trust import FleetKeys, ask_by
from device_agent.wayback import speaks_tls
from edgeops import __version__, limits
from edgeops.digest import DIGEST_PATTERN, write_atomically
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
from edgeops.trust.authorities import AUTHORITIES_TARGET, Authority, encode_authorities
from edgeops.trust.frames import Failure, converse
from edgeops.trust.keyring import FLEET_KEYS_TARGET
from edgeops.trust.transport import opener, unbelieved_context

_TIMEOUT_S = 15.0
_ERRORS: dict[int, type[ServerError]] = {
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
}


_T = TypeVar("_T")


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


class _Authority(msgspec.Struct, frozen=True):
    pem: str


class _Authorities(msgspec.Struct, frozen=True):
    authorities: Annotated[tuple[_Authority, ...], msgspec.Meta(max_length=limits.MAX_AUTHORITIES)]


def enrol(
    state: StateFolder, url: str, *, token: str, name: str, fingerprint: str = "", clock: Clock | None = None
) -> Device:
    """Enrol this machine at the fleet server and store everything the agent needs.

    Args:
        state: where.
        url: of the fleet server; `https` beyond this machine.
        token: one-time; behind an `@` it may carry the fingerprint.
        name: what people call the device.
        fingerprint: of the CA that signed the server's certificate, `sha256:` and 64 hex characters.
        clock: for tests.

    Raises:
        ConfigError: an address or fingerprint that cannot be used.
        ConflictError: this state folder is enrolled already.
        ServerError: the server refused (by kind), or did not answer.
        TrustError: the server cannot prove to be the one with this fingerprint; or enrolled, but the fleet's keys
            cannot be had yet: the running agent asks again.
    """
    if state.device.exists():
        raise ConflictError(
            f"{state.path} is enrolled already; use another --state, or remove that folder to enrol as a new device"
        )
    token, _, carried = token.partition("@")
    authority = _pinned(url, fingerprint or carried)
    private_folder(state.path)
    clock = clock or Clock(state.clock)
    key = SigningKey.generate()
    answer = _post(
        _opener(authority, clock),
        url,
        {
            "token": token,
            "name": name,
            "hardware": hardware_id(),
            "public_key": key.public.hex,
            "agent_version": __version__,
        },
        clock,
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
    if authority is not None:
        FleetTls(state.trust, now=clock.present).store(encode_authorities([authority]))
    write_device(state, device)
    _fetch_fleet(state, device, clock)
    return device


def _fetch_fleet(state: StateFolder, device: Device, clock: Clock) -> None:
    """The fleet's keys and CAs, as TUF lists them."""
    ask = ask_by(clock, (FLEET_KEYS_TARGET, AUTHORITIES_TARGET))
    command = child.command("edgeops.trust.client", "--state", str(state.trust), "--url", device.tuf_url)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        to_child, from_child = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        said = converse(to_child, from_child, ask=ask, fetch=lambda _path: None)
    if isinstance(said, Failure):
        raise _without_keys(device, f"{said.kind}: {said.detail}; {clock}")
    listed = said.targets.get(FLEET_KEYS_TARGET)
    if listed is None:
        raise _without_keys(device, f"TUF does not list {FLEET_KEYS_TARGET}")
    keys = FleetKeys(state.trust)
    keys.store(listed)
    clock.verified(said.expires, said.timestamp_keys, epoch=keys.epoch)
    authorities = said.targets.get(AUTHORITIES_TARGET)
    if authorities is not None:
        FleetTls(state.trust, now=clock.present).store(authorities)


def _without_keys(device: Device, reason: str) -> TrustError:
    return TrustError(f"enrolled as {device.id}, but without the fleet's keys ({reason}); a running agent asks again")


def _pinned(url: str, fingerprint: str) -> Authority | None:
    """The CA with this fingerprint, from the server itself; None = no TLS is spoken on this machine.

    Raises:
        ConfigError: an address that is none, or a fingerprint that is none, is missing, or has nothing to pin.
        TrustError: the server has no such CA.
        ServerError: it does not answer, or not as ours does.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"not a server address: {url!r}; expected https://HOST:PORT")
    if not speaks_tls(url):
        if fingerprint:
            raise ConfigError(f"{url} does not speak TLS, so no CA can be held against {fingerprint}; use https://")
        return None
    if DIGEST_PATTERN.fullmatch(fingerprint) is None:
        raise ConfigError(
            f"{fingerprint!r} is no fingerprint of a CA; the server's owner has it: edgeops key ca show "
            "(--ca-fingerprint sha256:...), and enrolment tokens carry it"
        )
    request = urllib.request.Request(url.rstrip("/") + "/api/v1/authorities")  # noqa: S310 - https, as checked above
    listed = _ask(opener(unbelieved_context()), url, request, _Authorities)
    for one in listed.authorities:
        authority = Authority.from_pem(one.pem)
        if authority.fingerprint == fingerprint:
            return authority
    raise TrustError(f"{url} has no CA {fingerprint}; is it another fleet's server, or is somebody in between?")


def _opener(authority: Authority | None, clock: Clock) -> OpenerDirector:
    return opener(fleet_context(() if authority is None else (authority,), now=clock.present))


def _post(http: OpenerDirector, url: str, body: dict[str, Any], clock: Clock) -> _Answer:
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
        url.rstrip("/") + "/api/v1/enrol",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        return _ask(http, url, request, _Answer)
    except TrustError as error:
        # The time is judged although nobody can be asked for it yet: without that, whoever has the key of a certificate
        # that ended years ago could answer here, hear the token, and hand out a root of their own.
        raise TrustError(
            f"{error}; {clock}: if that is wrong, set it and enrol again, the token was not spent"
        ) from error


def _ask(http: OpenerDirector, url: str, request: urllib.request.Request, kind: type[_T]) -> _T:
    try:
        with http.open(request, timeout=_TIMEOUT_S) as response:
            return msgspec.json.decode(response.read(2 * limits.MAX_METADATA_BYTES), type=kind)
    except urllib.error.HTTPError as error:
        refusal = _ERRORS.get(error.code, ServerError)
        raise refusal(f"{url} refuses to enrol this device: {_problem(error)}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise TrustError(f"{url} cannot prove to be this fleet's server: {reason}") from error
        raise UnreachableError(f"{url} does not answer: {reason}") from error
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
