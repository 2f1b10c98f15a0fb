"""Blocks over a real broker while something is wrong: a hostile publisher, a man in the middle, restarts, a clone."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgeops import limits
from edgeops.artifact.blockplan import block_list, wished
from edgeops.artifact.manifest import encode_value
from edgeops.protocol.envelope import Envelope, Session
from edgeops.protocol.messages import (
    BlockWish,
    Credit,
    MetaPart,
    MetaStatus,
    MetaWish,
    Presence,
    Status,
    Wish,
    decode,
    encode,
)
from edgeops.protocol.topics import ALL_UP, Block, Down, DownKind, UpKind, client_id, parse_topic
from fleet_server import broker as accounts
from tests.integration.fetch_rig import Fetcher, enrol, fetch_all, stock
from tests.integration.link_rig import Rig, eventually

pytestmark = [pytest.mark.slow, pytest.mark.processes]

KIB = 1024
BLOCKS = 24
SIZE = BLOCKS * limits.BLOCK_BYTES - 5
MALLORY = "mallory"


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    rig.fetchers = []
    try:
        yield rig
    finally:
        for fetcher in rig.fetchers:
            fetcher.close()
        rig.close()


def connected(rig, tmp_path, **options):
    """One enrolled device with its link up."""
    (identity,) = enrol(rig, 1, tmp_path / "keys")
    return joined(rig, identity, tmp_path / "device", **options), identity


def joined(rig, identity, folder, **options):
    fetcher = Fetcher(rig.config.broker_port, identity, folder, **options)
    rig.fetchers.append(fetcher)
    assert fetcher.born.wait(30.0)
    return fetcher


def heard(fetcher, count):
    return lambda: len(fetcher.heard) >= count


class Mallory:
    """Has the server's right to publish blocks, and publishes wrong ones again and again."""

    def __init__(self, rig, wrong):
        self._wrong = wrong
        self._stopping = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id(MALLORY), protocol=paho.MQTTv5)
        self._client.username_pw_set(MALLORY, rig.mallory_password)
        self._client.connect("127.0.0.1", rig.config.broker_port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stopping.is_set():
            for topic, payload in self._wrong:
                self._client.publish(topic, payload)
                if self._stopping.wait(0.001):
                    return

    def close(self):
        self._stopping.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()


def test_a_hostile_publisher_of_blocks_delays_and_changes_nothing(rig, tmp_path):
    with rig.config.broker_acl.open("a") as acl:
        acl.write(f"user {MALLORY}\ntopic write edgeops/v1/blob/#\n")
    rig.mallory_password = accounts.new_password()
    rig.admit(MALLORY, rig.mallory_password)
    rig.rates = {"block_rate": 1024 * KIB}
    rig.start_broker()
    rig.start_linked()
    descriptor, data = stock(rig, SIZE)
    fetcher, _ = connected(rig, tmp_path)
    wrong = []
    for index in range(BLOCKS):
        block = data[index * limits.BLOCK_BYTES :][: limits.BLOCK_BYTES]
        swapped = data[(index + 1) % BLOCKS * limits.BLOCK_BYTES :][: limits.BLOCK_BYTES]
        topic = str(Block(descriptor.digest, index))
        wrong += [(topic, body) for body in (swapped, block[:-1], block + b"x", secrets.token_bytes(60 * KIB), b"")]
    wrong.append((str(Block(descriptor.digest, 4_000)), b"no such block"))
    mallory = Mallory(rig, wrong)
    try:
        assert fetcher.fetch(descriptor) == data
    finally:
        mallory.close()
    assert fetcher.blocks.mismatched


class Middle:
    """Stands where the link should be, answers wishes, and does to blocks what `mangle` says."""

    def __init__(self, rig, descriptor, data, mangle):
        self._descriptor, self._data, self._mangle = descriptor, data, mangle
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id(rig.config.broker_user), protocol=paho.MQTTv5
        )
        self._client.username_pw_set(rig.config.broker_user, rig.config.server_password.read_text())
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_connect = lambda client, *_: client.subscribe(ALL_UP, qos=1)
        self._client.on_message = self._answer
        self._client.connect("127.0.0.1", rig.config.broker_port)
        self._client.loop_start()
        assert subscribed.wait(30.0)

    def _answer(self, _client, _userdata, message):
        import msgspec

        topic = parse_topic(message.topic)
        if topic.kind != "fetch":
            return
        wish = decode(msgspec.msgpack.decode(message.payload, type=Envelope).body, Wish)
        if isinstance(wish, BlockWish):
            blocks = [(index, self._data[index * limits.BLOCK_BYTES :][: limits.BLOCK_BYTES]) for index in wished(wish)]
            for index, block in self._mangle(blocks):
                self._client.publish(str(Block(self._descriptor.digest, index)), block)
        else:
            sums = block_list(self._data, limits.BLOCK_BYTES)
            part = MetaPart(
                request=wish.request, path=wish.path, status=MetaStatus.OK, total_bytes=len(sums), data=sums
            )
            self._client.publish(str(Down(topic.device, DownKind.META)), encode(part), qos=1)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Late:
    """Sends what was wished for with the wish after it."""

    def __init__(self):
        self._held = []

    def __call__(self, blocks):
        sent, self._held = self._held, blocks
        return sent


class TruncatedAtFirst:
    """Sends each block short of a byte once, then right."""

    def __init__(self):
        self._seen = set()

    def __call__(self, blocks):
        new = {index for index, _ in blocks} - self._seen
        self._seen |= new
        return [(index, block[:-1] if index in new else block) for index, block in blocks]


def _reordered_and_twice(blocks):
    return [*reversed(blocks), *blocks]


def test_a_man_in_the_middle_who_spoils_blocks_and_their_order_changes_nothing(rig, tmp_path):
    rig.start_broker()
    fetcher, _ = connected(rig, tmp_path)
    for seed, (mangle, wrong) in enumerate([(_reordered_and_twice, 0), (Late(), 0), (TruncatedAtFirst(), 6)]):
        before = fetcher.blocks.mismatched
        descriptor, data = stock(rig, 6 * limits.BLOCK_BYTES, seed=seed)
        middle = Middle(rig, descriptor, data, mangle)
        try:
            assert fetcher.fetch(descriptor) == data
        finally:
            middle.close()
        assert fetcher.blocks.mismatched - before == wrong


def _slow(rig):
    rig.rates = {"block_rate": 512 * KIB}
    rig.start_broker()
    rig.start_linked()


def test_a_download_goes_on_after_the_link_and_the_broker_were_killed(rig, tmp_path):
    _slow(rig)
    descriptor, data = stock(rig, SIZE)
    fetcher, _ = connected(rig, tmp_path)
    fetching = fetcher.fetch_soon(descriptor)
    eventually(heard(fetcher, 6), what="some blocks")
    rig.end_link(signal.SIGKILL)
    rig.start_link()
    eventually(heard(fetcher, 12), what="blocks from the new link")
    rig.broker.kill()
    rig.broker.wait(30.0)
    rig.start_broker()
    assert fetching.result() == data
    assert fetcher.births == 2


def test_a_killed_device_asks_only_for_what_is_missing_or_was_not_yet_durable(rig, tmp_path):
    _slow(rig)
    descriptor, data = stock(rig, 2 * SIZE)
    (identity,) = enrol(rig, 1, tmp_path / "keys")
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "descriptor").write_bytes(encode_value(descriptor))
    job = {"port": rig.config.broker_port, "server": None, "folder": str(folder), "devices": [[*identity, 0.0]]}
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "tests.integration.fetch_rig", str(folder / "job.json")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        eventually(lambda: list(folder.glob("*/*.map")), what="a map with sixteen blocks")
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    fetcher = joined(rig, identity, folder / identity[0], boot=2)
    assert fetcher.fetch(descriptor) == data
    assert len({index for index, _ in fetcher.heard}) <= 2 * BLOCKS - 16


def quarantines(rig):
    return rig.control_rows("SELECT count(*) FROM events WHERE kind = 'device.quarantined'")[0][0]


@pytest.mark.long  # a second speaker is met in every run, below
@pytest.mark.parametrize("boot", [1, 2], ids=["the-same-start", "a-copied-folder"])
def test_a_clone_that_takes_a_session_over_in_mid_download_is_seen_once_and_neither_is_served(rig, tmp_path, boot):
    _slow(rig)
    descriptor, _ = stock(rig, 4 * SIZE)
    fetcher, identity = connected(rig, tmp_path)
    fetching = fetcher.fetch_soon(descriptor)
    eventually(heard(fetcher, 6), what="some blocks")
    clone = joined(rig, identity, tmp_path / "clone", boot=boot)
    stolen = clone.fetch_soon(descriptor)
    eventually(lambda: quarantines(rig), what="the quarantine")
    eventually(lambda: fetcher.births + clone.births >= 4, what="both have come back")
    time.sleep(limits.BLOCK_LONGEST_WAIT.total_seconds())  # what was asked for before leaves yet
    had = [len({index for index, _ in one.heard}) for one in (fetcher, clone)]
    time.sleep(1.1 * limits.BLOCK_RETRY_AT_MOST_AFTER.total_seconds())
    assert [len({index for index, _ in one.heard}) for one in (fetcher, clone)] == had
    for one in (fetching, stolen):
        one.cancelled.set()
        one.join(30.0)
    assert quarantines(rig) == 1
    assert fetching.data is None
    assert stolen.data is None


def test_a_second_speaker_who_only_wishes_is_seen_too(rig):
    rig.start_broker()
    rig.start_linked()
    device = rig.device()
    device.send(UpKind.STATUS, Status(presence=Presence.ONLINE))
    eventually(lambda: device.told(DownKind.CREDIT, Credit), what="the birth")
    wish = MetaWish(request=1, path="metadata/timestamp.json")
    device.send(UpKind.FETCH, wish, session=Session(1, secrets.token_bytes(8)))
    eventually(lambda: quarantines(rig), what="the quarantine")


def test_no_device_takes_more_than_its_share_of_the_line(rig, tmp_path):
    rig.rates = {"device_rate": 512 * KIB}
    rig.start_broker()
    rig.start_linked()
    descriptor, data = stock(rig, SIZE)
    fetcher, _ = connected(rig, tmp_path)
    start = time.monotonic()
    assert fetcher.fetch(descriptor) == data
    burst = 128 * KIB
    assert time.monotonic() - start >= (SIZE - burst) / (512 * KIB) - 0.1


@pytest.mark.long  # times, which a busy machine bends; the bench row `blocks` has the figure for a hundred
def test_devices_that_fetch_at_once_end_at_about_the_same_time(rig, tmp_path):
    rig.rates = {"block_rate": 1024 * KIB}
    rig.start_broker()
    rig.start_linked()
    descriptor, _ = stock(rig, 2 * SIZE)
    identities = enrol(rig, 20, tmp_path / "keys")
    taken = sorted(fetch_all(rig.config.broker_port, identities, descriptor, tmp_path / "fleet"))
    assert taken[-1] / taken[len(taken) // 2] <= 1.5


def test_below_a_brokers_packet_limit_small_files_come_and_blocks_fail_with_the_reason(rig, tmp_path):
    conf = rig.config.broker_conf
    lines = [line for line in conf.read_text().splitlines() if not line.startswith("max_packet_size")]
    conf.write_text("\n".join([*lines, "max_packet_size 8192"]) + "\n")
    rig.start_broker()
    rig.start_linked()
    descriptor, data = stock(rig, 400 * limits.BLOCK_BYTES)
    fetcher, _ = connected(rig, tmp_path)
    sums = fetcher.meta.file(f"blocklists/{descriptor.digest[7:]}", max_bytes=limits.MAX_METADATA_BYTES)
    assert sums == block_list(data, limits.BLOCK_BYTES)
    with pytest.raises(OSError, match="the broker takes messages of at most"):
        fetcher.blocks.blob(descriptor, fetcher.folder, meta=fetcher.meta)
    assert rig.connections() == 1
    assert fetcher.births == 1
