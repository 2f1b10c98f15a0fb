"""A real broker, a real agent process and a small server that speaks the wire format, for tests of the agent."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from itertools import count

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from device_agent.config import Deployment, Device, PredictionMode, Replay, StateFolder, write_deployment, write_device
from device_agent.control import ask
from edgeops import limits
from edgeops.artifact.blockplan import block_list, wished
from edgeops.artifact.manifest import decode_descriptor, encode_value, target_path
from edgeops.digest import digest_hex
from edgeops.errors import UnreachableError
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.protocol.messages import BlockWish, MetaPart, MetaStatus, Wish
from edgeops.protocol.topics import ALL_UP, RETAINED, SPOOLED, Block, Down, DownKind, UpKind, mosquitto_acl, parse_topic
from edgeops.trust.keyring import FLEET_KEYS_TARGET, FleetKey, FleetKeys, encode_fleet_keys
from edgeops.trust.repository import Repository
from fleet_server.broker import hash_password
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_descriptor, tiny_rows
from tests.integration.ports import free_port
from tests.integration.waiting import ask_until, mosquitto

DEADLINE_S = 60.0
SERVER_USER = "edgeops-server"
DEVICE = "meter-1a2b"
DEPLOYMENT = "meter-reading"


eventually = partial(ask_until, seconds=DEADLINE_S)


class Broker:
    """A private mosquitto with our ACL."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.port = free_port()
        self.passwords = {SERVER_USER: secrets.token_hex(8), DEVICE: secrets.token_hex(8)}
        (folder / "passwd").write_text(
            "".join(f"{user}:{hash_password(password)}\n" for user, password in self.passwords.items())
        )
        (folder / "acl").write_text(mosquitto_acl(SERVER_USER))
        for name in ("passwd", "acl"):
            (folder / name).chmod(0o600)
        user = "user root\n" if os.geteuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"{user}listener {self.port} 127.0.0.1\nallow_anonymous false\nuse_username_as_clientid true\n"
            f"password_file {folder}/passwd\nacl_file {folder}/acl\npersistence false\n"
        )
        self._command = [mosquitto(), "-c", str(folder / "mosquitto.conf")]
        self._log = (folder / "log").open("ab")
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        eventually(self._listens, what="the broker listens")

    def stop(self):
        self._process.terminate()
        self._process.wait(DEADLINE_S)

    def close(self):
        self.stop()
        self._log.close()

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Server:
    """Speaks for the fleet and keeps what a database would keep; everything runs on paho's thread."""

    def __init__(self, folder, broker, device_key):
        self.repository = Repository.create(folder / "repository", folder / "keys", datetime.now(UTC))
        self._served = folder / "repository"
        self._device_keys = {device_key.public.key_id: device_key.public}
        self.key = SigningKey.generate()
        self._keys = [FleetKey(epoch=1, public_hex=self.key.public.hex)]
        self.announce_keys()
        self._blobs = {}
        self._lock = threading.Lock()
        self._counter = 0
        self.statuses, self.reported, self.responses = [], [], []
        #: (spool, seq) -> (kind, bytes): what is committed, each once.
        self.records = {}
        self.repeats = 0
        self.acknowledges = True
        self.sends_blocks = True
        self.new_session()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=SERVER_USER, protocol=paho.MQTTv5)
        self._client.username_pw_set(SERVER_USER, broker.passwords[SERVER_USER])
        self._client.max_inflight_messages_set(limits.RECEIVE_MAXIMUM)
        # A broker that was away for long is found again at once.
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(ALL_UP, qos=1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    # -- what a person does ------------------------------------------------------------

    def fleet_keys(self):
        return encode_fleet_keys(FleetKeys(epoch=len(self._keys), keys=tuple(self._keys)))

    def announce_keys(self):
        self.repository.publish({FLEET_KEYS_TARGET: self.fleet_keys()}, datetime.now(UTC))

    def rotate_key(self):
        self.key = SigningKey.generate()
        self._keys.append(FleetKey(epoch=len(self._keys) + 1, public_hex=self.key.public.hex))
        self.announce_keys()
        self.new_session()

    def publish_model(self, **options):
        """Sign a model; its digest and target."""
        return self.publish_artifact(tiny_artifact(**options))

    def forget(self):
        """Be the server of a device that it has not heard yet."""
        with self._lock:
            for heard in (self.statuses, self.reported, self.responses, self.records):
                heard.clear()
        self.acknowledges = self.sends_blocks = True
        self.new_session()

    def publish_artifact(self, data):
        descriptor = tiny_descriptor(data)
        target = target_path(descriptor.manifest)
        self._blobs[digest_hex(descriptor.digest)] = data
        self.repository.publish({target: encode_value(descriptor)}, datetime.now(UTC))
        return descriptor.digest, target

    def new_session(self):
        self._counter += 1
        session = Session(self._counter, secrets.token_bytes(8))
        self._speaker = Speaker(DEVICE, self.key, len(self._keys), session)
        self._seq = 0

    def desire(self, revision, *wanted, installation=None, shadowing=None, maintenance=()):
        deployments = tuple(
            messages.DesiredDeployment(
                deployment=name,
                target=target,
                digest=digest,
                installation=installation or f"inst-{revision}",
                trial_inferences=5,
                shadowing=shadowing,
                maintenance=maintenance,
            )
            for name, digest, target in wanted
        )
        self.say(DownKind.DESIRED, messages.Desired(epoch=1, revision=revision, deployments=deployments))

    def say(self, kind, body, *, spoiled=False):
        with self._lock:
            self._seq += 1
            payload = bytearray(seal(self._speaker, kind, seq=self._seq, body=messages.encode(body)))
        if spoiled:
            payload[-1] ^= 1
        self._client.publish(str(Down(DEVICE, kind)), bytes(payload), qos=1, retain=kind in RETAINED)

    # -- what is in the database ---------------------------------------------------------

    def windows(self):
        return [messages.decode(data, messages.Window) for kind, data in self._all() if kind is UpKind.TELEMETRY]

    def reports(self):
        return [messages.decode(data, messages.Report) for kind, data in self._all() if kind is UpKind.REPORTS]

    def predictions(self, deployment=DEPLOYMENT):
        batches = [
            messages.decode(data, messages.Predictions) for kind, data in self._all() if kind is UpKind.PREDICTIONS
        ]
        return {
            item.input_id: item for batch in batches if batch.deployment == deployment for item in batch.predictions
        }

    def samples(self, nomination):
        """The records of the answer to a nomination, in order, once the last one is here."""
        records = [messages.decode(data, messages.Samples) for kind, data in self._all() if kind is UpKind.SAMPLES]
        own = sorted((record for record in records if record.nomination == nomination), key=lambda one: one.part)
        return own if own and own[-1].last and len(own) == own[-1].part + 1 else []

    def rows(self, deployment=DEPLOYMENT):
        return sum(window.source_rows for window in self.windows() if window.deployment == deployment)

    def state(self, deployment=DEPLOYMENT):
        last = self.reported[-1] if self.reported else None
        found = [state for state in last.deployments if state.deployment == deployment] if last else []
        return found[0] if found else None

    def _all(self):
        with self._lock:
            return list(self.records.values())

    # -- the wire ----------------------------------------------------------------------------

    def _on_message(self, _client, _userdata, message):
        topic = parse_topic(message.topic)
        opened = open_envelope(message.payload, device=topic.device, kind=topic.kind, keys=self._device_keys)
        if topic.kind in SPOOLED:
            self._ingest(topic.kind, messages.decode(opened.body, messages.Records))
        elif topic.kind is UpKind.STATUS:
            status = messages.decode(opened.body, messages.Status)
            self.statuses.append((status.presence, opened.session.counter, opened.seq))
            if status.presence is messages.Presence.ONLINE:
                self.say(DownKind.CREDIT, messages.Credit(records=200, at=datetime.now(UTC)))
                self._acknowledge()
        elif topic.kind is UpKind.REPORTED:
            self.reported.append(messages.decode(opened.body, messages.Reported))
        elif topic.kind is UpKind.RESPONSE:
            self.responses.append(messages.decode(opened.body, messages.Response))
        elif topic.kind is UpKind.FETCH:
            self._serve(messages.decode(opened.body, Wish))

    def _ingest(self, kind, body):
        with self._lock:
            for record in body.records:
                for seq in (record.seq, *record.absorbed):
                    self.repeats += (body.spool, seq) in self.records
                for seq in record.absorbed:
                    self.records.setdefault((body.spool, seq), (None, b""))
                self.records[body.spool, record.seq] = (kind, record.data)
        if self.acknowledges:
            self._acknowledge()

    def _acknowledge(self):
        with self._lock:
            spools = {spool for spool, _ in self.records}
            acks = []
            for spool in spools:
                held = {seq for owner, seq in self.records if owner == spool}
                through = next(seq for seq in count() if seq not in held) - 1
                ranges = tuple((seq, seq) for seq in sorted(held) if seq > through)
                acks.append(messages.SpoolAck(spool=spool, through=through, ranges=ranges))
        if acks:
            self.say(DownKind.ACK, messages.Ack(spools=tuple(acks)))

    def _serve(self, wish):
        if isinstance(wish, BlockWish):
            if not self.sends_blocks:
                return
            data = self._blobs[digest_hex(wish.digest)]
            for index in wished(wish):
                start = index * limits.BLOCK_BYTES
                self._client.publish(str(Block(wish.digest, index)), data[start : start + limits.BLOCK_BYTES], qos=0)
            return
        content = self._file(wish.path)
        if content is None:
            part = MetaPart(request=wish.request, path=wish.path, status=MetaStatus.MISSING, offset=wish.offset)
        else:
            part = MetaPart(
                request=wish.request,
                path=wish.path,
                status=MetaStatus.OK,
                total_bytes=len(content),
                offset=wish.offset,
                data=content[wish.offset : wish.offset + limits.METADATA_PART_BYTES],
            )
        self._client.publish(str(Down(DEVICE, DownKind.META)), messages.encode(part), qos=1)

    def _file(self, path):
        if path.startswith("blocklists/"):
            data = self._blobs.get(path.removeprefix("blocklists/"))
            return None if data is None else block_list(data, limits.BLOCK_BYTES)
        file = self._served / path
        return file.read_bytes() if file.is_file() else None


class Rig:
    """One site; `close` ends every process by its pid."""

    def __init__(self, folder):
        self.folder = folder
        self.broker = Broker(folder / "broker")
        device_key = SigningKey.generate()
        self.server = Server(folder, self.broker, device_key)
        self.state = StateFolder(folder / "state")
        self.state.root.parent.mkdir(parents=True)
        self.state.root.write_bytes(self.server.repository.trusted_root())
        self.state.fleet_keys.write_bytes(self.server.fleet_keys())
        write_private_key(self.state.key, device_key)
        device = Device(
            id=DEVICE,
            name="meter",
            server="http://127.0.0.1:9",
            tuf_url="http://127.0.0.1:9/tuf",
            broker_host="127.0.0.1",
            broker_port=self.broker.port,
            broker_user=DEVICE,
            broker_password=self.broker.passwords[DEVICE],
        )
        write_device(self.state, device)
        self.agent = None
        self.log = folder / "agent.log"

    def play(
        self, rows, *, deployment=DEPLOYMENT, rate_hz=None, loop=False, run="run-1", columns=COLUMNS, gaps_every=0
    ):
        """Configure a replay, as the command line would; the classes of its rows. `gaps_every`: a cell is missing."""
        values, classes = tiny_rows(rows)
        if gaps_every:
            values[::gaps_every, 1] = np.nan
        file = self.folder / f"{deployment}-{run}.csv"
        lines = [",".join([*columns, "label"]), *(",".join(map(str, [*row, "secret"])) for row in values.tolist())]
        file.write_text("\n".join(lines) + "\n")
        order = Replay(file=str(file), run=run, loop=loop, rate_hz=rate_hz)
        write_deployment(self.state, deployment, Deployment(source=order, predictions=PredictionMode.ALL))
        return classes

    def start_agent(self, *, fail_point="", **settings):
        environment = {**os.environ, "EDGEOPS_FAIL_POINT": fail_point, **settings}
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "device_agent.cli", "--state", str(self.state.path), "run"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def stop_agent(self, number=signal.SIGTERM):
        self.agent.send_signal(number)
        return self.agent.wait(DEADLINE_S)

    def died(self):
        return self.agent.poll() is not None

    def status(self):
        try:
            return ask(self.state.socket, {"do": "status"})
        except UnreachableError:
            return None

    def ended(self, deployment=DEPLOYMENT):
        """Whether the deployment's source has come to its end and everything is acknowledged."""
        status = self.status()
        found = [item for item in (status or {}).get("deployments", []) if item["deployment"] == deployment]
        return bool(found) and found[0]["source"] == "ended" and status["pending_records"] == 0

    def committed(self, digest, deployment=DEPLOYMENT):
        state = self.server.state(deployment)
        return state is not None and state.state is messages.UpdateState.COMMITTED and state.active == digest

    def close(self):
        if self.agent is not None and self.agent.poll() is None:
            self.agent.kill()
            self.agent.wait()
        self.server.close()
        self.broker.close()


__all__ = ["DEADLINE_S", "DEPLOYMENT", "DEVICE", "Rig", "decode_descriptor", "eventually"]
