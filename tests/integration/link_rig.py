"""A real broker, a real link process and devices that speak the wire format, for the tests of the link."""

import json
import secrets
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgeops.digest import digest_bytes, digest_raw
from edgeops.local.sockets import listens
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.protocol.topics import RETAINED, DownKind, Up, UpKind, client_id
from fleet_server import broker as accounts
from fleet_server.accounts import publish_accounts
from fleet_server.db import devices
from tests.integration.ports import free_port, is_free
from tests.integration.waiting import ask_until, mosquitto
from tests.stores import config_for, database_in

DEADLINE_S = 60.0
LINK = """
import json, logging, os, pathlib, sys
from fleet_server.config import ServerConfig
from fleet_server.link import run_link
from fleet_server.link.allowance import Share
logging.basicConfig(level=logging.INFO)
config = ServerConfig(pathlib.Path(sys.argv[1]), broker_port=int(sys.argv[2]), **json.loads(sys.argv[3]))
run_link(config, share=Share.of(os.environ))
"""
BROKER = """
import pathlib, sys
from fleet_server.config import ServerConfig
from fleet_server.broker_process import run_broker
config = ServerConfig(pathlib.Path(sys.argv[1]), broker_port=int(sys.argv[2]))
sys.exit(run_broker(config, pathlib.Path(sys.argv[3]) if sys.argv[3:] else None))
"""
FACTS = messages.DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1, disk_free_bytes=1
)


eventually = partial(ask_until, seconds=DEADLINE_S)


@contextmanager
def linked_rig(folder):
    """A rig with its broker and its link, until the test ends."""
    rig = Rig(folder)
    try:
        rig.start_broker()
        rig.start_linked()
        yield rig
    finally:
        rig.close()


class Rig:
    """Everything of one test; `close` ends every process by its pid."""

    def __init__(self, folder, *, embedded=False):
        self.embedded = embedded
        self.protocol = paho.MQTTv311 if embedded else paho.MQTTv5
        self.config = config_for(folder / "data", broker_port=free_port())
        self.database = database_in(self.config.db)
        self.config.keys.mkdir(parents=True)
        self.fleet_key = SigningKey.generate()
        write_private_key(self.config.fleet_key(1), self.fleet_key)
        accounts.write_configuration(self.config)
        password = accounts.new_password()
        self.config.server_password.write_text(password)
        self.admit(self.config.broker_user, password)
        self._log_path = folder / "link.log"
        self.log = self._log_path.open("ab")
        self.broker = None
        self.link = None
        #: Of `ServerConfig`, what is not its default.
        self.rates = {}
        self.devices = []

    def start_broker(self):
        program = [] if self.embedded else [mosquitto()]
        command = [sys.executable, "-c", BROKER, str(self.config.data), str(self.config.broker_port), *program]
        # A killed one's mosquitto ends a moment after it, and until then it would answer in the new one's place.
        eventually(lambda: is_free(self.config.broker_port, again=True), what="the broker before it is gone")
        self.broker = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        eventually(self._broker_listens, what="the broker listens")

    def start_link(self):
        command = [
            sys.executable,
            "-c",
            LINK,
            str(self.config.data),
            str(self.config.broker_port),
            json.dumps(self.rates | {"database": self.config.database}),
        ]
        self.link = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def start_linked(self):
        """Start the link and wait until the broker keeps what devices say for it."""
        before = self.link_log().count("broker.subscribed")
        self.start_link()
        eventually(lambda: self.link_log().count("broker.subscribed") > before, what="the link is connected")

    def link_log(self):
        return self._log_path.read_text()

    def connections(self):
        """How often the broker accepted the link."""
        return self._log_path.read_text().count("broker.connected")

    def end_link(self, number=signal.SIGTERM):
        self.link.send_signal(number)
        return self.link.wait(DEADLINE_S)

    def device(self, name="sensor", *, enrolled=True):
        device = Device(self, f"{name}-{secrets.token_hex(2)}")
        password = accounts.new_password()
        self.admit(device.id, password)
        if enrolled:
            with self.database.write() as connection:
                devices.enrol(
                    connection,
                    device.id,
                    name=name,
                    hardware="board-1",
                    public_key=device.key.public,
                    now=datetime.now(UTC),
                )
        device.password = password
        device.connect()
        self.devices.append(device)
        return device

    def admit(self, username, password):
        """Have the broker let somebody in."""
        with self.database.write() as connection:
            password_hash = accounts.hash_password(password)
            devices.set_broker_account(connection, username, password_hash=password_hash, now=datetime.now(UTC))
        publish_accounts(self.config, self.database)

    def rows(self, statement):
        with self.database.read_telemetry() as connection:
            return connection.exec_driver_sql(statement).all()

    def control_rows(self, statement):
        with self.database.read() as connection:
            return connection.exec_driver_sql(statement).all()

    def close(self):
        for device in self.devices:
            device.disconnect()
        try:
            for process in (self.link, self.broker):
                if process is not None and process.poll() is None:
                    _end(process)
        finally:
            self.database.close()
            self.log.close()

    def _broker_listens(self):
        assert self.broker.poll() is None, "mosquitto ended"
        return listens(self.broker.pid, self.config.broker_port)


def _end(process):
    """One that does not end when asked is a failure, and is ended all the same: the next test is not to find it."""
    process.terminate()
    try:
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()


class Device:
    """A device without an agent: it signs, publishes and remembers what it hears."""

    def __init__(self, rig, device_id):
        self.rig = rig
        self.id = device_id
        self.password = ""
        self.key = SigningKey.generate()
        self.session = Session(1, secrets.token_bytes(8))
        self.spool = secrets.token_bytes(8)
        self.seq = 0
        self.heard = defaultdict(list)
        self._subscribed = threading.Event()
        #: The broker lets it in no more.
        self.refused = threading.Event()
        self._client = None

    def connect(self):
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id(self.id), protocol=self.rig.protocol
        )
        self._client.username_pw_set(self.id, self.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _userdata, message: self.heard[message.topic].append(message.payload)
        self._client.max_inflight_messages_set(1000)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", self.rig.config.broker_port)
        self._client.loop_start()
        assert self._subscribed.wait(DEADLINE_S)

    def disconnect(self):
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            self.refused.set()
        else:
            client.subscribe(f"edgeops/v1/down/{self.id}/+", qos=1)

    @property
    def is_connected(self):
        return self._client.is_connected()

    def subscribe(self, topic):
        self._subscribed.clear()
        self._client.subscribe(topic)
        assert self._subscribed.wait(DEADLINE_S)

    def restart(self):
        """A new session, as after a start of the agent."""
        self.session = Session(self.session.counter + 1, secrets.token_bytes(8))
        self.seq = 0

    def sealed(self, kind, body, *, key=None, session=None, seq=None):
        if seq is None:
            self.seq += 1
            seq = self.seq
        speaker = Speaker(self.id, key or self.key, 0, session or self.session)
        return seal(speaker, kind, seq=seq, body=body if isinstance(body, bytes) else messages.encode(body))

    def publish(self, kind, payload):
        """Publish and wait until the broker has it."""
        info = self.publish_soon(kind, payload)
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published()

    def publish_soon(self, kind, payload, *, qos=1):
        return self._client.publish(str(Up(self.id, kind)), payload, qos=qos, retain=kind in RETAINED)

    def send(self, kind, body, **options):
        self.publish(kind, self.sealed(kind, body, **options))

    def send_windows(self, *seqs, **options):
        self.send(UpKind.TELEMETRY, self.records(*[(seq, messages.encode(window())) for seq in seqs]), **options)

    def records(self, *entries):
        return messages.Records(spool=self.spool, records=tuple(record(seq, data) for seq, data in entries))

    def told(self, kind, shape):
        """The bodies of all downlinks of one kind, verified with the fleet key."""
        keys = {self.rig.fleet_key.public.key_id: self.rig.fleet_key.public}
        payloads = list(self.heard[f"edgeops/v1/down/{self.id}/{kind}"])
        opened = [open_envelope(payload, device=self.id, kind=kind, keys=keys) for payload in payloads]
        return [messages.decode(envelope.body, shape) for envelope in opened]

    def acked_through(self):
        acks = self.told(DownKind.ACK, messages.Ack)
        return max((spool.through for ack in acks for spool in ack.spools if spool.spool == self.spool), default=-1)


def window(rows=500, **values):
    fields = {
        "deployment": "digits",
        "digest": digest_raw(digest_bytes(b"model")),
        "phase": messages.Phase.LIVE,
        "rows": rows,
        "source_rows": rows,
        "errors": 0,
        "dropped": 0,
        "duration_ms": 1000,
        "latency_p50_us": 10,
        "latency_p95_us": 20,
        "sketch": b"",
    }
    return messages.Window(**(fields | values))


def record(seq, data, *, age_ms=0, absorbed=()):
    return messages.Record(seq=seq, age_ms=age_ms, at_ms=0, data=data, absorbed=absorbed)


def predictions(*answers, deployment="digits"):
    return messages.Predictions(
        deployment=deployment,
        digest=digest_raw(digest_bytes(b"model")),
        phase=messages.Phase.LIVE,
        predictions=tuple(
            messages.Prediction(input_id=input_id, age_ms=0, answer=answer, confidence=0.9)
            for input_id, answer in answers
        ),
    )


def reported(epoch=0, revision=0):
    return messages.Reported(desired_epoch=epoch, desired_revision=revision, facts=FACTS, deployments=())
