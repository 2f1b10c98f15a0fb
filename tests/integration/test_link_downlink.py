"""What devices are told: signed, in order, again at every birth; blocks and metadata on demand."""

import hashlib
import itertools
import secrets
import signal
import time
from datetime import UTC, datetime
from functools import partial

import pytest

from edgeops import limits
from edgeops.artifact.blockplan import block_list, wishes
from edgeops.artifact.manifest import (
    FORMAT,
    Budgets,
    Descriptor,
    InputWindow,
    Lineage,
    Manifest,
    MissingPolicy,
    Output,
    Preprocess,
    Promotion,
    Requirements,
    Task,
    Tensor,
    Variant,
    encode_value,
    target_path,
)
from edgeops.digest import digest_bytes
from edgeops.protocol import messages
from edgeops.protocol.envelope import open_envelope
from edgeops.protocol.topics import Block, DownKind, UpKind
from fleet_server import roster
from fleet_server.blobs import Blobs
from fleet_server.db import devices, models, outbox, settings
from tests.integration.link_rig import eventually, linked_rig, reported

pytestmark = [pytest.mark.slow, pytest.mark.processes]

ONLINE = messages.Status(presence=messages.Presence.ONLINE, agent_version="1")
DIGEST = digest_bytes(b"model")
versions = itertools.count(1)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """For all tests that are about devices of their own."""
    with linked_rig(tmp_path_factory.mktemp("link")) as rig:
        yield rig


@pytest.fixture
def own_rig(tmp_path):
    """For a test that ends a process, or counts what all devices sent."""
    with linked_rig(tmp_path) as rig:
        yield rig


def want(rig, device, digest=DIGEST, deployment="digits"):
    wanted = messages.DesiredDeployment(deployment=deployment, target="models/digits/1-int8.json", digest=digest)
    with rig.database.write() as connection:
        return devices.set_desired(connection, device.id, wanted, datetime.now(UTC))


def desired_of(device):
    return [body.revision for body in device.told(DownKind.DESIRED, messages.Desired)]


def artifact(rig, data, *, block_bytes=limits.BLOCK_BYTES):
    """Store `data` as an artifact that may leave."""
    version = next(versions)
    digest = Blobs(rig.config).put(data)
    manifest = Manifest(
        format=FORMAT,
        name="digits",
        version=str(version),
        variant=Variant.INT8,
        task=Task.REGRESSION,
        inputs=(),
        outputs=(Tensor(name="y", shape=(1, 1), dtype="float32"),),
        window=InputWindow(columns=("a",)),
        preprocess=Preprocess(),
        missing=MissingPolicy.REFUSE,
        channels=(),
        output=Output(),
        budgets=Budgets(p95_latency_ms=1, memory_bytes=1),
        requirements=Requirements(ops={}),
        metrics={},
        lineage=Lineage(
            snapshot=DIGEST, recipe="dense", recipe_digest=DIGEST, seed=1, commit="", libraries={}, calibration=None
        ),
    )
    sums = block_list(data, block_bytes)
    descriptor = Descriptor(
        manifest=manifest,
        digest=digest,
        size_bytes=len(data),
        block_bytes=block_bytes,
        blocks_digest=digest_bytes(sums),
        run="run-1",
        built_at="2026-01-01T00:00:00Z",
        host="here",
        latency_p50_ms=1,
        latency_p95_ms=1,
        memory_bytes=1,
        promotion=Promotion(passed=True),
    )
    now = datetime.now(UTC)
    with rig.database.write() as connection:
        row = models.Artifact(
            digest=digest,
            model="digits",
            version=version,
            variant=Variant.INT8,
            size_bytes=len(data),
            tflite_bytes=len(data),
            target=target_path(manifest),
            descriptor=encode_value(descriptor),
            created_at=now,
            published_at=now,
            withdrawn_at=None,
        )
        models.add_artifact(connection, row)
    return digest, sums


def fetch_meta(device, path, request=1):
    """All parts of a small file, as a device asks for them; None when it is missing."""
    data = b""
    while True:
        device.send(UpKind.FETCH, messages.MetaWish(request=request, path=path, offset=len(data)))
        part = eventually(partial(_part, device, request, len(data)), what=f"a part of {path}")
        if part.status is messages.MetaStatus.MISSING:
            return None
        data += part.data
        if len(data) >= part.total_bytes:
            return data


def _part(device, request, offset):
    parts = [messages.decode(data, messages.MetaPart) for data in device.heard[f"edgeops/v1/down/{device.id}/meta"]]
    return next((part for part in parts if (part.request, part.offset) == (request, offset)), None)


def test_a_change_of_the_desired_state_reaches_the_device_signed(rig):
    device = rig.device()
    assert want(rig, device) == 1
    eventually(lambda: desired_of(device) == [1], what="the desired state")
    (body,) = device.told(DownKind.DESIRED, messages.Desired)
    assert [(one.deployment, one.digest) for one in body.deployments] == [("digits", DIGEST)]
    eventually(lambda: rig.control_rows("SELECT count(*) FROM outbox") == [(0,)], what="an empty outbox")


def test_the_desired_state_is_retained_for_devices_that_come_later(rig):
    device = rig.device()
    device.disconnect()
    want(rig, device)
    want(rig, device, deployment="gas")
    eventually(lambda: rig.control_rows("SELECT count(*) FROM outbox") == [(0,)], what="an empty outbox")
    device.connect()
    eventually(lambda: desired_of(device), what="the retained desired state")
    assert desired_of(device) == [2]


def test_a_removed_device_is_cut_off_told_nothing_and_not_believed(own_rig):
    device, other = own_rig.device(), own_rig.device("other")
    device.send(UpKind.STATUS, ONLINE)
    want(own_rig, device)
    eventually(lambda: desired_of(device), what="the desired state")

    roster.remove(own_rig.config, own_rig.database, device.id, removed_by="ann", now=datetime.now(UTC))
    eventually(device.refused.is_set, what="the broker cuts the device off and refuses it")
    eventually(lambda: own_rig.control_rows("SELECT count(*) FROM outbox") == [(0,)], what="an empty outbox")
    other.send_windows(0)
    eventually(lambda: other.acked_through() == 0, what="the others go on")
    device.disconnect()

    # Even if the broker let it in again, with a key that was good:
    own_rig.admit(device.id, device.password)
    device.heard.clear()
    seqs = itertools.count()

    def is_refused():
        device.send_windows(next(seqs))
        return own_rig.rows(f"SELECT 1 FROM quarantine WHERE device_id = '{device.id}' AND topic LIKE '%/telemetry'")

    device.connect()
    eventually(is_refused, what="its messages in quarantine")
    assert not device.heard[f"edgeops/v1/down/{device.id}/desired"]
    (stored,) = own_rig.rows("SELECT count(*) FROM windows")
    device.send_windows(next(seqs))
    other.send_windows(1)
    eventually(lambda: other.acked_through() == 1, what="what came after it")
    assert own_rig.rows("SELECT count(*) FROM windows") == [(stored[0] + 1,)]
    assert own_rig.control_rows("SELECT count(*) FROM desired") == [(0,)]


def test_a_birth_is_answered_with_ack_credit_and_the_desired_state_it_has_not_seen(rig):
    device = rig.device()
    device.send_windows(0, 1)
    eventually(lambda: device.acked_through() == 1, what="the ack")
    want(rig, device)
    eventually(lambda: desired_of(device) == [1], what="the desired state")
    device.heard.clear()
    device.restart()
    device.send(UpKind.STATUS, ONLINE)
    eventually(lambda: device.acked_through() == 1, what="the ack repeated")
    eventually(lambda: desired_of(device) == [1], what="the desired state repeated")
    granted = eventually(lambda: device.told(DownKind.CREDIT, messages.Credit), what="credit")
    assert granted[0].records == limits.CREDIT_RECORDS


def test_a_device_that_stays_connected_while_the_link_starts_anew_is_told_the_time_with_its_next_message(own_rig):
    device = own_rig.device()
    device.send(UpKind.STATUS, ONLINE)
    first = eventually(lambda: device.told(DownKind.CREDIT, messages.Credit), what="the birth's credit")
    own_rig.end_link()
    own_rig.start_linked()
    device.send_windows(0)
    both = eventually(lambda: device.told(DownKind.CREDIT, messages.Credit)[1:], what="the time, without a birth")
    assert both[0].at > first[0].at
    device.send_windows(1)
    eventually(lambda: device.acked_through() == 1, what="the ack")
    assert len(device.told(DownKind.CREDIT, messages.Credit)) == 2, "once is enough for a day"


def test_a_device_that_knows_its_desired_state_is_not_told_again(rig):
    device = rig.device()
    want(rig, device)
    eventually(lambda: desired_of(device) == [1], what="the desired state")
    device.send(UpKind.REPORTED, reported(epoch=1, revision=1))
    eventually(lambda: device.told(DownKind.CREDIT, messages.Credit), what="the first birth")
    device.heard.clear()
    device.restart()
    device.send(UpKind.STATUS, ONLINE)
    eventually(lambda: device.told(DownKind.CREDIT, messages.Credit), what="the second birth")
    assert desired_of(device) == []


def test_a_device_that_saw_more_than_the_database_is_brought_above_it(rig):
    device = rig.device()
    want(rig, device)
    eventually(lambda: desired_of(device) == [1], what="the desired state")
    device.send(UpKind.REPORTED, reported(epoch=1, revision=7))
    eventually(lambda: desired_of(device) == [1, 8], what="a desired state above the device's")


def test_a_killed_link_sends_what_was_posted_and_its_session_grows_even_after_a_restore(own_rig):
    device = own_rig.device()
    want(own_rig, device)
    eventually(lambda: desired_of(device) == [1], what="the first desired state")
    own_rig.end_link(signal.SIGKILL)
    (first,) = set(sessions_of(own_rig, device))
    want(own_rig, device)
    with own_rig.database.write() as connection:
        settings.write(connection, settings.LINK_SESSIONS, "1")  # as after a restore from an old backup
    # The clock is what is left to go by; no restore is over within the second of the start before it.
    eventually(lambda: time.time() >= first + 1, what="the next second")
    own_rig.start_link()
    eventually(lambda: 2 in desired_of(device), what="the second desired state")
    sessions = sessions_of(own_rig, device)
    assert sessions == sorted(sessions)
    assert sessions[-1] > first


def sessions_of(rig, device):
    """The session counters under which the desired states came."""
    keys = {rig.fleet_key.public.key_id: rig.fleet_key.public}
    payloads = device.heard[f"edgeops/v1/down/{device.id}/desired"]
    return [open_envelope(data, device=device.id, kind="desired", keys=keys).session.counter for data in payloads]


def test_a_broker_that_lost_everything_gets_it_again(own_rig):
    device = own_rig.device()
    want(own_rig, device)
    eventually(lambda: desired_of(device) == [1], what="the desired state")
    device.disconnect()
    own_rig.end_link()
    own_rig.broker.kill()
    own_rig.broker.wait(60)
    (own_rig.config.broker / "mosquitto.db").unlink(missing_ok=True)
    own_rig.start_broker()
    own_rig.start_link()
    device.connect()
    eventually(lambda: desired_of(device) == [1, 1], what="the desired state from the new broker")


def test_a_command_is_sent_once_and_not_retained(rig):
    device = rig.device()
    request = messages.Nominate(deployment="gas", digest=digest_bytes(b"a"), count=3, random_share=0.2, seed=1)
    body = messages.encode(messages.Command(command="cmd-1", request=request))
    with rig.database.write() as connection:
        outbox.post(connection, device.id, DownKind.COMMAND, body=body, now=datetime.now(UTC))
    eventually(lambda: device.told(DownKind.COMMAND, messages.Command), what="the command")
    eventually(lambda: rig.control_rows("SELECT count(*) FROM outbox") == [(0,)], what="an empty outbox")
    device.disconnect()
    device.heard.clear()
    device.connect()
    assert device.told(DownKind.COMMAND, messages.Command) == []


def test_blocks_and_their_list_are_served_and_prove_themselves(rig):
    device = rig.device()
    data = secrets.token_bytes(5 * limits.BLOCK_BYTES + 123)
    digest, sums = artifact(rig, data)
    assert fetch_meta(device, f"blocklists/{digest[7:]}") == sums
    device.subscribe(f"edgeops/v1/blob/{digest[7:]}/+")
    for wish in wishes(digest, range(6)):
        device.send(UpKind.FETCH, wish)
    topics = [str(Block(digest, index)) for index in range(6)]
    eventually(lambda: all(device.heard[topic] for topic in topics), what="six blocks")
    assert b"".join(device.heard[topic][0] for topic in topics) == data
    assert b"".join(hashlib.sha256(device.heard[topic][0]).digest() for topic in topics) == sums


def test_a_block_that_was_just_sent_is_sent_again_a_moment_later(rig):
    first, second = rig.device("first"), rig.device("second")
    digest, _ = artifact(rig, secrets.token_bytes(100))
    for device in (first, second):
        device.subscribe(str(Block(digest, 0)))
    (wish,) = wishes(digest, [0])
    topic, start = str(Block(digest, 0)), time.monotonic()
    for number, device in enumerate((first, second), start=1):
        device.publish_soon(UpKind.FETCH, device.sealed(UpKind.FETCH, wish))
        eventually(
            lambda number=number: [len(one.heard[topic]) for one in (first, second)] == [number, number],
            what="the block, for both",
        )
    assert time.monotonic() - start >= limits.BLOCK_RESEND_AFTER.total_seconds()


def test_what_is_unknown_withdrawn_or_outside_is_not_served(rig):
    device = rig.device()
    secret = Blobs(rig.config).put(b"a snapshot, not an artifact")
    digest, _ = artifact(rig, b"model bytes")
    with rig.database.write() as connection:
        models.mark_withdrawn(connection, models.artifact_by_digest(connection, digest), datetime.now(UTC))
    rig.config.metadata.mkdir(parents=True, exist_ok=True)
    (rig.config.data / "secret.json").write_text("secret")
    paths = [
        "metadata/1.root.json",
        "metadata/../../secret.json",
        "targets/../../secret.json",
        "targets/./../secret.json",
        "secret.json",
        "keys/fleet-1.pem",
        "/etc/hostname",
        "targets//etc/hostname",
        f"blocklists/{secret[7:]}",
        f"blocklists/{digest[7:]}",
    ]
    for request, path in enumerate(paths):
        assert fetch_meta(device, path, request) is None, path
    device.subscribe("edgeops/v1/blob/+/+")
    for unserved in (secret, digest):
        device.send(UpKind.FETCH, wishes(unserved, [0])[0])
    assert fetch_meta(device, "metadata/none.json", 99) is None  # answered after the wishes before it
    assert not [topic for topic in device.heard if "/blob/" in topic]


def test_tuf_metadata_and_targets_come_in_parts(rig):
    device = rig.device()
    rig.config.metadata.mkdir(parents=True, exist_ok=True)
    big = secrets.token_bytes(2 * limits.METADATA_PART_BYTES + 7)
    (rig.config.metadata / "2.targets.json").write_bytes(big)
    target = rig.config.targets / "models" / "digits"
    target.mkdir(parents=True)
    (target / "abc.1-int8.json").write_bytes(b"{}")
    assert fetch_meta(device, "metadata/2.targets.json") == big
    assert fetch_meta(device, "targets/models/digits/abc.1-int8.json", 2) == b"{}"


def test_a_forged_wish_is_put_aside_and_not_served(rig):
    device = rig.device()
    device.send(UpKind.STATUS, ONLINE)
    eventually(lambda: device.told(DownKind.CREDIT, messages.Credit), what="the birth")
    payload = device.sealed(UpKind.FETCH, messages.MetaWish(request=1, path="metadata/timestamp.json"))
    device.publish(UpKind.FETCH, payload[:-1] + bytes([payload[-1] ^ 1]))
    put_aside = f"SELECT reason FROM quarantine WHERE device_id = '{device.id}'"
    eventually(lambda: rig.rows(put_aside) == [("signature",)], what="the wish in quarantine")
    assert not device.heard[f"edgeops/v1/down/{device.id}/meta"]
