"""Records through the link, durable, verified and acknowledged, beside bare paho receiving from the same broker."""

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench._flood import Client, Load, Round
from edgeops import limits
from edgeops.digest import digest_bytes, digest_raw
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import Up, UpKind
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack
from edgeops.sketch.window import Sketcher
from fleet_server import broker as accounts
from fleet_server.accounts import publish_accounts
from fleet_server.db import devices
from tests.integration.link_rig import Rig

CLIENTS = (1, 100, 1000)
ROUNDS = int(os.environ.get("EDGEOPS_BENCH_ROUNDS", "3"))
FULL = limits.MAX_RECORDS_PER_MESSAGE
#: Messages of one round, by the records in each.
MESSAGES = {1: 4_000, FULL: 1_000}
BARS = {FULL: 0.5, 1: 0.35}
CHANNELS = 16
ROWS = 500
_SKETCHES = 64
_SIGNATURES = 2_000
_HOURS = 9_000
_SHARE = ("EDGEOPS_DEVICE_MESSAGES_PER_S", "EDGEOPS_DEVICE_BYTES_PER_S", "EDGEOPS_DEVICE_BYTES_PER_DAY")
_RECEIVER = "bare-receiver"

#: The other side: what paho's own loop costs for a message of QoS 1, and nothing else.
_BARE = """
import socket, sys, time
import paho.mqtt.client as paho
from edgeops.protocol.topics import client_id
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
port, user, password, at_once = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
left = 0
def hear(client, userdata, message):
    global left
    left -= 1
    if not left:
        print(time.monotonic(), flush=True)
client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id(user), protocol=paho.MQTTv5)
client.username_pw_set(user, password)
client.on_message = hear
client.on_socket_open = lambda c, u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
client.on_subscribe = lambda *_: print("ready", flush=True)
client.on_connect = lambda c, *_: c.subscribe("bare/+/+", qos=1)
properties = Properties(PacketTypes.CONNECT)
properties.ReceiveMaximum = at_once
client.connect("127.0.0.1", port, properties=properties)
client.loop_start()
for line in sys.stdin:
    left = int(line)
    print("waits", flush=True)
"""


@dataclass
class Side:
    """What the rounds of one kind came to, per record or message."""

    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def add(self, count: int, seconds: float, cpu_s: float) -> None:
        self.per_s.append(count / seconds)
        self.cpu_us.append(1e6 * cpu_s / count)

    @property
    def rate(self) -> float:
        return statistics.median(self.per_s)

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s ({statistics.median(self.cpu_us):.0f} us CPU)"


def measure() -> dict[str, Any]:
    """The worst share, over its bar, of all numbers of clients."""
    results = {clients: _measured(clients) for clients in CLIENTS}
    shares = {
        (clients, records): sides[f"ours {records}"].rate / sides["bare 1"].rate
        for clients, sides in results.items()
        for records in BARS
    }
    most = {clients: _most(sides["bare 1"].rate) for clients, sides in results.items()}
    worst = {records: min(share for (_, of), share in shares.items() if of == records) for records in BARS}
    said = "; ".join(
        f"{clients} clients: ours {sides[f'ours {FULL}']} with {FULL} records a message, {sides['ours 1']} with one, "
        f"bare {sides['bare 1']} messages of one record and {sides[f'bare {FULL}']} of {FULL}: "
        f"{shares[clients, FULL]:.2f} and {shares[clients, 1]:.2f}, where receiving, verifying and signing an Ack "
        f"alone would come to {most[clients]:.2f} with one"
        for clients, sides in results.items()
    )
    return {
        "name": "ingestion",
        "value": round(worst[1], 2),
        "unit": f"with one record a message, {worst[FULL]:.2f} with {FULL}",
        "baseline": 1.0,
        "bar": f">= {BARS[1]} with one record a message, >= {BARS[FULL]} with {FULL}",
        "holds": all(worst[records] >= bar for records, bar in BARS.items()),
        "inside": (
            "records a second from the first publish to the last signed Ack heard by its device, through mosquitto "
            "and the link process (signature, session, ledger, sketch of 16 channels unpacked and checked, SQLite "
            "commit with synchronous = FULL), over messages a second of a bare paho client (QoS 1, its own acks, "
            f"counts them) that gets the same records one a message; medians of {ROUNDS} interleaved rounds; the "
            f"senders were signed before. {said}"
        ),
    }


def _most(bare_per_s: float) -> float:
    """What is left of the bare rate if a message costs one verification and one signature more, and nothing else."""
    key, text = SigningKey.generate(), secrets.token_bytes(700)
    signature = key.sign(text)
    began_s = time.perf_counter()
    for _ in range(_SIGNATURES):
        assert key.public.verifies(signature, text)
        key.sign(text)
    return 1 / (1 + bare_per_s * (time.perf_counter() - began_s) / _SIGNATURES)


def _measured(clients: int) -> dict[str, Side]:
    sides: dict[str, Side] = {f"{who} {records}": Side() for who in ("bare", "ours") for records in MESSAGES}
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        # What one client may say here is what all of them say together elsewhere.
        os.environ.update(dict.fromkeys(_SHARE, "1e9"))
        try:
            passwords = _admit(rig, clients)
            load, plan = _load(rig, passwords)
            file = Path(folder) / "load"
            file.write_bytes(msgspec.msgpack.encode(load))
            rig.start_broker()
            rig.start_linked()
            bare = [sys.executable, "-c", _BARE, str(rig.config.broker_port), _RECEIVER, passwords[_RECEIVER]]
            with (
                _child([*bare, str(limits.RECEIVE_MAXIMUM)]) as receiver,
                _child([sys.executable, "-m", "bench._flood", str(file)]) as flood,
            ):
                for number, (side, records, count) in enumerate(plan):
                    _play(rig, sides[side], number, records=records, count=count, flood=flood, receiver=receiver)
        finally:
            rig.close()
    return sides


def _play(rig: Rig, side: Side, number: int, *, records: int, count: int, flood: Any, receiver: Any) -> None:
    """One round; `records` 0 = the bare side."""
    worker = rig.link if records else receiver
    if not records:
        _say(receiver, count)
        assert receiver.stdout.readline() == "waits\n"
    before = _cpu_s(worker.pid)
    _say(flood, number)
    began, ended = map(float, flood.stdout.readline().split())
    if not records:
        ended = float(receiver.stdout.readline())
    side.add(count * (records or 1), ended - began, _cpu_s(worker.pid) - before)
    time.sleep(0.3)


def _admit(rig: Rig, clients: int) -> dict[str, str]:
    """Accounts and keys of all devices, and an ear for the other side."""
    names = [f"sensor-{number:04}" for number in range(clients)]
    passwords = {name: accounts.new_password() for name in [*names, _RECEIVER]}
    now = datetime.now(UTC)
    with rig.database.write() as connection:
        for name, password in passwords.items():
            devices.set_broker_account(connection, name, password_hash=accounts.hash_password(password), now=now)
        for name in names:
            devices.enrol(connection, name, name=name, hardware=name, public_key=_key(name).public, now=now)
    publish_accounts(rig.config, rig.database)
    with rig.config.broker_acl.open("a") as file:
        file.write(f"pattern write bare/%u/telemetry\nuser {_RECEIVER}\ntopic read bare/#\n")
    return passwords


_KEYS: dict[str, SigningKey] = {}


def _key(name: str) -> SigningKey:
    return _KEYS.setdefault(name, SigningKey.generate())


def _load(rig: Rig, passwords: dict[str, str]) -> tuple[Load, list[tuple[str, int, int]]]:
    """All packets of all rounds, and the rounds: whose, records a message (0 = bare), messages."""
    sketches = _sketches()
    names = [name for name in passwords if name != _RECEIVER]
    voices = {name: _Voice(name, sketches) for name in names}
    clients = {name: Client(name, passwords[name], []) for name in names}
    plan: list[tuple[str, int, int]] = []
    for _ in range(ROUNDS):
        for records, messages_in_all in MESSAGES.items():
            each = max(1, messages_in_all // len(names))
            for who in ("bare", "ours"):
                for name in names:
                    clients[name].rounds.append(voices[name].round(each, records=records, bare=who == "bare"))
                plan.append((f"{who} {records}", records if who == "ours" else 0, each * len(names)))
    return Load(rig.config.broker_port, list(clients.values())), plan


class _Voice:
    """What one device sends."""

    def __init__(self, name: str, sketches: list[bytes]) -> None:
        self._name = name
        self._sketches = sketches
        self._speaker = Speaker(name, _key(name), 0, Session(1, secrets.token_bytes(8)))
        self._spool = secrets.token_bytes(8)
        self._seq = 0
        self._next = 0

    def round(self, count: int, *, records: int, bare: bool) -> Round:
        payloads = [self._sealed(records) for _ in range(count)]
        topic = f"bare/{self._name}/telemetry" if bare else str(Up(self._name, UpKind.TELEMETRY))
        if bare:
            # The same bytes count once: these were never told to the link.
            self._next -= count * records
        return Round(topic, payloads, -1 if bare else self._next - 1)

    def _sealed(self, records: int) -> bytes:
        self._seq += 1
        entries = tuple(self._record() for _ in range(records))
        body = messages.encode(messages.Records(spool=self._spool, records=entries))
        return seal(self._speaker, UpKind.TELEMETRY, seq=self._seq, body=body)

    def _record(self) -> messages.Record:
        number = self._next
        self._next += 1
        window = messages.Window(
            deployment=f"vibration-pump{number // _HOURS}",
            digest=digest_raw(digest_bytes(b"model")),
            phase=messages.Phase.LIVE,
            rows=ROWS,
            source_rows=ROWS,
            errors=0,
            dropped=0,
            duration_ms=3_600_000,
            latency_p50_us=1_250,
            latency_p95_us=9_870,
            sketch=self._sketches[number % len(self._sketches)],
        )
        # Each in an hour of its own, as its duration says; beyond a year, of another deployment.
        age_ms = (1 + number % _HOURS) * 3_600_000
        return messages.Record(seq=number, age_ms=age_ms, at_ms=0, data=messages.encode(window))


def _sketches() -> list[bytes]:
    random = np.random.default_rng(1)
    training = random.normal(size=(5_000, CHANNELS)).astype(np.float32)
    reference = build_reference(training, [f"x{index}" for index in range(CHANNELS)], discrete=())
    packed = []
    for _ in range(_SKETCHES):
        sketcher = Sketcher(reference)
        sketcher.add(random.normal(size=(ROWS, CHANNELS)).astype(np.float32))
        packed.append(pack(sketcher.sketch()))
    return packed


@contextmanager
def _child(command: list[str]) -> Iterator[Any]:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", f"{command[:3]} did not get ready"
        yield child
    finally:
        child.kill()
        child.wait()


def _say(child: Any, number: int) -> None:
    child.stdin.write(f"{number}\n")
    child.stdin.flush()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
