"""Devices that run the real fetch machine over a real broker, many in a process: for tests and benches of blocks.

`python -m tests.integration.fetch_rig FILE` runs those that FILE describes and prints when each was done.
"""

import json
import secrets
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from device_agent.fetch import BlockFetch, FetchError, MetaFetch
from device_agent.link import Arrived, Broker, Connected, Link
from device_agent.ranges import RangeFetch
from device_agent.uplink import Uplink
from edgeops.artifact.blockplan import wished
from edgeops.artifact.manifest import Promotion, encode_value, target_path
from edgeops.artifact.package import describe
from edgeops.digest import digest_bytes, write_atomically
from edgeops.protocol import messages
from edgeops.protocol.keys import SigningKey, read_private_key, write_private_key
from edgeops.protocol.messages import BlockWish, MetaPart
from edgeops.protocol.topics import Block, Down, DownKind, UpKind
from edgeops.trust.issuing import new_issuer
from edgeops.trust.transport import unbelieved_context
from fleet_server import broker as accounts
from fleet_server.blobs import Blobs
from fleet_server.db import devices, models
from fleet_server.enrolment import publish_accounts
from tests.golden.tiny import tiny_manifest
from tests.integration.ports import free_port
from tests.integration.tls_rig import certificate
from tests.integration.waiting import ask_until

DEADLINE_S = 60.0
API = """
import json, pathlib, sys
from fleet_server.app import serve
from fleet_server.config import ServerConfig
serve(ServerConfig(pathlib.Path(sys.argv[1]), api_port=int(sys.argv[2]), **json.loads(sys.argv[3])))
"""


def stock(rig, size_bytes, *, seed=1):
    """Put an artifact of so many bytes on the server's shelf; its descriptor and its bytes."""
    import random

    data = random.Random(seed).randbytes(size_bytes)
    Blobs(rig.config).put(data)
    descriptor = described(data, version=seed)
    now = datetime.now(UTC)
    row = models.Artifact(
        digest=descriptor.digest,
        model=descriptor.manifest.name,
        version=seed,
        variant=descriptor.manifest.variant,
        size_bytes=len(data),
        tflite_bytes=len(data),
        target=target_path(descriptor.manifest),
        descriptor=encode_value(descriptor),
        created_at=now,
        published_at=now,
        withdrawn_at=None,
    )
    with rig.database.write() as connection:
        models.add_artifact(connection, row)
    return descriptor, data


def described(data, *, version=1):
    """A descriptor of any bytes."""
    return describe(
        data,
        tiny_manifest(version=version),
        run="run-1",
        built_at="2026-01-01T00:00:00Z",
        host="test",
        latency_p50_ms=0.01,
        latency_p95_ms=0.02,
        memory_bytes=2**20,
        promotion=Promotion(passed=True),
    )


def start_api(rig, *, tls=False, **settings):
    """An API process over the rig's data folder, as `rig.api`; its URL. With TLS its CA is `rig.config.authorities`."""
    port = free_port()
    if tls:
        issuer = new_issuer(datetime.now(UTC))
        rig.config.tls_folder.mkdir(exist_ok=True)
        write_atomically(rig.config.certificate, certificate(issuer).pem, mode=0o600)
        rig.config.authorities.write_text(issuer.authority.pem)
    command = [sys.executable, "-c", API, str(rig.config.data), str(port), json.dumps(settings | {"tls": tls})]
    rig.api = subprocess.Popen(command, stdout=rig.log, stderr=rig.log)
    url = f"http{'s' if tls else ''}://127.0.0.1:{port}"

    def answers():
        assert rig.api.poll() is None
        try:
            return httpx.get(f"{url}/api/v1/health", verify=unbelieved_context()).is_success
        except httpx.TransportError:
            return False

    ask_until(answers, what="the API answers", seconds=DEADLINE_S)
    return url


def enrol(rig, count, folder):
    """So many new devices, with one reload of the broker's accounts; (id, password, key file) each."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    now = datetime.now(UTC)
    with rig.database.write() as connection:
        for number in range(count):
            device_id, password, key = (
                f"meter-{number:03}-{secrets.token_hex(2)}",
                accounts.new_password(),
                SigningKey.generate(),
            )
            write_private_key(folder / f"{device_id}.pem", key)
            devices.enrol(connection, device_id, name="meter", hardware="board", public_key=key.public, now=now)
            devices.set_broker_account(connection, device_id, password_hash=accounts.hash_password(password), now=now)
            made.append((device_id, password, str(folder / f"{device_id}.pem")))
    publish_accounts(rig.config, rig.database)
    return made


class Fetcher:
    """One device: its link, its voice, and the fetch machine between them."""

    def __init__(self, port, identity, folder, *, server=None, boot=1):
        device_id, password, key = identity
        self.id, self.folder = device_id, folder
        self.link = Link(
            Broker("127.0.0.1", port, device_id, password),
            will=lambda: self.uplink.last_will(),  # noqa: PLW0108 - made below
            on_event=self._hear,
        )
        self.uplink = Uplink(
            device_id, read_private_key(Path(key)), boot=boot, agent_version="1", publish=self._publish
        )
        self.meta = MetaFetch(self)
        self._ranges = None if server is None else RangeFetch.at(server, blob_pass=self.uplink.blob_pass)
        self.blocks = BlockFetch(self, ranges=None if self._ranges is None else self)
        #: Blocks asked for over MQTT, in order; and index and size of those that came, by the way they came.
        self.wished, self.heard, self.read = [], [], []
        self.births = 0
        self.born = threading.Event()
        self.link.start()

    def _publish(self, topic, payload):
        return self.link.publish(topic, payload)

    def fetch(self, descriptor, *, cancelled=lambda: False):
        """Get a blob, asking again without contact, as the update machine does."""
        until_s = time.monotonic() + 3 * DEADLINE_S
        while True:
            try:
                return self.blocks.blob(descriptor, self.folder, meta=self.meta, cancelled=cancelled).read_bytes()
            except FetchError:
                if cancelled() or time.monotonic() > until_s:
                    raise
                time.sleep(0.1)

    def fetch_soon(self, descriptor):
        """The same in a thread; `.data` once it is joined."""
        return Fetching(self, descriptor)

    def close(self):
        self.link.close()
        if self._ranges is not None:
            self._ranges.close()

    @property
    def received_bytes(self):
        """Of blocks, right or wrong, whichever way they came."""
        return sum(size_bytes for _, size_bytes in (*self.heard, *self.read))

    # -- Ranges

    def pull(self, progress, cancelled):
        self._ranges.pull(Counted(progress, self.read), cancelled)

    # -- FetchLink

    def publish_wish(self, wish):
        if isinstance(wish, BlockWish):
            self.wished += wished(wish)
        return self.uplink.say(UpKind.FETCH, wish)

    def subscribe_blocks(self, blocks):
        self.link.subscribe(blocks, qos=0)

    def unsubscribe_blocks(self, blocks):
        self.link.unsubscribe(blocks)

    def largest_payload_bytes(self):
        return self.link.largest_payload_bytes

    def _hear(self, event):
        match event:
            case Connected():
                self.link.subscribe([Down(self.id, kind) for kind in DownKind], qos=1)
                self.uplink.birth()
                self.blocks.reconnected()
                self.births += 1
                self.born.set()
            case Arrived(topic=Block() as block, payload=payload):
                self.heard.append((block.index, len(payload)))
                self.blocks.received(block, payload)
            case Arrived(topic=Down(kind=DownKind.META), payload=payload):
                self.meta.received(messages.decode(payload, MetaPart))


class Counted:
    """Progress that notes what is taken."""

    def __init__(self, progress, taken):
        self.digest, self.blocks = progress.digest, progress.blocks
        self._progress, self._taken = progress, taken

    def take(self, index, data):
        self._taken.append((index, len(data)))
        return self._progress.take(index, data)


class Fetching(threading.Thread):
    """One download in a thread."""

    def __init__(self, fetcher, descriptor):
        super().__init__(daemon=True)
        self.fetcher, self.descriptor = fetcher, descriptor
        self.cancelled = threading.Event()
        self.data = self.error = None
        self.start()

    def run(self):
        try:
            self.data = self.fetcher.fetch(self.descriptor, cancelled=self.cancelled.is_set)
        except Exception as error:  # noqa: BLE001 - the thread's border
            self.error = error

    def result(self, seconds=DEADLINE_S):
        self.join(seconds)
        assert not self.is_alive(), "the download has not ended"
        if self.error is not None:
            raise self.error
        return self.data


def fetch_all(port, identities, descriptor, folder, *, processes=2, server=None, delays=None, seconds=120.0):
    """Let many devices fetch one blob, `delays` seconds after the start each; when each was done, in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "descriptor").write_bytes(encode_value(descriptor))
    delays = delays or [0.0] * len(identities)
    children = []
    try:
        for part in range(processes):
            job = {
                "port": port,
                "server": server,
                "folder": str(folder),
                "devices": [[*one, delay] for one, delay in zip(identities, delays, strict=True)][part::processes],
            }
            file = folder / f"job-{part}.json"
            file.write_text(json.dumps(job))
            command = [sys.executable, "-m", "tests.integration.fetch_rig", str(file)]
            children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        taken = []
        for child in children:
            said, _ = child.communicate(timeout=seconds)
            assert child.returncode == 0
            taken += json.loads(said)
        return taken
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


def main(file):
    """Run the devices of one process: connect all, say so, wait for the word, fetch."""
    from edgeops.artifact.manifest import decode_descriptor
    from edgeops.structs import learn_all

    learn_all()
    job = json.loads(Path(file).read_text())
    folder = Path(job["folder"])
    descriptor = decode_descriptor((folder / "descriptor").read_bytes())
    fetchers = [Fetcher(job["port"], one[:3], folder / one[0], server=job["server"]) for one in job["devices"]]
    for fetcher in fetchers:
        assert fetcher.born.wait(DEADLINE_S)
    print("ready", flush=True)
    sys.stdin.readline()
    start_s = time.monotonic()
    taken = [0.0] * len(fetchers)

    def fetch(place, fetcher, delay_s):
        time.sleep(max(0.0, start_s + delay_s - time.monotonic()))
        began_s = time.monotonic()
        assert digest_bytes(fetcher.fetch(descriptor)) == descriptor.digest
        taken[place] = time.monotonic() - began_s

    threads = [
        threading.Thread(target=fetch, args=(place, fetcher, one[3]), daemon=True)
        for place, (fetcher, one) in enumerate(zip(fetchers, job["devices"], strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(taken)
    print(json.dumps(taken), flush=True)
    for fetcher in fetchers:
        fetcher.link._closing.set()


if __name__ == "__main__":
    main(sys.argv[1])
