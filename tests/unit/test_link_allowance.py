"""What a device may say, and what becomes of the rest."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.errors import ConfigError
from edgeops.protocol.keys import SigningKey
from fleet_server.db import devices, events
from fleet_server.link.allowance import Allowance, Share
from fleet_server.link.floods import FloodWatch
from fleet_server.link.mqtt import Delivery
from fleet_server.link.waiting import Waiting
from tests.stores import database_in

NOW = datetime(2026, 11, 26, tzinfo=UTC)
SHARE = Share(messages_per_s=10, messages_at_once=20, bytes_per_s=1_000, bytes_at_once=2_000, bytes_per_day=100_000)


def admitted(allowance, count, *, size=1, much_waits=True, now_s=0.0, device="a"):
    return sum(allowance.admits(device, size, much_waits=much_waits, now_s=now_s) for _ in range(count))


def test_a_share_is_a_burst_and_then_a_rate():
    allowance = Allowance(SHARE)
    assert admitted(allowance, 100) == 20
    assert admitted(allowance, 100, now_s=1.0) == 10
    assert admitted(allowance, 100, now_s=1_000.0) == 20


def test_bytes_are_bounded_like_messages():
    allowance = Allowance(SHARE)
    assert admitted(allowance, 100, size=500) == 4
    assert admitted(allowance, 100, size=500, now_s=1.0) == 2


def test_what_is_beyond_the_share_is_taken_in_while_little_waits():
    allowance = Allowance(SHARE)
    assert admitted(allowance, 100, much_waits=False) == 100
    assert allowance.floods() == []
    # That cost nobody anything: the share itself is there again as if it had not been.
    assert admitted(allowance, 100, now_s=1.0) == 10


def test_the_bytes_of_a_day_are_bounded_in_any_case():
    allowance = Allowance(SHARE)
    assert admitted(allowance, 1_000, size=1_000, much_waits=False) == 100
    assert admitted(allowance, 1_000, size=1_000, much_waits=False, now_s=86_400 / 2) == 50


def test_the_share_of_one_is_no_part_of_anothers():
    allowance = Allowance(SHARE)
    admitted(allowance, 1_000)
    assert admitted(allowance, 20, device="b") == 20


def test_what_was_dropped_is_told_once():
    allowance = Allowance(SHARE)
    admitted(allowance, 25, size=3)
    (flood,) = allowance.floods()
    assert (flood.device_id, flood.messages, flood.size_bytes, flood.is_harmful) == ("a", 5, 15, False)
    assert allowance.floods() == []


def test_only_very_much_within_the_span_is_harmful():
    allowance = Allowance(SHARE)
    admitted(allowance, 20)
    for second in range(20):
        admitted(allowance, limits.FLOOD_MESSAGES // 20, now_s=second)
        assert not any(flood.is_harmful for flood in allowance.floods())
    admitted(allowance, limits.FLOOD_MESSAGES + 200, now_s=30.0)
    assert allowance.floods()[0].is_harmful


def test_a_site_sets_the_share():
    share = Share.of({"EDGEOPS_DEVICE_MESSAGES_PER_S": "100", "EDGEOPS_DEVICE_BYTES_PER_DAY": "1e6"})
    assert (share.messages_per_s, share.messages_at_once) == (100, 600)
    assert (share.bytes_per_s, share.bytes_per_day) == (limits.DEVICE_BYTES_PER_S, 1e6)
    assert Share.of({}) == Share()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="EDGEOPS_DEVICE_BYTES_PER_S"):
        Share.of({"EDGEOPS_DEVICE_BYTES_PER_S": text})


# -- whose turn it is -------------------------------------------------------------------


def said(device, packet):
    return Delivery(f"edgeops/v1/up/{device}/telemetry", b"", False, NOW, packet, 1)


def test_one_that_said_much_waits_behind_itself():
    waiting = Waiting()
    for packet in range(1, 101):
        waiting.put(said("flooder", packet))
    waiting.put(said("other", 200))
    batch = waiting.take(10, 0.0)
    assert [one.packet for one in batch if one.speaker == "flooder"] == list(range(1, 10))
    assert [one.packet for one in batch if one.speaker == "other"] == [200]
    assert len(waiting) == 91


def test_those_that_were_served_come_last_in_the_next_round():
    waiting = Waiting()
    for packet in range(1, 4):
        for device in ("a", "b", "c"):
            waiting.put(said(device, packet))
    assert [one.speaker for one in waiting.take(2, 0.0)] == ["a", "b"]
    assert [one.speaker for one in waiting.take(3, 0.0)] == ["c", "a", "b"]


def test_what_waits_when_it_is_stopped_stays():
    waiting = Waiting()
    waiting.put(said("a", 1))
    waiting.stop()
    assert waiting.take(10, 60.0) == []


# -- who is told, and cut off -------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    with database.write() as connection:
        for name in ("cam-1", "cam-2"):
            devices.enrol(connection, name, name=name, hardware="x", public_key=SigningKey.generate().public, now=NOW)
            devices.set_broker_account(connection, name, password_hash="$7$x", now=NOW)
    yield database
    database.close()


class Site:
    def __init__(self, database):
        self.database = database
        self.allowance = Allowance(SHARE)
        self.published = []
        self.watch = FloodWatch(
            database, allowance=self.allowance, publish_accounts=lambda: self.published.append(None), stopping=None
        )

    def flood(self, count, *, second):
        admitted(self.allowance, count, now_s=second, device="cam-1")
        self.look(second)

    def look(self, second, *, clock=timedelta(0)):
        """With a clock that is off by so much."""
        self.watch.look(now=NOW + timedelta(seconds=second) + clock, now_s=float(second))

    def told(self):
        with self.database.read() as connection:
            return [event.data for event in events.after(connection, 0, ["device.floods"])]

    def let_in(self, second):
        with self.database.read() as connection:
            return sorted(devices.broker_account_hashes(connection, now=NOW + timedelta(seconds=second)))


def test_a_flood_is_one_event_a_minute(database):
    site = Site(database)
    for second in range(59):
        site.flood(60, second=second)
    assert site.told() == [{"messages": 40, "bytes": 40}]
    site.look(61)
    assert len(site.told()) == 2
    assert site.told()[1]["messages"] == 58 * 50
    assert site.published == []


def test_a_device_that_disturbs_the_others_is_cut_off_and_let_in_again(database):
    site = Site(database)
    site.flood(limits.FLOOD_MESSAGES + 100, second=0)
    assert site.let_in(1) == ["cam-2"]
    assert len(site.published) == 1
    assert site.told()[0]["cut_off_until"] == (NOW + limits.CUT_OFF).isoformat()
    site.look(30)
    assert len(site.published) == 1
    site.look(60)
    assert len(site.published) == 2
    assert site.let_in(60) == ["cam-1", "cam-2"]
    site.look(61)
    assert len(site.published) == 2


def test_a_clock_that_is_set_back_locks_no_device_out_for_longer(database):
    site = Site(database)
    site.flood(limits.FLOOD_MESSAGES + 100, second=0)
    day = 24 * 60 * 60
    site.look(1, clock=timedelta(days=-1))
    assert site.let_in(1 - day) == ["cam-1", "cam-2"]
    assert len(site.published) == 2
    site.look(2, clock=timedelta(days=-1))
    assert len(site.published) == 2
