"""What lies on a device's card or a server's disk and may be damaged there, or written by a person."""

import sqlite3
from pathlib import Path

import msgspec

from device_agent.baking import Baking
from device_agent.clock import Clock
from device_agent.config import (
    Deployment,
    Device,
    Replay,
    StateFolder,
    next_boot,
    read_deployment,
    read_device,
    write_deployment,
    write_device,
)
from device_agent.downlink import Downlink, Marks
from device_agent.starts import Starts
from device_agent.store.slots import Pointer, Slots
from device_agent.store.spool import Spool
from device_agent.store.state import DeploymentStore
from edgeops.errors import ConfigError, PlatformError
from edgeops.local.endpoints import Endpoints, read_endpoints
from edgeops.protocol.envelope import Mark, Session
from edgeops.protocol.messages import Count, Evidence, Shadowing, UpdateState
from edgeops.protocol.topics import UpKind
from edgeops.update.bake import Bake
from edgeops.update.streak import Standing, Streak
from edgeops.update.update import Update, Wanted
from tests.fuzz.parser import Parser, scratch

_DIGEST = "sha256:" + "5a" * 32
_DEEP = b'{"x":' + b"[" * 70_000
_JSON_DEEP = b"[" * 70_000


def _file(name: str, data: bytes) -> Path:
    """The only file of its folder."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.iterdir():
        if other.is_file():
            other.unlink()
    path.write_bytes(data)
    return path


def _update(data: bytes) -> Update:
    return DeploymentStore(_file("update/update.json", data).parent).load()


def _pointer(data: bytes) -> object:
    slots = Slots(_file("slots/pointer.json", data).parent)
    slots.start()
    return slots.pointer


def _bake(data: bytes) -> object:
    """Whatever is there, a bake ends, and what is written down of it can be written."""
    baking = Baking(_file("bake/bake.json", data).parent, now=0.0)
    update = Update(state=UpdateState.COMMITTED, wanted=_WANTED)
    baking.start(update, now=0.0)
    baking.tick(update, now=3600.0)
    assert baking.shadowing(update) is None
    return None if baking.damaged else data


def _starts(data: bytes) -> object:
    """Whatever is there, a start is counted and proven."""
    standings = {"gas": Standing(active=_DIGEST, tries=False, asked=(0, 0))}
    starts = Starts(_file("starts/starts.json", data), power_on="p", now_s=0.0)
    starts.falls(standings)
    starts.count(standings)
    starts.prove()
    return None if starts.damaged else data


def _clock(data: bytes) -> object:
    clock = Clock(_file("clock/clock.json", data), now=lambda: 1e9)
    assert clock.now_s() >= int(1e9), "the floor took the clock back"
    return clock.floor


def _marks(data: bytes) -> object:
    return Downlink("camera-1", _file("marks/marks.json", data)).desired


def _boot(data: bytes) -> int:
    count = next_boot(StateFolder(_file("boot/boot", data).parent), at_least_s=10**9)
    msgspec.convert(count, Count)
    return count


def _device(data: bytes) -> Device:
    return read_device(StateFolder(_file("device/device.json", data).parent))


def _device_bytes(device: Device) -> bytes:
    state = StateFolder(_file("device/device.json", b"").parent)
    write_device(state, device)
    return state.device.read_bytes()


def _deployment(data: bytes) -> Deployment:
    _file("deployments/camera/config.json", data)
    return read_deployment(StateFolder(scratch()), "camera")


def _deployment_bytes(deployment: Deployment) -> bytes:
    write_deployment(StateFolder(scratch()), "camera", deployment)
    return (scratch() / "deployments/camera/config.json").read_bytes()


def _endpoints(data: bytes) -> Endpoints | None:
    return read_endpoints(_file("run/endpoints.json", data).parents[1])


def _spool(data: bytes) -> object:
    """Whatever is there, an agent goes on with a spool that takes records and gives them out again."""
    try:
        spool = Spool.open(_file("spool/spool.db", data))
    except PlatformError as error:
        if "has format" in str(error):
            raise
        raise AssertionError("a damaged file keeps an agent from starting") from error
    try:
        return spool.append(UpKind.REPORTS, b"report")
    finally:
        spool.close()


def _spool_file() -> bytes:
    path = _file("spool/spool.db", b"")
    spool = Spool.open(path)
    spool.append(UpKind.REPORTS, b"report", checkpoint=("digits", b"position"))
    spool.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path.read_bytes()


_WANTED = Wanted(
    epoch=1, revision=2, target="models/digits/1-int8.json", digest=_DIGEST, installation="install-1",
    shadowing=Shadowing(share=0.2, cpu=0.1, for_ms=600_000, window_ms=5_000),
)  # fmt: skip
_DEVICE = Device(
    id="camera-1", name="camera", server="http://127.0.0.1:8470", tuf_url="http://127.0.0.1:8470/tuf",
    broker_host="127.0.0.1", broker_port=8471, broker_user="camera-1", broker_password="secret",
)  # fmt: skip

PARSERS = (
    Parser(
        name="update-state",
        read=_update,
        errors=(),
        write=msgspec.json.encode,
        seeds=lambda: [
            msgspec.json.encode(
                Update(state=UpdateState.TRIAL, wanted=_WANTED, evidence=Evidence(inferences=20, errors=0), boots=1)
            ),
            _DEEP,
        ],
    ),
    Parser(
        name="bake-state",
        read=_bake,
        errors=(),
        seeds=lambda: [
            msgspec.json.encode(Bake(epoch=1, revision=2, losses=0, told=(1, 2), passed_ms=1000, starts=1)),
            b'{"epoch":1,"revision":2,"losses":0,"told":[0,0],"passed_ms":9007199254740992,"starts":9007199254740992}',
            b'{"epoch":1,"revision":2,"losses":0,"told":[0,0],"passed_ms":-1}',
            _DEEP,
        ],
        most_bytes=400,
    ),
    Parser(
        name="starts-file",
        read=_starts,
        errors=(),
        seeds=lambda: [
            msgspec.json.encode(Streak(active={"gas": _DIGEST}, power_on="p", starts=4, deaf=2)),
            b'{"active":{},"power_on":"p","starts":9007199254740992,"deaf":9007199254740992}',
            _DEEP,
        ],
        most_bytes=400,
    ),
    Parser(
        name="slot-pointer",
        read=_pointer,
        errors=(),
        seeds=lambda: [msgspec.json.encode(Pointer(active=_DIGEST, previous=_DIGEST)), _DEEP],
        most_bytes=400,
    ),
    Parser(
        name="clock-floor",
        read=_clock,
        errors=(),
        seeds=lambda: [
            b'{"at":"2026-11-23T12:00:00Z","ends":"2036-11-23T12:00:00Z","keys":["a1"],"place":[1,7,2]}',
            b'{"at":"2026-11-23T12:00:00"}',
            _DEEP,
        ],
        most_bytes=400,
    ),
    Parser(
        name="downlink-marks",
        read=_marks,
        errors=(),
        seeds=lambda: [
            msgspec.json.encode(Marks(desired=(1, 2), kinds={"ack": Mark(Session(1, b"\x01" * 8), 3)})),
            _DEEP,
        ],
    ),
    Parser(
        name="boot-counter",
        read=_boot,
        errors=(),
        seeds=lambda: [b"12\n", b"-5", b"9" * 5000, b"9" * 30],
        most_bytes=100,
    ),
    Parser(
        name="device-file",
        read=_device,
        errors=(ConfigError,),
        write=_device_bytes,
        seeds=lambda: [msgspec.json.encode(_DEVICE), _JSON_DEEP],
    ),
    Parser(
        name="deployment-file",
        read=_deployment,
        errors=(ConfigError,),
        write=_deployment_bytes,
        seeds=lambda: [
            msgspec.json.encode(Deployment(source=Replay(file="rows.csv", run="run-1", rate_hz=100.0), jsonl="out")),
            _DEEP,
        ],
    ),
    Parser(
        name="endpoints-file",
        read=_endpoints,
        errors=(ConfigError,),
        write=msgspec.json.encode,
        seeds=lambda: [
            msgspec.json.encode(Endpoints(url="http://127.0.0.1:8470", broker_host="h", broker_port=1, pid=2)),
            _DEEP,
        ],
    ),
    Parser(name="spool-file", read=_spool, errors=(PlatformError,), seeds=lambda: [_spool_file()], most_bytes=65536),
)
