"""Artifacts in ranges: for devices that show a good pass, and for nobody else."""

from contextlib import contextmanager

import pytest

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.digest import digest_bytes
from edgeops.protocol.envelope import Mark, Session, Speaker
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.passes import write_pass
from fleet_server.api.pace import Pace
from fleet_server.blobs import Blobs
from fleet_server.db import devices, ingest, models
from fleet_server.db.ingest import MarkRow
from tests.contract.rig import assert_problem
from tests.integration.fetch_rig import stock

SIZE = 3 * limits.BLOCK_BYTES + 100
SESSION = Session(3, b"12345678")


@pytest.fixture(scope="module")
def artifact(rig):
    return stock(rig, SIZE, seed=71)


@pytest.fixture
def device(rig):
    key = SigningKey.generate()
    number = device.count = getattr(device, "count", 0) + 1
    device_id = f"reader-{number:04}"
    with rig.database.write() as connection:
        devices.enrol(connection, device_id, name="reader", hardware="b", public_key=key.public, now=rig.now)
    return Speaker(device_id, key, 0, SESSION)


def read(rig, digest, shown, wanted="bytes=0-99"):
    headers = {"Authorization": shown} if shown else {}
    return rig.request("GET", f"/blobs/{digest[7:]}", headers=headers | {"Range": wanted})


def hear(rig, speaker, session):
    """What ingestion remembers of a device's newest session."""
    mark = Mark(session, 1)
    row = MarkRow(
        device_id=speaker.device,
        kind="status",
        session_counter=mark.session.counter,
        session_nonce=mark.session.nonce,
        seq=mark.seq,
    )
    with rig.database.write_telemetry() as connection:
        ingest.put_marks(connection, [row])


def test_a_device_reads_a_range_of_an_artifact_with_its_pass(rig, artifact, device):
    descriptor, data = artifact
    answer = read(rig, descriptor.digest, write_pass(device, descriptor.digest, seq=1), f"bytes=100-{SIZE - 1}")
    assert answer.status_code == 206
    assert answer.content == data[100:]
    assert answer.headers["content-range"] == f"bytes 100-{SIZE - 1}/{SIZE}"


def test_without_a_pass_nothing_is_read_and_no_role_stands_for_one(rig, artifact):
    digest = artifact[0].digest
    for shown in ("", "Basic YTph", *(f"Bearer {token}" for token in rig.tokens.values())):
        assert_problem(read(rig, digest, shown), 401)
    assert Role.ADMIN in rig.tokens


def test_a_pass_of_a_stranger_for_another_blob_or_tampered_with_is_refused(rig, artifact, device):
    digest = artifact[0].digest
    stranger = Speaker(device.device, SigningKey.generate(), 0, SESSION)
    unknown = Speaker("nobody-0001", device.key, 0, SESSION)
    good = write_pass(device, digest, seq=1)
    for shown in (
        write_pass(stranger, digest, seq=1),
        write_pass(unknown, digest, seq=1),
        write_pass(device, digest_bytes(b"other"), seq=1),
        good[:-8] + "AAAAAAA=",
    ):
        assert_problem(read(rig, digest, shown), 401)
    assert read(rig, digest, good).status_code == 206


def test_a_pass_ends_with_its_session(rig, artifact, device):
    digest = artifact[0].digest
    shown = write_pass(device, digest, seq=1)
    hear(rig, device, SESSION)
    assert read(rig, digest, shown).status_code == 206
    hear(rig, device, Session(4, b"abcdefgh"))
    assert_problem(read(rig, digest, shown), 401)
    clone = Speaker(device.device, device.key, 0, Session(4, b"another!"))
    assert_problem(read(rig, digest, write_pass(clone, digest, seq=1)), 401)


def test_a_device_that_was_removed_or_is_in_quarantine_reads_nothing(rig, artifact, device):
    digest = artifact[0].digest
    shown = write_pass(device, digest, seq=1)
    with rig.database.write() as connection:
        devices.quarantine(connection, device.device, reason="test", now=rig.now)
    assert_problem(read(rig, digest, shown), 403)
    with rig.database.write() as connection:
        devices.release(connection, device.device, now=rig.now)
    assert read(rig, digest, shown).status_code == 206
    with rig.database.write() as connection:
        devices.remove(connection, device.device, now=rig.now)
    assert_problem(read(rig, digest, shown), 401)


def test_only_artifacts_that_were_not_withdrawn_leave(rig, device):
    snapshot = Blobs(rig.config).put(b"rows of a dataset")
    assert_problem(read(rig, snapshot, write_pass(device, snapshot, seq=1)), 404)
    withdrawn, _ = stock(rig, 200, seed=72)
    with rig.database.write() as connection:
        models.mark_withdrawn(connection, models.artifact_by_digest(connection, withdrawn.digest), rig.now)
    assert_problem(read(rig, withdrawn.digest, write_pass(device, withdrawn.digest, seq=1)), 404)


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "bytes=0-",
        "bytes=-5",
        "bytes=5-4",
        f"bytes=0-{SIZE}",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=99999999999-99999999999",
    ],
)
def test_what_is_no_single_range_of_the_blob_is_refused_with_its_size(rig, artifact, device, wanted):
    digest = artifact[0].digest
    answer = read(rig, digest, write_pass(device, digest, seq=1), wanted)
    assert_problem(answer, 416)
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


def test_a_range_beyond_what_one_request_may_ask_for_is_refused(rig, device):
    size = (limits.RANGE_BLOCKS + 1) * limits.BLOCK_BYTES
    descriptor, data = stock(rig, size, seed=73)
    shown = write_pass(device, descriptor.digest, seq=1)
    assert_problem(read(rig, descriptor.digest, shown, f"bytes=0-{size - 1}"), 416)
    most = limits.RANGE_BLOCKS * limits.BLOCK_BYTES
    assert read(rig, descriptor.digest, shown, f"bytes=0-{most - 1}").content == data[:most]


@contextmanager
def readers(pace, device_id, count):
    for _ in range(count):
        assert pace.enter(device_id)
    yield
    for _ in range(count):
        pace.leave(device_id)


def test_a_device_reads_so_many_ranges_at_a_time_and_is_asked_to_wait_with_more(rig, artifact, device):
    digest = artifact[0].digest
    pace: Pace = rig.app.state.server.pace
    with readers(pace, device.device, limits.RANGES_PER_DEVICE):
        answer = read(rig, digest, write_pass(device, digest, seq=1))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert read(rig, digest, write_pass(device, digest, seq=2)).status_code == 206


def test_who_leaves_in_the_middle_gives_its_place_back(rig, device):
    size = limits.RANGE_BLOCKS * limits.BLOCK_BYTES
    descriptor, _ = stock(rig, size, seed=74)
    headers = {"Authorization": write_pass(device, descriptor.digest, seq=1), "Range": f"bytes=0-{size - 1}"}
    for _ in range(limits.RANGES_PER_DEVICE + 2):
        with rig.http.stream("GET", f"/blobs/{descriptor.digest[7:]}", headers=headers) as answer:
            assert answer.status_code == 206
            next(answer.iter_raw())
    pace: Pace = rig.app.state.server.pace
    from tests.integration.waiting import ask_until

    ask_until(lambda: not pace._readers[device.device], what="all places are free", seconds=30.0)
