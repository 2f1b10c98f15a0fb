"""What time it is at least, over restarts, steps of the clock and damaged files."""

from datetime import UTC, datetime, timedelta

import pytest

from device_agent.clock import Clock
from edgeops.trust.floor import NEVER

TODAY = datetime(2026, 11, 26, 12, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)
EXPIRES = {
    "root": int((TODAY + timedelta(days=3000)).timestamp()),
    "targets": int((TODAY + timedelta(days=300)).timestamp()),
    "timestamp": int((TODAY + timedelta(days=30)).timestamp()),
}
KEYS = ("aa",)


class Source:
    """A clock that may be set."""

    def __init__(self, at):
        self.at = at

    def __call__(self):
        return self.at.timestamp()


def test_a_clock_without_battery_knows_after_a_restart_what_it_was_told(tmp_path):
    system = Source(TODAY)
    clock = Clock(tmp_path / "clock.json", now=system)
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    system.at = NEVER
    again = Clock(tmp_path / "clock.json", now=system)
    assert again.now() == again.floor == TODAY


def test_a_clock_that_goes_right_counts_itself(tmp_path):
    clock = Clock(tmp_path / "clock.json", now=Source(TODAY + timedelta(days=1)))
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    assert clock.now() == TODAY + timedelta(days=1)


def test_steps_of_the_clock_leave_nothing_behind(tmp_path):
    """NTP sets it to 2038 and back: what it showed in between was no statement."""
    system = Source(TODAY)
    clock = Clock(tmp_path / "clock.json", now=system)
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    for at in (datetime(2038, 1, 19, tzinfo=UTC), NEVER, TODAY + timedelta(hours=1)):
        system.at = at
        assert clock.floor == TODAY
        assert clock.now() == max(at, TODAY)


def test_a_server_that_lies_about_the_time_ends_nothing_that_was_signed_offline(tmp_path):
    clock = Clock(tmp_path / "clock.json", now=Source(TODAY))
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(datetime(2099, 1, 1, tzinfo=UTC), place=(1, 1, 1))
    assert clock.now() < datetime.fromtimestamp(EXPIRES["targets"], UTC)


def test_small_steps_are_not_worth_a_write_and_large_ones_are(tmp_path):
    file = tmp_path / "clock.json"
    clock = Clock(file, now=Source(TODAY))
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    written = file.read_bytes()
    clock.told(TODAY + timedelta(minutes=59), place=(1, 1, 2))
    assert file.read_bytes() == written
    clock.told(TODAY + timedelta(minutes=60), place=(1, 1, 3))
    assert file.read_bytes() != written


def test_a_damaged_file_counts_as_none(tmp_path):
    file = tmp_path / "clock.json"
    file.write_bytes(b"\x00{")
    clock = Clock(file, now=Source(TODAY))
    assert (clock.floor, clock.now()) == (NEVER, TODAY)
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    assert Clock(file, now=Source(NEVER)).now() == TODAY


def test_a_card_that_cannot_be_written_costs_the_memory_of_it_only(tmp_path):
    clock = Clock(tmp_path / "gone" / "clock.json", now=Source(NEVER))
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    assert clock.now() == TODAY


# -- the last word


@pytest.fixture
def lied(tmp_path):
    """A device whose server once said that it is 2038."""
    clock = Clock(tmp_path / "clock.json", now=Source(TODAY), passed=lambda: 0.0)
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(IN_2038, place=(1, 5, 5))
    return clock


def test_a_word_that_lowers_the_floor_is_written_down(tmp_path, lied):
    lied.told(TODAY, place=(1, 5, 6))
    assert lied.now() == TODAY
    assert Clock(tmp_path / "clock.json", now=Source(NEVER)).now() == TODAY


def test_a_power_cut_brings_no_earlier_word_back(tmp_path, lied):
    """The order is kept beside the floor: marks.json does not know every number of a session."""
    lied.told(TODAY, place=(1, 5, 6))
    again = Clock(tmp_path / "clock.json", now=Source(NEVER))
    for place in ((1, 5, 5), (1, 5, 6), (1, 4, 9)):
        again.told(IN_2038, place=place)
        again.told(NEVER, place=place)
    assert again.floor == TODAY


def test_a_root_with_other_timestamp_keys_lets_the_floor_fall_also_on_disk(tmp_path, lied):
    lied.answered(IN_2038)
    lied.verified(EXPIRES, ("bb",), epoch=2)
    assert (lied.floor, lied.now(), lied.present()) == (NEVER, TODAY, TODAY)
    again = Clock(tmp_path / "clock.json", now=Source(TODAY))
    assert (again.floor, again.timestamp_keys) == (NEVER, ("bb",))


def test_the_same_timestamp_keys_leave_floor_and_answer(lied):
    lied.answered(TODAY - timedelta(days=2))
    lied.verified(EXPIRES, KEYS, epoch=1)
    assert lied.floor == lied.present() == TODAY - timedelta(days=2)


def test_what_lets_the_floor_fall_is_asked_for_again_where_the_card_did_not_take_it(tmp_path, lied):
    (tmp_path / "clock.json").rename(tmp_path / "kept")
    (tmp_path / "clock.json").mkdir()
    lied.verified(EXPIRES, ("bb",), epoch=1)
    assert lied.now() == TODAY
    (tmp_path / "clock.json").rmdir()
    (tmp_path / "kept").rename(tmp_path / "clock.json")
    assert Clock(tmp_path / "clock.json", now=Source(TODAY)).timestamp_keys == KEYS, "so the child is asked under these"


# -- what the server answered


def test_the_servers_answer_counts_for_certificates_and_not_for_what_was_signed_offline(tmp_path):
    passed = [50.0]
    clock = Clock(tmp_path / "clock.json", now=lambda: 2_147_500_000.0, passed=lambda: passed[0])
    ahead = clock.now()
    assert clock.present() == ahead
    clock.answered(TODAY)
    passed[0] += 7.0
    assert clock.present() == TODAY + timedelta(seconds=7)
    assert clock.now() == ahead


def test_an_answer_counts_without_the_floor_above_it_and_is_where_the_floor_stands_then(tmp_path):
    clock = Clock(tmp_path / "clock.json", now=lambda: 0.0, passed=lambda: 0.0)
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(IN_2038, place=(1, 1, 1))
    clock.answered(TODAY)
    assert (clock.present(), clock.floor, clock.now()) == (TODAY, TODAY, TODAY)
    assert Clock(tmp_path / "clock.json", now=lambda: 0.0).present() == TODAY, "also after a restart"


def test_a_word_after_the_answer_moves_the_floor_and_not_the_time_for_certificates(tmp_path):
    clock = Clock(tmp_path / "clock.json", now=lambda: 0.0, passed=lambda: 0.0)
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.answered(TODAY)
    clock.told(IN_2038, place=(1, 1, 1))
    assert clock.floor > TODAY
    assert clock.present() == TODAY


def test_an_answer_ends_with_the_process(tmp_path):
    path = tmp_path / "clock.json"
    Clock(path, now=lambda: 2_147_500_000.0, passed=lambda: 0.0).answered(TODAY)
    assert Clock(path, now=lambda: 2_147_500_000.0).present().year == 2038


def _seconds(clock):
    return lambda: clock["s"]


def test_what_time_it_is_for_certain_is_the_servers_word_and_what_passed_since(tmp_path):
    passed = {"s": 100.0}
    clock = Clock(tmp_path / "clock.json", now=Source(IN_2038), passed=_seconds(passed))
    clock.verified(EXPIRES, KEYS, epoch=1)
    clock.told(TODAY, place=(1, 1, 1))
    passed["s"] += 3600
    assert clock.certain() == TODAY + timedelta(hours=1)
    # An old word that comes late says nothing.
    clock.told(TODAY - timedelta(days=1), place=(1, 1, 1))
    assert clock.certain() == TODAY + timedelta(hours=1)


def test_without_a_word_since_the_start_a_clock_that_was_not_lost_counts(tmp_path):
    first = Clock(tmp_path / "clock.json", now=Source(TODAY))
    first.verified(EXPIRES, KEYS, epoch=1)
    first.told(TODAY, place=(1, 1, 1))
    again = Clock(tmp_path / "clock.json", now=Source(TODAY + timedelta(minutes=5)))
    assert again.certain() == TODAY + timedelta(minutes=5)


def test_a_clock_behind_what_was_told_or_that_never_was_told_knows_nothing_for_certain(tmp_path):
    assert Clock(tmp_path / "never.json", now=Source(TODAY)).certain() is None
    first = Clock(tmp_path / "clock.json", now=Source(TODAY))
    first.verified(EXPIRES, KEYS, epoch=1)
    first.told(TODAY, place=(1, 1, 1))
    lost = Clock(tmp_path / "clock.json", now=Source(TODAY - timedelta(seconds=1)))
    assert lost.certain() is None
    lost.told(TODAY + timedelta(days=1), place=(1, 2, 1))
    assert abs(lost.certain() - (TODAY + timedelta(days=1))) < timedelta(minutes=1)
