"""Devices: identity, presence by session, and desired states that only ever go up."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.digest import digest_bytes
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import DesiredDeployment, DeviceFacts, Presence, Reported
from edgeops.protocol.topics import DownKind
from fleet_server.db import devices, events, outbox, settings
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KEY = SigningKey.generate().public
FACTS = DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2", python="3.11", memory_bytes=1, disk_free_bytes=1
)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    with database.write() as connection:
        enrol(connection, "cam-1")
    yield database
    database.close()


def enrol(connection, device_id, key=KEY):
    devices.enrol(connection, device_id, name="cam", hardware="board", public_key=key, labels={"site": "a"}, now=NOW)


def wanted(deployment="digits"):
    return DesiredDeployment(deployment=deployment, target="models/m/1-int8.json", digest=digest_bytes(b"m"))


def reported(epoch, revision):
    return Reported(desired_epoch=epoch, desired_revision=revision, facts=FACTS, deployments=())


def test_an_enrolled_device_is_found_with_its_key(database):
    with database.read() as connection:
        device = devices.get(connection, "cam-1")
        assert device.labels == {"site": "a"}
        assert device.presence is Presence.OFFLINE
        assert devices.keys(connection, "cam-1") == {KEY.key_id: KEY}
        assert devices.get(connection, "nobody") is None
        assert [event.kind for event in events.after(connection, 0)] == ["device.enrolled"]


def test_pages_follow_the_id_and_leave_out_removed_devices(database):
    with database.write() as connection:
        for device_id in ("cam-3", "cam-2", "cam-4"):
            enrol(connection, device_id)
        assert devices.remove(connection, "cam-3", now=NOW)
        assert not devices.remove(connection, "cam-3", now=NOW)
        first = devices.page(connection, limit=2)
        assert [device.id for device in first] == ["cam-1", "cam-2"]
        assert [device.id for device in devices.page(connection, after="cam-2", limit=2)] == ["cam-4"]
        assert "cam-3" not in devices.accepted_keys(connection)


def test_an_older_session_does_not_change_presence(database):
    with database.write() as connection:
        assert devices.set_presence(connection, "cam-1", presence=Presence.ONLINE, session_counter=5, now=NOW)
        assert not devices.set_presence(connection, "cam-1", presence=Presence.ONLINE, session_counter=5, now=NOW)
        assert not devices.set_presence(connection, "cam-1", presence=Presence.OFFLINE, session_counter=4, now=NOW)
        assert devices.get(connection, "cam-1").presence is Presence.ONLINE
        assert devices.set_presence(connection, "cam-1", presence=Presence.OFFLINE, session_counter=5, now=NOW)


def test_that_a_device_is_gone_is_no_sign_of_life(database):
    later = NOW + timedelta(minutes=1)
    with database.write() as connection:
        devices.set_presence(connection, "cam-1", presence=Presence.ONLINE, session_counter=5, now=NOW)
        devices.set_presence(connection, "cam-1", presence=Presence.OFFLINE, session_counter=5, now=later)
        assert devices.get(connection, "cam-1").last_seen_at == NOW


def test_every_change_of_the_desired_state_raises_the_revision(database):
    with database.write() as connection:
        assert devices.desired_of(connection, "cam-1") is None
        assert devices.set_desired(connection, "cam-1", wanted("digits"), NOW) == 1
        assert devices.set_desired(connection, "cam-1", wanted("gas"), NOW) == 2
        desired = devices.desired_of(connection, "cam-1")
        assert (desired.epoch, desired.revision) == (1, 2)
        assert [one.deployment for one in desired.deployments] == ["digits", "gas"]
        assert [letter.kind for letter in outbox.waiting(connection, limit=9)] == [DownKind.DESIRED] * 2
        assert devices.ids_with_desired(connection) == ("cam-1",)


def test_the_desired_state_carries_the_epoch_of_the_fleet_key(database):
    with database.write() as connection:
        settings.write(connection, settings.FLEET_EPOCH, "3")
        devices.set_desired(connection, "cam-1", wanted(), NOW)
        assert devices.desired_of(connection, "cam-1").epoch == 3


@pytest.mark.parametrize(("seen", "place"), [((1, 0), (1, 1)), ((1, 1), (1, 1)), ((1, 6), (1, 7)), ((2, 0), (2, 1))])
def test_a_device_that_saw_a_higher_desired_state_gets_a_still_higher_one(database, seen, place):
    with database.write() as connection:
        devices.set_desired(connection, "cam-1", wanted(), NOW)
        devices.set_reported(connection, "cam-1", reported(*seen), now=NOW)
        device = devices.get(connection, "cam-1")
        assert (device.desired_epoch, device.desired_revision) == place
        assert device.reported == reported(*seen)
        assert device.is_behind == (seen != (1, 1))
        assert devices.set_desired(connection, "cam-1", wanted(), NOW) == place[1] + 1


def test_a_device_is_quarantined_and_released_once(database):
    with database.write() as connection:
        assert devices.quarantine(connection, "cam-1", reason="two speakers", now=NOW)
        assert not devices.quarantine(connection, "cam-1", reason="two speakers", now=NOW)
        assert devices.quarantined_ids(connection) == {"cam-1"}
        assert devices.release(connection, "cam-1", now=NOW)
        assert devices.quarantined_ids(connection) == frozenset()
        kinds = [event.kind for event in events.after(connection, 1)]
        assert kinds == ["device.quarantined", "device.released"]


def test_events_are_followed_in_order_by_kind(database):
    with database.write() as connection:
        for number in range(5):
            events.append(connection, "job.queued" if number % 2 else "job.changed", str(number), {"n": number}, NOW)
        seen = events.after(connection, 1, ["job.queued"], limit=1)
        assert [event.data for event in seen] == [{"n": 1}]
        assert [event.data for event in events.after(connection, seen[0].id, ["job.queued"])] == [{"n": 3}]
        assert events.last_id(connection) == 6


def test_a_counter_survives_and_grows(database):
    with database.write() as connection:
        assert [settings.count_up(connection, settings.LINK_SESSIONS) for _ in range(3)] == [1, 2, 3]
        assert settings.read(connection, "unknown") is None


def test_a_counter_that_a_restore_set_back_goes_above_what_was_said_before(database):
    with database.write() as connection:
        before = settings.count_up(connection, settings.LINK_SESSIONS, at_least=1_000)
        assert settings.count_up(connection, settings.LINK_SESSIONS, at_least=1_000) == before + 1
        settings.write(connection, settings.LINK_SESSIONS, "1")
        assert settings.count_up(connection, settings.LINK_SESSIONS, at_least=1_060) > before


def test_a_silent_device_is_offline_until_it_speaks_again(database):
    later = NOW + timedelta(minutes=10)
    with database.write() as connection:
        devices.set_presence(connection, "cam-1", presence=Presence.ONLINE, session_counter=5, now=NOW)
        assert devices.silent_ids(connection, now=NOW, limit=9) == ()
        assert devices.silent_ids(connection, now=later, limit=9) == ("cam-1",)
        assert devices.end_silent(connection, ["cam-1"], now=later) == 1
        assert devices.end_silent(connection, ["cam-1"], now=later) == 0
        assert devices.get(connection, "cam-1").presence is Presence.OFFLINE
        (*_, told) = events.after(connection, 0, ["device.status"])
        assert told.data == {"presence": "offline", "session": 5}
        assert devices.set_presence(connection, "cam-1", presence=Presence.ONLINE, session_counter=5, now=later)
