"""What the broker refused is told with the device's name, once a minute, and a stranger is never taken for a device."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.protocol.keys import SigningKey
from fleet_server.db import devices, events
from fleet_server.link.refusals import RefusalWatch
from tests.stores import database_in

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DENIED = (
    "2026-11-26T18:21:13+0000: Denied PUBLISH from {} (d0, q1, r1, m2, 'edgeops/v1/up/cam-2/status', ... (1 bytes))\n"
)


@pytest.fixture
def site(tmp_path):
    database = database_in(tmp_path / "db")
    with database.write() as connection:
        devices.enrol(connection, "cam-1", name="cam", hardware="x", public_key=SigningKey.generate().public, now=NOW)
    yield Site(database, tmp_path / "mosquitto.log")
    database.close()


class Site:
    def __init__(self, database, path):
        self.database = database
        self.path = path
        self.watch = RefusalWatch(database, path=path, stopping=None)

    def write(self, text):
        with self.path.open("a") as file:
            file.write(text)

    def told(self, second=0):
        self.watch.look(now=NOW + timedelta(seconds=second), now_s=float(second))
        with self.database.read() as connection:
            return [
                (event.subject, event.data["attempt"], event.data["count"])
                for event in events.after(connection, 0, ["connection.refused"])
            ]


def test_an_attempt_of_a_device_has_its_name(site):
    site.write(DENIED.format("cam-1") * 3)
    assert site.told() == [("cam-1", "foreign-topic", 3)]


def test_an_attempt_is_told_once_a_minute(site):
    for second in range(59):
        site.write(DENIED.format("cam-1"))
        assert site.told(second) == [("cam-1", "foreign-topic", 1)]
    assert site.told(60) == [("cam-1", "foreign-topic", 1), ("cam-1", "foreign-topic", 58)]


def test_a_stranger_that_uses_a_devices_name_is_a_stranger(site):
    site.write("2026-11-26T18:21:13+0000: Client cam-1 disconnected, not authorised.\n")
    site.write("2026-11-26T18:21:13+0000: Client made-up disconnected due to protocol error.\n")
    assert sorted(site.told()) == [("broker", "not-authorised", 1), ("broker", "protocol", 1)]


def test_half_a_line_waits_for_the_other_half(site):
    line = DENIED.format("cam-1")
    site.write(line[:60])
    assert site.told() == []
    site.write(line[60:])
    assert site.told(1) == [("cam-1", "foreign-topic", 1)]


def test_a_new_file_is_read_from_its_beginning(site):
    site.write(DENIED.format("cam-1"))
    site.told()
    site.path.rename(site.path.with_suffix(".previous.log"))
    site.write(DENIED.format("cam-1"))
    assert site.told(60) == [("cam-1", "foreign-topic", 1)] * 2


def test_without_a_log_nothing_is_told(site):
    assert site.told() == []
