"""How often an agent started before it was asked."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.rollout.health.device import DeviceHealth, Period, with_crashes_before
from edgeops.rollout.health.starts import noted, starts_between

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
DAY = timedelta(days=1)


def seconds(*ages):
    return tuple(SECOND - int(age.total_seconds()) for age in ages)


def test_each_start_that_was_not_heard_of_alone_is_noted():
    assert noted((7,), more=1, at=NOW) == (7, SECOND)
    assert noted((), more=3, at=NOW + timedelta(seconds=0.9)) == (SECOND, SECOND, SECOND)


def test_the_newest_are_kept():
    kept = limits.STARTS_KEPT
    assert noted(tuple(range(kept)), more=1, at=NOW) == (*range(1, kept), SECOND)
    assert noted((1, 2), more=10**9, at=NOW) == (SECOND,) * kept
    assert noted(tuple(range(kept - 1)), more=1, at=NOW)[0] == 0


def test_those_count_that_were_while_the_windows_were():
    starts = seconds(3 * DAY, 2 * DAY, DAY, timedelta(0))
    assert starts_between(starts, NOW - 2 * DAY, NOW) == 2
    assert starts_between(starts, NOW - 2 * DAY + timedelta(seconds=1), NOW) == 1
    assert starts_between(starts, NOW - 9 * DAY, NOW + timedelta(seconds=1)) == 4
    assert starts_between((), NOW - DAY, NOW) == 0


def often(count, *, last=timedelta(hours=1)):
    """One an hour, the newest `last` ago."""
    return seconds(*(last + number * timedelta(hours=1) for number in reversed(range(count))))


@pytest.mark.parametrize(
    ("days", "expected"), [(2, 48), (limits.STARTS_KEPT / 24, limits.STARTS_KEPT), (4, 96), (10, 240)]
)
def test_what_is_not_remembered_is_taken_to_have_been_like_what_is(days, expected):
    assert starts_between(often(limits.STARTS_KEPT), NOW - days * DAY, NOW) == expected


def test_a_memory_that_is_not_full_is_whole():
    assert starts_between(often(limits.STARTS_KEPT - 1), NOW - 10 * DAY, NOW) == limits.STARTS_KEPT - 1


def test_a_memory_that_reaches_back_far_enough_is_whole():
    starts = seconds(timedelta(hours=1000)) + often(limits.STARTS_KEPT - 1)
    assert starts_between(starts, NOW - timedelta(hours=70), NOW) == limits.STARTS_KEPT - 1


def test_a_part_of_a_start_is_one():
    assert starts_between(often(limits.STARTS_KEPT), NOW - timedelta(hours=limits.STARTS_KEPT, minutes=1), NOW) == 65


def test_nothing_is_known_of_a_time_before_all_that_is_remembered():
    late = seconds(*[timedelta(0)] * limits.STARTS_KEPT)
    assert starts_between(late, NOW - DAY, NOW) == 0
    assert starts_between(late, NOW - DAY, NOW - timedelta(hours=1)) == 0


def test_what_was_known_of_the_time_before_stays_known():
    health = DeviceHealth(before=Period(windows=3, crashes=1))
    more = with_crashes_before(health, 4)
    assert more.before == Period(windows=3, crashes=4)
    assert with_crashes_before(more, 0) == more
    assert more.since.crashes == 0
