"""What a batch of messages becomes: the present state once, the quarantine within bounds."""

import secrets
from datetime import UTC, datetime

import pytest

from edgeops import limits
from edgeops.protocol import messages
from edgeops.protocol.envelope import Envelope, Session
from edgeops.protocol.topics import Up, UpKind
from fleet_server.link.catalog import Catalog
from fleet_server.link.entries import CloneSeen, ReportedTold, SetAside
from fleet_server.link.keyring import Opened, Refusal, Refused
from fleet_server.link.mqtt import Delivery
from fleet_server.link.reading import Reading
from fleet_server.link.standing import Standing
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SESSION = Session(1, secrets.token_bytes(8))
FACTS = messages.DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2", python="3.11", memory_bytes=1, disk_free_bytes=1
)


@pytest.fixture
def reading(tmp_path):
    database = database_in(tmp_path)
    yield Reading(Standing(database), Catalog(database), is_quarantined=lambda _: False)
    database.close()


def delivery(device_id, kind, *, retained=False):
    return Delivery(
        topic=str(Up(device_id, kind)), payload=b"junk", retained=retained, received_at=NOW, packet=1, connection=1
    )


def reported(device_id, seq):
    body = messages.encode(messages.Reported(desired_epoch=0, desired_revision=seq, facts=FACTS, deployments=()))
    envelope = Envelope(1, "reported", device_id, "key", 0, SESSION, seq, body, b"")
    return Opened(delivery(device_id, UpKind.REPORTED), Up(device_id, UpKind.REPORTED), envelope)


def test_of_many_present_states_in_one_batch_the_latest_of_each_device_is_written(reading):
    for seq in range(1, 101):
        reading.take(reported("camera-1", seq))
    reading.take(reported("camera-2", 7))
    reading.finish()
    told = [entry for entry in reading.control if isinstance(entry, ReportedTold)]
    assert [(one.device_id, one.reported.desired_revision) for one in told] == [("camera-1", 100), ("camera-2", 7)]


@pytest.mark.parametrize(("retained", "kept"), [(True, 0), (False, 1)])
def test_what_the_broker_still_holds_of_a_removed_device_is_no_attack(reading, retained, kept):
    told = delivery("camera-1", UpKind.STATUS, retained=retained)
    reading.take(Refused(told, "camera-1", Refusal.UNKNOWN_DEVICE, "no device is enrolled"))
    assert len(reading.telemetry) == len(reading.refusals) == kept


def test_a_flood_of_junk_is_counted_whole_and_kept_in_part(reading):
    for _ in range(100):
        reading.take(Refused(delivery("camera-1", UpKind.STATUS), "camera-1", Refusal.UNPARSABLE, "junk"))
    reading.take(Refused(delivery("camera-2", UpKind.STATUS), "camera-2", Refusal.UNPARSABLE, "junk"))
    kept = [entry.row["device_id"] for entry in reading.telemetry if isinstance(entry, SetAside)]
    assert kept == ["camera-1"] * limits.QUARANTINE_PER_BATCH + ["camera-2"]
    assert reading.refusals["camera-1", Refusal.UNPARSABLE] == (100, "junk")


def said(session, seq, presence=messages.Presence.ONLINE):
    body = messages.encode(messages.Status(presence=presence))
    envelope = Envelope(1, "status", "camera-1", "key", 0, session, seq, body, b"")
    return Opened(delivery("camera-1", UpKind.STATUS), Up("camera-1", UpKind.STATUS), envelope)


@pytest.mark.parametrize(("presence", "heard"), [("online", {"camera-1"}), ("offline", set())])
def test_a_last_will_is_no_sign_of_life(reading, presence, heard):
    reading.take(said(SESSION, 1, messages.Presence(presence)))
    assert reading.heard == heard


def clones(reading):
    return [entry for entry in reading.control if isinstance(entry, CloneSeen)]


def test_an_older_session_that_says_something_new_is_a_second_speaker(reading):
    copy = Session(2, secrets.token_bytes(8))
    for message in (said(SESSION, 1), said(copy, 1), said(SESSION, 3), said(SESSION, 5)):
        reading.take(message)
    assert len(clones(reading)) == 1


def test_what_the_broker_repeats_of_an_older_session_is_no_second_speaker(reading):
    newer = Session(2, secrets.token_bytes(8))
    for message in (said(SESSION, 1), said(SESSION, 3), said(newer, 1), said(SESSION, 3)):
        reading.take(message)
    assert not clones(reading)
    assert reading.refusals.keys() == {("camera-1", Refusal.OLD_SESSION)}
